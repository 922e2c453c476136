//! Asks Meta's message history about messages of which nothing was heard for a day: webhooks can be lost for good. What it answers is
//! stored as evidence and applied as a status would be.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::ids::{EventId, TenantId};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::broker::{EVENTS_MOST, Envelope, Publisher};
use crate::meta::{Client, Past};
use crate::storage::history::{self, Heard, Silent};
use crate::storage::sender_directory::SenderDirectory;
use crate::storage::{Database, StorageError};

/// The time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// The time between two questions: the history shares the account's call limit with everything else.
const BETWEEN_CALLS: Duration = Duration::from_millis(200);
/// How long to leave Meta alone after it did not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// What asking the history did.
#[derive(Clone, Default)]
pub struct Metrics {
    asked: Counter,
    heard: Counter,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut add =
            |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        add(
            "malote_history_questions",
            "Messages without news that Meta's history was asked about",
            &metrics.asked,
        );
        add(
            "malote_history_statuses",
            "Statuses that were known from Meta's history first",
            &metrics.heard,
        );
        metrics
    }
}

/// Asks Meta's message history.
pub struct History {
    /// Sees all tenants.
    pub database: Database,
    /// The way to the inboxes.
    pub publisher: Publisher,
    /// Meta.
    pub meta: Client,
    /// The numbers and their tokens.
    pub senders: SenderDirectory,
    /// After how much silence a message is asked about.
    pub silent_for: Duration,
    /// What it did.
    pub metrics: Metrics,
}

impl History {
    /// Asks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let wait = match self.round(&stop).await {
                Ok(true) => ROUND,
                Ok(false) => AFTER_FAILURE,
                Err(error) => {
                    tracing::warn!(%error, "looking for messages without news failed; the next round goes on");
                    ROUND
                }
            };
            stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
    }

    /// Looks at the next pages; tells whether Meta answered.
    async fn round(&self, stop: &CancellationToken) -> Result<bool, StorageError> {
        let silent = history::take_silent(&self.database, self.silent_for).await?;
        for message in silent {
            if stop.is_cancelled() {
                break;
            }
            match self.ask(&message).await {
                Ok(heard) => self.keep(&heard).await?,
                Err(error) => {
                    tracing::warn!(tenant.id = %message.tenant, error, "Meta's history does not answer; asking later");
                    return Ok(false);
                }
            }
            tokio::time::sleep(BETWEEN_CALLS).await;
        }
        Ok(true)
    }

    async fn ask(&self, message: &Silent) -> Result<Vec<Heard>, String> {
        let sender = self.senders.by_id(message.sender).await;
        let Some(sender) = sender.map_err(|error| error.to_string())? else {
            return Ok(Vec::new());
        };
        self.metrics.asked.inc();
        let past = self.meta.history(&sender, &message.wamid).await?;
        let heard = |past: Past| Heard {
            tenant: message.tenant,
            attempt: message.attempt,
            wamid: message.wamid.clone(),
            status: past.status.as_str(),
            occurred_at: past.occurred_at,
            raw: past.raw,
        };
        Ok(past.into_iter().map(heard).collect())
    }

    async fn keep(&self, heard: &[Heard]) -> Result<(), StorageError> {
        if heard.is_empty() {
            return Ok(());
        }
        let stored = history::store(&self.database, heard).await?;
        self.metrics.heard.inc_by(stored.len() as u64);
        let mut by_tenant: BTreeMap<TenantId, Vec<EventId>> = BTreeMap::new();
        for (tenant, event) in stored {
            by_tenant.entry(tenant).or_default().push(event);
        }
        for (tenant, events) in by_tenant {
            for part in events.chunks(EVENTS_MOST) {
                let events = part.to_vec();
                self.publisher.publish_soon(Envelope::Events { tenant, events });
            }
        }
        Ok(())
    }
}
