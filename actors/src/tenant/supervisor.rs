//! One tenant's supervisor: starts its three children, starts all three anew when one keeps failing, and gives the tenant
//! up to quarantine when that does not help.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cell::{Behaviour, Cell, Orders, Report, Surroundings};
use crate::gate::{Parcel, Port};
use crate::intensity::Intensity;
use crate::limits::{BILLING_QUEUE_MOST, ESCALATION_WINDOW, ESCALATIONS_MOST, SEND_QUEUE_MOST};
use crate::metrics::{Cause, Kind};
use crate::tenant::billing_counter::{BillingCounter, BillingMessage};
use crate::tenant::rate_limiter::{LimiterMessage, RateLimiter};
use crate::tenant::send_queue::{SendMessage, SendQueue};
use crate::tenant::sending::abandon;
use crate::tenant::{Identity, Notice, Shared, World};

/// What others hold of an active tenant.
pub(crate) struct TenantHandle {
    pub(crate) world: Arc<World>,
    orders: Arc<watch::Sender<Orders>>,
    failing: Arc<AtomicU8>,
    worked_at: Mutex<Instant>,
}

impl TenantHandle {
    /// Starts a tenant's actors on an arbiter.
    pub(crate) fn start(identity: Identity, shared: Shared, arbiter: &ArbiterHandle) -> Arc<Self> {
        let (limiter, limiter_inbox) = Port::open(Kind::RateLimiter, 1);
        let (send_queue, send_inbox) = Port::open(Kind::SendQueue, SEND_QUEUE_MOST);
        let (billing, billing_inbox) = Port::open(Kind::BillingCounter, BILLING_QUEUE_MOST);
        let world = World::new(Arc::new(identity), shared, limiter, send_queue, billing);
        let orders = Arc::new(watch::Sender::new(Orders::default()));
        let failing = Arc::new(AtomicU8::new(0));
        let (reports, reported) = unbounded_channel();
        let nursery = Nursery {
            world: world.clone(),
            orders: orders.clone(),
            reports,
        };
        // In start order: what the others lean on first.
        nursery.start::<BillingCounter>(billing_inbox, arbiter);
        nursery.start::<RateLimiter>(limiter_inbox, arbiter);
        nursery.start::<SendQueue>(send_inbox, arbiter);
        let supervisor = TenantSupervisor {
            world: world.clone(),
            orders: orders.clone(),
            failing: failing.clone(),
            escalations: Intensity::new(ESCALATIONS_MOST - 1, ESCALATION_WINDOW),
            reported: Some(reported),
        };
        drop(TenantSupervisor::start_in_arbiter(arbiter, move |_| supervisor));
        Arc::new(Self {
            world,
            orders,
            failing,
            worked_at: Mutex::new(Instant::now()),
        })
    }

    /// Notes that there was work.
    pub(crate) fn worked(&self) {
        *self.worked_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Tells whether a child is recovering or waits for a decision.
    pub(crate) fn is_restarting(&self) -> bool {
        self.failing.load(Ordering::Acquire) != 0
    }

    /// Gives how much is inside the tenant's actors.
    pub(crate) fn depth(&self) -> usize {
        let world = &self.world;
        world.send_queue.gate().depth() + world.billing.gate().depth() + world.live.count()
    }

    /// Tells the children that a second has passed.
    pub(crate) fn tick(&self) {
        self.world.limiter.tell(LimiterMessage::Tick);
        self.world.send_queue.tell(SendMessage::Tick);
        self.world.billing.tell(BillingMessage::Tick);
    }

    /// Starts nothing any more; what is in flight goes on.
    pub(crate) fn freeze(&self) {
        self.world.frozen.store(true, Ordering::Release);
        self.world.send_queue.tell(SendMessage::Freeze);
    }

    /// Closes both gates if there has been no work for `longest` and nothing is inside. Whoever comes later is told so.
    pub(crate) fn retire_if_idle(&self, longest: Duration) -> bool {
        let worked_at = *self.worked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let world = &self.world;
        if worked_at.elapsed() < longest || self.depth() > 0 || world.commit.batch().is_some() {
            return false;
        }
        if !world.send_queue.gate().retire_if_idle() {
            return false;
        }
        // From here on nobody gets in for sending; if events are under way, the next incarnation takes both.
        world.billing.gate().retire_if_idle() || {
            world.billing.gate().close();
            true
        }
    }

    /// Stops the tenant's actors. What they held and was not done is handed in again by who delivered it.
    pub(crate) fn stop(&self) {
        for gate in [self.world.send_queue.gate(), self.world.billing.gate()] {
            gate.close();
        }
        self.orders.send_modify(|orders| orders.stop = true);
        wake(&self.world);
        let left = self.world.commit.batch().take();
        if let Some(left) = left {
            // Broken promises: whoever delivered them keeps them.
            drop(abandon(&self.world, left.claims));
        }
    }
}

fn wake(world: &World) {
    world.billing.wake();
    world.limiter.wake();
    world.send_queue.wake();
}

/// Starts cells.
struct Nursery {
    world: Arc<World>,
    orders: Arc<watch::Sender<Orders>>,
    reports: UnboundedSender<Report>,
}

impl Nursery {
    /// Starts a child, in tests' builds with its faults around it.
    fn start<B>(&self, inbox: UnboundedReceiver<Parcel<B::Message>>, arbiter: &ArbiterHandle)
    where
        B: Behaviour<Recipe = Arc<World>>,
    {
        #[cfg(feature = "fault-injection")]
        self.start_cell::<crate::faults::Struck<B>>(inbox, arbiter);
        #[cfg(not(feature = "fault-injection"))]
        self.start_cell::<B>(inbox, arbiter);
    }

    fn start_cell<B>(&self, inbox: UnboundedReceiver<Parcel<B::Message>>, arbiter: &ArbiterHandle)
    where
        B: Behaviour<Recipe = Arc<World>>,
    {
        let reports = self.reports.clone();
        let around = Surroundings {
            orders: self.orders.subscribe(),
            // The supervisor may be gone first when all stop.
            report: Box::new(move |report| drop(reports.send(report))),
            metrics: self.world.shared.metrics.clone(),
            recoveries: self.world.shared.recoveries.clone(),
        };
        let world = self.world.clone();
        drop(Cell::<B>::start_in_arbiter(arbiter, move |_| {
            Cell::new(world, inbox, around)
        }));
    }
}

/// Decides about a tenant's children.
struct TenantSupervisor {
    world: Arc<World>,
    orders: Arc<watch::Sender<Orders>>,
    failing: Arc<AtomicU8>,
    escalations: Intensity,
    reported: Option<UnboundedReceiver<Report>>,
}

impl TenantSupervisor {
    fn escalated(&mut self, kind: Kind, reason: String) {
        tracing::error!(tenant.id = %self.world.tenant(), actor = kind.as_str(), reason, "an actor keeps failing");
        if self.escalations.exceeded_at(Instant::now()) {
            self.notice(Notice::Quarantined(self.world.identity.clone(), reason));
            return;
        }
        self.orders.send_modify(|orders| orders.generation += 1);
        wake(&self.world);
    }

    fn notice(&self, notice: Notice) {
        // The node may be gone first when all stops.
        drop(self.world.shared.notices.send(notice));
    }
}

impl Actor for TenantSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(mut reported) = self.reported.take() {
            let reports = futures_util::stream::poll_fn(move |task| reported.poll_recv(task));
            Self::add_stream(reports, ctx);
        }
    }
}

impl StreamHandler<Report> for TenantSupervisor {
    fn handle(&mut self, report: Report, _: &mut Self::Context) {
        match report {
            Report::Failing(kind) => drop(self.failing.fetch_or(bit(kind), Ordering::AcqRel)),
            Report::Working(kind) => drop(self.failing.fetch_and(!bit(kind), Ordering::AcqRel)),
            Report::Escalated(kind, reason) => self.escalated(kind, reason),
            Report::EpochGone(_) => {
                let identity = &self.world.identity;
                self.notice(Notice::EpochGone(identity.partition, identity.epoch));
            }
            Report::Vanished(kind) => {
                self.world.shared.metrics.restarted(kind, Cause::Vanished);
                self.notice(Notice::Vanished(self.world.identity.clone()));
            }
        }
    }
}

const fn bit(kind: Kind) -> u8 {
    match kind {
        Kind::RateLimiter => 1,
        Kind::SendQueue => 2,
        Kind::BillingCounter => 4,
    }
}
