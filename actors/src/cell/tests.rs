//! A cell with a behaviour that fails as its messages tell it to.

use std::sync::{Mutex, PoisonError};

use actix_rt::System;
use domain::ids::TenantId;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use uuid::Uuid;

use super::*;
use crate::gate::Port;
use crate::limits::INTENSITY_MOST;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Note(u32),
    PanicOnce(u32),
    Panic(u32),
    Gone,
}

#[derive(Default)]
struct Record {
    notes: Mutex<Vec<u32>>,
    buried: Mutex<Vec<Told>>,
    panicked: Mutex<Vec<u32>>,
}

fn push<T>(list: &Mutex<Vec<T>>, item: T) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(item);
}

fn all<T: Clone>(list: &Mutex<Vec<T>>) -> Vec<T> {
    list.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Clerk(Arc<Record>);

impl Behaviour for Clerk {
    type Message = Told;
    type Recipe = Arc<Record>;
    const KIND: Kind = Kind::SendQueue;

    async fn recover(record: Arc<Record>) -> Result<Self, Fault> {
        Ok(Self(record))
    }

    fn handle(&mut self, message: &mut Option<Told>) -> Result<(), Fault> {
        match message {
            Some(Told::Note(number)) => push(&self.0.notes, *number),
            Some(Told::PanicOnce(number)) if !all(&self.0.panicked).contains(number) => {
                push(&self.0.panicked, *number);
                panic!("once, on demand");
            }
            Some(Told::PanicOnce(number)) => push(&self.0.notes, *number),
            Some(Told::Panic(_)) => panic!("on demand"),
            Some(Told::Gone) => return Err(Fault::EpochGone),
            None => {}
        }
        Ok(())
    }

    fn bury(record: &Arc<Record>, message: Told, _: &str) {
        push(&record.buried, message);
    }
}

/// A cell under test, and what it reported.
struct Bench {
    port: Port<Told>,
    record: Arc<Record>,
    orders: watch::Sender<Orders>,
    reports: UnboundedReceiver<Report>,
}

impl Bench {
    fn start() -> Self {
        let (port, inbox) = Port::open(Kind::SendQueue, TenantId(Uuid::nil()), 10);
        let (reported, reports): (UnboundedSender<Report>, _) = unbounded_channel();
        let orders = watch::Sender::new(Orders::default());
        let around = Surroundings {
            orders: orders.subscribe(),
            report: Box::new(move |report| drop(reported.send(report))),
            metrics: Metrics::register(&mut Registry::default()),
            recoveries: Arc::new(Semaphore::new(1)),
        };
        let record = Arc::new(Record::default());
        let cell = Cell::<Clerk>::new(record.clone(), inbox, around);
        drop(cell.start());
        Self {
            port,
            record,
            orders,
            reports,
        }
    }

    async fn minute(&mut self) -> Vec<Report> {
        tokio::time::sleep(Duration::from_secs(59)).await;
        std::iter::from_fn(|| self.reports.try_recv().ok()).collect()
    }
}

fn in_paused_time<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    System::with_tokio_rt(|| runtime).block_on(async { test().await });
}

#[test]
fn a_message_that_fails_once_is_handled_before_those_behind_it() {
    in_paused_time(|| async {
        let mut bench = Bench::start();
        for told in [Told::Note(1), Told::PanicOnce(2), Told::Note(3), Told::Note(4)] {
            bench.port.tell(told);
        }
        bench.minute().await;
        assert_eq!(all(&bench.record.notes), [1, 2, 3, 4]);
        assert_eq!(bench.port.depth(), 0);
    });
}

#[test]
fn a_message_that_fails_three_times_is_buried_and_the_work_goes_on() {
    in_paused_time(|| async {
        let mut bench = Bench::start();
        bench.port.tell(Told::Panic(7));
        bench.port.tell(Told::Note(8));
        let reports = bench.minute().await;
        assert_eq!(all(&bench.record.buried), [Told::Panic(7)]);
        assert_eq!(all(&bench.record.notes), [8]);
        assert_eq!(reports.last(), Some(&Report::Working(Kind::SendQueue)));
    });
}

#[test]
fn a_cell_that_keeps_failing_escalates_and_waits_for_orders() {
    in_paused_time(|| async {
        let mut bench = Bench::start();
        (0..8).for_each(|number| bench.port.tell(Told::PanicOnce(number)));
        bench.port.tell(Told::Note(100));
        let reports = bench.minute().await;
        let escalated = Report::Escalated(Kind::SendQueue, "once, on demand".to_owned(), false);
        assert_eq!(reports.last(), Some(&escalated));
        assert_eq!(all(&bench.record.notes).len(), INTENSITY_MOST);
        bench.orders.send_modify(|orders| orders.generation += 1);
        bench.minute().await;
        assert_eq!(all(&bench.record.notes), [0, 1, 2, 3, 4, 5, 6, 7, 100]);
    });
}

#[test]
fn a_cell_stops_when_told_and_not_a_moment_later() {
    in_paused_time(|| async {
        let mut bench = Bench::start();
        bench.port.tell(Told::Gone);
        let reports = bench.minute().await;
        assert_eq!(reports.last(), Some(&Report::EpochGone(Kind::SendQueue)));
        bench.orders.send_modify(|orders| orders.stop = true);
        bench.port.tell(Told::Note(1));
        let reports = bench.minute().await;
        assert!(reports.is_empty(), "a clean end is no vanishing: {reports:?}");
        assert!(all(&bench.record.notes).is_empty());
        assert_eq!(bench.port.depth(), 0, "the inbox is gone with all in it");
    });
}
