//! Storing deliveries by group commit: while one insert is under way, the next deliveries gather. The owner is woken afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;

use domain::ids::{EventId, MessageId, TenantId};
use domain::webhook::{Quarantine, identity};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Metrics;
use super::changes::Rows;
use crate::broker::{EVENTS_MOST, Envelope, Note, Publisher};
use crate::storage::events::{
    NewOther, NewStatus, SecurityEvent, count_security_events, messages_of, store_others, store_statuses,
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
    statuses: Vec<NewStatusStored>,
}

/// A status that was stored for the first time.
struct NewStatusStored {
    tenant: TenantId,
    event: EventId,
    happened: Option<Timestamp>,
    /// Whose status it is, if somebody follows messages.
    message: Option<MessageId>,
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
        let stored = store_statuses(&self.database, &statuses).await?;
        self.metrics.count_new_statuses(stored.len());
        ids.extend(stored.iter().map(|(_, event)| event.0));
        let followed = match tracing::enabled!(target: "journey", tracing::Level::DEBUG) {
            true => self.follow(&statuses, &stored).await,
            false => HashMap::new(),
        };
        let happened: HashMap<EventId, Timestamp> = statuses
            .iter()
            .map(|status| (status.id, status.occurred_at))
            .collect();
        let statuses = stored.into_iter().map(|(tenant, event)| NewStatusStored {
            tenant,
            event,
            happened: happened.get(&event).copied(),
            message: followed.get(&event).copied(),
        });
        Ok(New {
            ids,
            statuses: statuses.collect(),
        })
    }

    /// Says which messages' statuses were stored, to whoever follows one: docs/logging.md. Only then is the database asked.
    async fn follow(
        &self,
        statuses: &[&NewStatus],
        stored: &[(TenantId, EventId)],
    ) -> HashMap<EventId, MessageId> {
        let new: HashSet<EventId> = stored.iter().map(|(_, event)| *event).collect();
        let new: Vec<&NewStatus> = statuses
            .iter()
            .copied()
            .filter(|status| new.contains(&status.id))
            .collect();
        let attempts: Vec<_> = new.iter().map(|status| (status.tenant, status.attempt)).collect();
        let messages = messages_of(&self.database, &attempts)
            .await
            .unwrap_or_else(|error| {
                tracing::debug!(%error, "it is not known whose statuses were stored");
                HashMap::new()
            });
        let mut followed = HashMap::new();
        for status in new {
            let Some(&message) = messages.get(&status.attempt) else {
                continue;
            };
            tracing::debug!(target: "journey", { trace.id = %message.trace(), tenant.id = %status.tenant, attempt.id = %status.attempt,
                event.id = %status.id, status = status.status }, "a status is stored");
            followed.insert(status.id, message);
        }
        followed
    }

    fn wake(&self, new: Vec<NewStatusStored>) {
        let mut by_tenant: BTreeMap<TenantId, Vec<NewStatusStored>> = BTreeMap::new();
        for status in new {
            by_tenant.entry(status.tenant).or_default().push(status);
        }
        for (tenant, statuses) in by_tenant {
            for part in statuses.chunks(EVENTS_MOST) {
                let events = part.iter().map(|status| status.event).collect();
                let note = Note {
                    trace: part
                        .iter()
                        .find_map(|status| status.message)
                        .map(|message| message.0),
                    since: part.iter().filter_map(|status| status.happened).collect(),
                };
                self.publisher
                    .publish_soon_with(Envelope::Events { tenant, events }, note);
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
