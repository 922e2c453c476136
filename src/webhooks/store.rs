//! Storing deliveries by group commit: while one insert is under way, the next deliveries gather. The owner is woken afterwards.

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;

use domain::ids::{EventId, TenantId};
use domain::webhook::{Quarantine, identity};
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Metrics;
use super::changes::Rows;
use crate::broker::{EVENTS_MOST, Envelope, Publisher};
use crate::storage::events::{
    NewOther, NewStatus, SecurityEvent, count_security_events, store_others, store_statuses,
};
use crate::storage::{Database, StorageError};

/// Deliveries that may wait to be stored; beyond it Meta is told to come again.
const WAITING_MOST: usize = 4_096;
/// Deliveries of one insert.
const ROUND_MOST: usize = 512;
/// Tasks that store at once.
const WRITERS: usize = 2;

/// A delivery, ready to be stored.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    pub(super) rows: Rows,
    pub(super) security: Vec<SecurityEvent>,
}

/// Tells whether anything of a delivery was not known yet.
type WasNew = bool;
type Waiting = (Delivery, oneshot::Sender<Result<WasNew, StorageError>>);

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
    pub(super) async fn store(&self, delivery: Delivery) -> Result<WasNew, StorageError> {
        let full = || StorageError::Unavailable("too many deliveries wait to be stored".to_owned());
        let (answer, answered) = oneshot::channel();
        self.0.try_send((delivery, answer)).map_err(|_| full())?;
        answered.await.map_err(|_| full())?
    }
}

struct Writer {
    database: Database,
    publisher: Publisher,
    metrics: Metrics,
}

/// What an insert found to be new.
#[derive(Default)]
struct New {
    ids: HashSet<Uuid>,
    statuses: Vec<(TenantId, EventId)>,
}

impl Writer {
    async fn run(self, receiver: std::sync::Arc<tokio::sync::Mutex<mpsc::Receiver<Waiting>>>) {
        loop {
            let mut gathered = Vec::new();
            if receiver.lock().await.recv_many(&mut gathered, ROUND_MOST).await == 0 {
                return;
            }
            let (deliveries, waiting): (Vec<Delivery>, Vec<_>) = gathered.into_iter().unzip();
            match self.write(&deliveries).await {
                // One of them is not storable: it must not take the others with it.
                Err(StorageError::Broken(_)) => {
                    for (delivery, answer) in deliveries.into_iter().zip(waiting) {
                        let stored = self.write_alone(delivery).await;
                        // Meta may have hung up; it will come again.
                        let _ = answer.send(stored);
                    }
                }
                written => {
                    for (delivery, answer) in deliveries.iter().zip(waiting) {
                        let was_new = |new: &New| delivery.was_new(new);
                        let _ = answer.send(written.as_ref().map(was_new).map_err(Clone::clone));
                    }
                    if let Ok(new) = written {
                        self.wake(new.statuses);
                    }
                }
            }
        }
    }

    /// Stores a delivery by itself, and if the database does not take it as it is, as text in quarantine.
    async fn write_alone(&self, mut delivery: Delivery) -> Result<WasNew, StorageError> {
        let written = match self.write(std::slice::from_ref(&delivery)).await {
            Err(StorageError::Broken(reason)) => {
                tracing::warn!(
                    reason,
                    "a delivery is kept as text, since the database does not take it as it is"
                );
                delivery.make_storable();
                self.metrics.count_quarantined(Quarantine::NotStorable);
                self.write(std::slice::from_ref(&delivery)).await
            }
            written => written,
        };
        let new = written?;
        let was_new = delivery.was_new(&new);
        self.wake(new.statuses);
        Ok(was_new)
    }

    /// Stores deliveries; a fault of ours counts as their being not storable, and ends nothing else.
    async fn write(&self, deliveries: &[Delivery]) -> Result<New, StorageError> {
        let panicked = |_| Err(StorageError::Broken("storing a delivery panicked".to_owned()));
        let written = AssertUnwindSafe(self.insert(deliveries)).catch_unwind().await;
        written.unwrap_or_else(panicked)
    }

    async fn insert(&self, deliveries: &[Delivery]) -> Result<New, StorageError> {
        let others: Vec<&NewOther> = deliveries.iter().flat_map(|one| &one.rows.others).collect();
        let statuses: Vec<&NewStatus> = deliveries.iter().flat_map(|one| &one.rows.statuses).collect();
        let security: Vec<&SecurityEvent> = deliveries.iter().flat_map(|one| &one.security).collect();
        count_security_events(&self.database, &security).await?;
        let mut ids: HashSet<Uuid> = store_others(&self.database, &others).await?.into_iter().collect();
        let statuses = store_statuses(&self.database, &statuses).await?;
        self.metrics.count_new_statuses(statuses.len());
        ids.extend(statuses.iter().map(|(_, event)| event.0));
        Ok(New { ids, statuses })
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

impl Delivery {
    fn was_new(&self, new: &New) -> WasNew {
        let others = self.rows.others.iter().map(|other| other.id);
        let statuses = self.rows.statuses.iter().map(|status| status.id.0);
        others.chain(statuses).any(|id| new.ids.contains(&id))
    }

    /// Turns everything into text that the database surely takes. Nothing of it is acted on.
    fn make_storable(&mut self) {
        for status in std::mem::take(&mut self.rows.statuses) {
            self.rows.others.push(NewOther {
                id: Uuid::now_v7(),
                identity: identity(&[b"not storable", status.raw.as_bytes()]),
                tenant: Some(status.tenant),
                kind: "messages".to_owned(),
                phone_number_id: None,
                waba_id: String::new(),
                happened_at: None,
                quarantined_because: None,
                raw: status.raw,
            });
        }
        for other in &mut self.rows.others {
            other.quarantined_because = Some(Quarantine::NotStorable);
            other.raw = serde_json::Value::from(other.raw.replace('\0', "\u{fffd}")).to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::AttemptId;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_the_database_refused_is_kept_as_text_and_not_acted_on() {
        let deep = "[".repeat(50_000) + &"]".repeat(50_000);
        let mut delivery = Delivery::default();
        delivery.rows.statuses.push(NewStatus {
            id: EventId(Uuid::now_v7()),
            tenant: TenantId(Uuid::from_u128(1)),
            attempt: AttemptId(Uuid::from_u128(2)),
            status: "sent",
            wamid: "wamid.1".to_owned(),
            occurred_at: Timestamp::UNIX_EPOCH,
            pricing_type: None,
            pricing_category: None,
            pricing_billable: None,
            error_code: None,
            raw: deep.clone(),
        });
        delivery.rows.extend(Rows::not_understood(b"{\0"));
        delivery.make_storable();
        assert!(delivery.rows.statuses.is_empty());
        assert_eq!(delivery.rows.others.len(), 2);
        for other in &delivery.rows.others {
            assert_eq!(other.quarantined_because, Some(Quarantine::NotStorable));
            assert!(other.raw.starts_with('"') && !other.raw.contains('\0'));
        }
        let kept: String = serde_json::from_str(&delivery.rows.others[1].raw).unwrap();
        assert_eq!(kept, deep);
    }
}
