//! Meta's webhooks: believed only with a signature over the raw bytes, stored before they are answered 200, applied through the
//! inbox of the tenant's owner.

mod payload;
pub(crate) mod routes;
mod store;

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::broker::Publisher;
use crate::config::{self, ConfigError, Secret};
use crate::storage::Database;
use crate::storage::sender_directory::SenderDirectory;

pub use routes::routes;

/// Everything that the webhook's edge needs. Clones share it.
#[derive(Clone)]
pub struct Webhooks {
    secrets: Arc<[Secret]>,
    verify_token: Arc<Secret>,
    senders: SenderDirectory,
    store: store::Store,
    metrics: Metrics,
}

/// What happened at the edge.
#[derive(Clone, Default)]
pub struct Metrics {
    accepted: Counter,
    refused: Counter,
    unavailable: Counter,
    statuses: Counter,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut add =
            |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        add(
            "malote_webhook_deliveries_accepted",
            "Deliveries of Meta that were stored",
            &metrics.accepted,
        );
        add(
            "malote_webhook_deliveries_refused",
            "Deliveries without a valid signature or body",
            &metrics.refused,
        );
        add(
            "malote_webhook_deliveries_unavailable",
            "Deliveries that could not be stored; Meta repeats them",
            &metrics.unavailable,
        );
        add(
            "malote_webhook_statuses",
            "Statuses that were stored for the first time",
            &metrics.statuses,
        );
        metrics
    }
}

impl Webhooks {
    /// Reads the secrets and starts the task that stores deliveries.
    ///
    /// # Errors
    /// When a secret cannot be read.
    pub fn start(
        settings: &config::Meta,
        database: Database,
        senders: SenderDirectory,
        publisher: Publisher,
        metrics: Metrics,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            secrets: settings.app_secrets()?.into(),
            verify_token: Arc::new(Secret::read(
                &settings.verify_token_file,
                "meta.verify_token_file",
            )?),
            senders,
            store: store::Store::start(database, publisher, metrics.clone()),
            metrics,
        })
    }
}
