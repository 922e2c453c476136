//! Meta's webhooks: believed only when they are signed, stored before they are answered 200, applied through the inbox of the tenant's
//! owner. Two doors: from Meta itself, and from a relay, where a replay is refused.

pub(crate) mod body;
pub mod changes;
#[cfg(test)]
mod changes_tests;
pub mod envelope;
pub(crate) mod handshake;
pub(crate) mod metrics;
mod receive;
pub(crate) mod refusal;
pub(crate) mod relay_door;
pub(crate) mod routes;
mod shapes;
mod store;

use std::sync::Arc;

use anyhow::Context as _;
use domain::hop::HopKey;

use crate::broker::Publisher;
use crate::config::{self, ConfigError, Secret};
use crate::storage::Database;
use crate::storage::nonces::Nonces;
use crate::storage::sender_directory::SenderDirectory;

pub use metrics::Metrics;
pub use routes::routes;

/// Everything that the webhook's edge needs. Clones share it.
#[derive(Clone)]
pub struct Webhooks {
    credentials: Credentials,
    is_native: bool,
    settings: Arc<config::Webhooks>,
    nonces: Nonces,
    senders: SenderDirectory,
    store: store::Store,
    room: body::Room,
    metrics: Metrics,
}

/// What Meta and we agreed on: asked for at each delivery, because it may be renewed while we run.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    settings: Arc<config::Meta>,
}

impl Credentials {
    /// Reads the secrets that the settings name.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn read(settings: &config::Meta) -> Result<Self, ConfigError> {
        settings.app_secrets()?;
        settings.verify_tokens()?;
        Ok(Self {
            settings: Arc::new(settings.clone()),
        })
    }

    /// What signs deliveries now: the current one, and for a while those that it replaced.
    fn app_secrets(&self) -> Vec<Secret> {
        self.settings.app_secrets().unwrap_or_else(unknown)
    }

    /// What the handshake may say now.
    fn verify_tokens(&self) -> Vec<Secret> {
        self.settings.verify_tokens().unwrap_or_else(unknown)
    }
}

/// Nobody is believed while a secret cannot be read. Those that were read once stay known.
fn unknown(error: ConfigError) -> Vec<Secret> {
    tracing::error!(%error, "a secret of webhooks cannot be read");
    Vec::new()
}

/// The parts of the process that the webhook's edge stands on.
pub struct Base {
    /// Stores for all tenants.
    pub database: Database,
    /// Knows whose a number is.
    pub senders: SenderDirectory,
    /// Remembers nonces of the relay's hop.
    pub nonces: Nonces,
    /// Wakes tenants' owners.
    pub publisher: Publisher,
}

impl Webhooks {
    /// Reads the secrets and starts the tasks that store deliveries.
    ///
    /// # Errors
    /// When a secret cannot be read, or a relay's key is no key.
    pub fn start(config: &config::Config, base: Base, metrics: Metrics) -> anyhow::Result<Self> {
        hop_keys(&config.webhooks)?;
        Ok(Self {
            credentials: Credentials::read(&config.meta)?,
            is_native: config.webhooks.native,
            settings: Arc::new(config.webhooks.clone()),
            nonces: base.nonces,
            senders: base.senders,
            store: store::Store::start(base.database, base.publisher, metrics.clone()),
            room: body::Room::default(),
            metrics,
        })
    }

    /// The keys with which a relay may sign now: none where none is expected.
    fn hop_keys(&self) -> Vec<HopKey> {
        hop_keys(&self.settings).unwrap_or_else(|error| {
            tracing::error!(%error, "the relay's key cannot be used");
            Vec::new()
        })
    }
}

fn hop_keys(settings: &config::Webhooks) -> anyhow::Result<Vec<HopKey>> {
    let parse =
        |(setting, secret): (&str, Secret)| HopKey::parse(secret.expose()).context(setting.to_owned());
    settings.hop_keys()?.into_iter().map(parse).collect()
}
