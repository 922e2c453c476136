//! `malote relay`: the small process at the edge that keeps Meta's deliveries while the whole core is down. It verifies, writes to its
//! disk, answers 200, and forwards signed until the core has it (decision 0018).

mod door;
mod forward;
mod hop;
mod metrics;
mod replay;
pub mod spool;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, SecretMetrics, SecretName, Watch};
use crate::telemetry::Metrics as Page;
use crate::webhooks::Credentials;
use door::Door;
use forward::Forwarder;
use hop::Hop;
use metrics::Metrics;
use spool::{Limits, Spool};

pub use replay::{Replayed, replay};

/// The time between two looks at what is kept too long.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
const MEBIBYTE: u64 = 1024 * 1024;

/// Where a relay that has started listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Meta's deliveries.
    pub public: SocketAddr,
    /// Metrics and health.
    pub internal: SocketAddr,
}

/// Takes and forwards deliveries until `stop`; then ends what is under way and returns. `started` is told the addresses.
///
/// # Errors
/// When the relay cannot start; each error says what to do.
pub async fn serve(
    config: &Config,
    stop: CancellationToken,
    started: impl FnOnce(Addresses) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let settings = &config.relay;
    let hop = hop(config)?;
    let credentials = Credentials::read(&config.meta)?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let held = config.secrets.held.clone();
    let watch = Watch::new(
        held,
        config.secrets.poll(),
        SecretMetrics::register(&mut registry),
    );
    let spool = Spool::open(Path::new(&settings.directory), limits(config)).context("relay.directory")?;
    metrics.found(&spool.stats());
    let public = TcpListener::bind(settings.public_address)
        .await
        .context("relay.public_address")?;
    let internal = TcpListener::bind(settings.internal_address)
        .await
        .context("relay.internal_address")?;
    let addresses = Addresses {
        public: public.local_addr()?,
        internal: internal.local_addr()?,
    };
    let drain = Duration::from_secs(settings.drain_seconds);
    let door = Door {
        credentials,
        spool: spool.clone(),
        metrics: metrics.clone(),
        page: Page::new(registry),
        room: crate::webhooks::body::Room::default(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(door.serve(public, internal, stop.clone(), drain));
    let forwarder = Forwarder::new(spool.clone(), hop, metrics, settings.concurrency);
    tasks.spawn(forwarder.run(stop.clone(), drain));
    tasks.spawn(keep_house(spool, stop.clone()));
    tasks.spawn(watch.run(stop.clone()));
    tracing::info!(public = %addresses.public, internal = %addresses.internal, "relaying");
    started(addresses)?;
    tokio::select! {
        // First: told to stop, parts end by themselves at once.
        biased;
        () = stop.cancelled() => tracing::info!("stopping: no new deliveries, finishing what is under way"),
        Some(ended) = tasks.join_next() => anyhow::bail!("a part of the relay ended by itself: {ended:?}"),
    }
    while tasks.join_next().await.is_some() {}
    tracing::info!("stopped");
    Ok(())
}

fn hop(config: &Config) -> anyhow::Result<Hop> {
    let secrets = config.secrets.held.clone();
    // Known from the start, so that it is watched and a wrong one stops us now.
    secrets.get(SecretName::EdgeKey)?;
    Hop::to(&config.relay.forward_to, secrets).context("relay.forward_to")
}

fn limits(config: &Config) -> Limits {
    let settings = &config.relay;
    Limits {
        pending_most: settings.spool_most_mb * MEBIBYTE,
        kept_most: settings.keep_most_mb * MEBIBYTE,
        kept_for: Duration::from_secs(settings.keep_hours * 3_600),
    }
}

async fn keep_house(spool: Arc<Spool>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let at_work = Arc::clone(&spool);
        let swept = tokio::task::spawn_blocking(move || at_work.sweep()).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(%error, "what was kept too long could not be removed");
        }
        stop.run_until_cancelled(tokio::time::sleep(HOUSEKEEPING)).await;
    }
}
