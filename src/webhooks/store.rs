//! Storing deliveries by group commit: while one insert is under way, the next deliveries gather. The owner is woken afterwards.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use domain::ids::{EventId, TenantId};
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use super::Metrics;
use crate::broker::{EVENTS_MOST, Envelope, Publisher};
use crate::storage::events::{NewOther, NewStatus, store_others, store_statuses};
use crate::storage::{Database, StorageError};

/// Deliveries that may wait to be stored; beyond it Meta is told to come again.
const WAITING_MOST: usize = 4_096;
/// Deliveries of one insert.
const ROUND_MOST: usize = 512;
/// Tasks that store at once.
const WRITERS: usize = 2;

/// The rows of one delivery.
pub(super) struct Rows {
    pub(super) statuses: Vec<NewStatus>,
    pub(super) others: Vec<NewOther>,
}

type Waiting = (Rows, oneshot::Sender<Result<(), StorageError>>);

/// The way to the table of events. Clones share it.
#[derive(Clone)]
pub(super) struct Store(mpsc::Sender<Waiting>);

impl Store {
    pub(super) fn start(database: Database, publisher: Publisher, metrics: Metrics) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MOST);
        let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(receiver));
        for _ in 0..WRITERS {
            let writer = Writer {
                database: database.clone(),
                publisher: publisher.clone(),
                metrics: metrics.clone(),
            };
            tokio::spawn(writer.run(receiver.clone()));
        }
        Self(sender)
    }

    /// Stores a delivery; when this answers, it is durable.
    pub(super) async fn store(&self, rows: Rows) -> Result<(), StorageError> {
        let full = || StorageError::Unavailable("too many deliveries wait to be stored".to_owned());
        let (answer, answered) = oneshot::channel();
        self.0.try_send((rows, answer)).map_err(|_| full())?;
        answered.await.map_err(|_| full())?
    }
}

struct Writer {
    database: Database,
    publisher: Publisher,
    metrics: Metrics,
}

impl Writer {
    async fn run(self, receiver: std::sync::Arc<tokio::sync::Mutex<mpsc::Receiver<Waiting>>>) {
        loop {
            let mut gathered = Vec::new();
            if receiver.lock().await.recv_many(&mut gathered, ROUND_MOST).await == 0 {
                return;
            }
            let (rows, waiting): (Vec<Rows>, Vec<_>) = gathered.into_iter().unzip();
            let stored = AssertUnwindSafe(self.write(rows)).catch_unwind().await;
            let stored = stored
                .unwrap_or_else(|_| Err(StorageError::Broken("storing a delivery panicked".to_owned())));
            for answer in waiting {
                // Meta may have hung up; it will come again.
                let _ = answer.send(stored.as_ref().map(|_| ()).map_err(Clone::clone));
            }
            if let Ok(new) = stored {
                self.wake(new);
            }
        }
    }

    async fn write(&self, rows: Vec<Rows>) -> Result<Vec<(TenantId, EventId)>, StorageError> {
        let (mut statuses, mut others) = (Vec::new(), Vec::new());
        for row in rows {
            statuses.extend(row.statuses);
            others.extend(row.others);
        }
        store_others(&self.database, &others).await?;
        let new = store_statuses(&self.database, &statuses).await?;
        self.metrics.statuses.inc_by(new.len() as u64);
        Ok(new)
    }

    fn wake(&self, new: Vec<(TenantId, EventId)>) {
        let mut by_tenant: BTreeMap<TenantId, Vec<EventId>> = BTreeMap::new();
        for (tenant, event) in new {
            by_tenant.entry(tenant).or_default().push(event);
        }
        for (tenant, events) in by_tenant {
            for part in events.chunks(EVENTS_MOST) {
                self.publisher.publish_soon(Envelope::Events {
                    tenant,
                    events: part.to_vec(),
                });
            }
        }
    }
}
