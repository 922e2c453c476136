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
    hop_keys: Arc<[HopKey]>,
    nonces: Nonces,
    senders: SenderDirectory,
    store: store::Store,
    room: body::Room,
    metrics: Metrics,
}

/// What Meta and we agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// What signs deliveries: the current one, and the previous one while it is rotated.
    pub(crate) app_secrets: Arc<[Secret]>,
    /// What the handshake must say.
    pub(crate) verify_token: Arc<Secret>,
}

impl Credentials {
    /// Reads the secrets that the settings name.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn read(settings: &config::Meta) -> Result<Self, ConfigError> {
        let token = Secret::read(&settings.verify_token_file, "meta.verify_token_file")?;
        Ok(Self {
            app_secrets: settings.app_secrets()?.into(),
            verify_token: Arc::new(token),
        })
    }
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
        let hop_keys = config.webhooks.hop_keys()?;
        let parse =
            |(setting, secret): (&str, Secret)| HopKey::parse(secret.expose()).context(setting.to_owned());
        Ok(Self {
            credentials: Credentials::read(&config.meta)?,
            is_native: config.webhooks.native,
            hop_keys: hop_keys.into_iter().map(parse).collect::<Result<_, _>>()?,
            nonces: base.nonces,
            senders: base.senders,
            store: store::Store::start(base.database, base.publisher, metrics.clone()),
            room: body::Room::default(),
            metrics,
        })
    }
}
