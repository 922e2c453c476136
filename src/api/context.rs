//! What handlers may use.

use actors::tenants::Tenants;
use tokio_util::sync::CancellationToken;

use super::authentication::KnownKeys;
use super::campaigns::LiveProgress;
use super::guard::Guard;
use super::metrics::Metrics;
use crate::broker::Publisher;
use crate::config::Secrets;
use crate::meta;
use crate::storage::{Database, Redis};
use crate::telemetry;

/// The parts of the process that the API stands on. Clones share them.
#[derive(Clone)]
pub struct Context {
    /// One tenant's rows at a time.
    pub app_rw: Database,
    /// All tenants' rows: operators' routes.
    pub app_system: Database,
    /// Asked for its health.
    pub redis: Redis,
    /// Wakes tenants' owners.
    pub publisher: Publisher,
    /// Reads templates.
    pub meta: meta::Client,
    /// What operators must show.
    pub secrets: Secrets,
    /// What `/metrics` shows.
    pub shown: telemetry::Metrics,
    /// What the API itself shows there.
    pub metrics: Metrics,
    /// The actors of this process, if it runs any.
    pub tenants: Option<Tenants>,
    /// What stands in front of every handler.
    pub guard: Guard,
    /// Cancelled when the process begins to stop: from then on it is not ready.
    pub stopping: CancellationToken,
    /// Keys that were shown a moment ago.
    pub known_keys: KnownKeys,
    /// The campaigns that somebody watches.
    pub progress: LiveProgress,
}
