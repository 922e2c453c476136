//! The only place where parts are joined: settings in, a running server out.

mod planning;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::System;
use actors::node::{Node, Ports, Settings};
use actors::tenants::Tenants;
use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::broker::Inbox;
use crate::config::{self, Config, SecretName};
use crate::consumers::{self, Consumers, Membership};
use crate::foundation::Foundation;
use crate::signals::told_to_stop;
use crate::storage::committer::Committer;
use crate::storage::limiter::Limiters;
use crate::storage::nonces::Nonces;
use crate::storage::quarantine::Quarantines;
use crate::storage::{Database, Role};
use crate::telemetry::Metrics;
use crate::webhooks::Webhooks;
use crate::{api, telemetry, webhooks};

/// Connections for heartbeats alone.
const HEARTBEAT_POOL: u32 = 2;

/// What a process does of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RoleOfProcess {
    /// Serves tenants and operators.
    Api,
    /// Takes Meta's webhooks.
    Webhooks,
    /// Owns partitions: sends and bills.
    Worker,
    /// Moves due messages into the inboxes.
    Planner,
}

impl RoleOfProcess {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Api, Self::Webhooks, Self::Worker, Self::Planner];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Webhooks => "webhooks",
            Self::Worker => "worker",
            Self::Planner => "planner",
        }
    }
}

/// Where a server that has started listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The API, the webhooks, the API page.
    pub public: std::net::SocketAddr,
    /// Metrics and the operators' API.
    pub internal: std::net::SocketAddr,
}

/// Serves until the process is told to stop (SIGTERM, SIGINT), then drains and returns. `started` is told the addresses.
///
/// # Errors
/// When the server must not or cannot start; each error says what to do.
pub fn serve(
    config: Config,
    roles: Vec<RoleOfProcess>,
    started: impl FnOnce(Addresses) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    telemetry::start_logging(&config.telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let runtime = Arc::new(runtime);
    let shared = Arc::clone(&runtime);
    let system = System::with_tokio_rt(move || shared);
    let served = system.block_on(run(config, roles, Arc::clone(&runtime), started));
    drop(system);
    served
}

/// The actors and what feeds them.
struct Worker {
    node: Node,
    tenants: Tenants,
    consuming: JoinSet<anyhow::Result<()>>,
    membership: Membership,
    stop: CancellationToken,
}

impl Worker {
    fn start(
        config: &Config,
        base: &Foundation,
        (membership, metrics): (Membership, consumers::Metrics),
        runtime: Arc<Runtime>,
        registry: &mut Registry,
    ) -> Self {
        let pipeline = &config.pipeline;
        let committer = Arc::new(Committer::start(base.app_system.clone()));
        let ports = Ports {
            ledger: committer.clone(),
            messages: committer.clone(),
            meta: Arc::new(base.meta.clone()),
            limiter: Arc::new(Limiters::start(
                base.redis.clone(),
                base.app_system.clone(),
                base.senders.clone(),
            )),
            quarantine: Arc::new(Quarantines {
                database: base.app_system.clone(),
                partitions: pipeline.partitions,
                first: Duration::from_millis(pipeline.quarantine_first_ms),
            }),
        };
        let settings = Settings {
            claim_deadline: Duration::from_millis(pipeline.claim_deadline_ms),
            retry_first_delay: Duration::from_millis(pipeline.retry_first_delay_ms),
            refusals_forgiven_for: Duration::from_secs(pipeline.refusals_forgiven_seconds),
            passivate_after: Duration::from_millis(pipeline.passivate_after_ms),
            ..Settings::default()
        };
        let node = Node::start(
            ports,
            settings,
            runtime,
            actors::metrics::Metrics::register(registry),
        );
        let tenants = node.tenants();
        let consumers = Consumers {
            inbox: Inbox::new(base.broker.clone(), membership.name()),
            tenants: tenants.clone(),
            messages: committer,
            database: base.app_system.clone(),
            redis: base.redis.clone(),
            membership: membership.clone(),
            metrics,
            drain: Duration::from_secs(pipeline.drain_seconds),
        };
        let stop = CancellationToken::new();
        let mut consuming = JoinSet::new();
        consuming.spawn(consumers.run(pipeline.partitions, stop.clone()));
        Self {
            node,
            tenants,
            consuming,
            membership,
            stop,
        }
    }

    /// Takes nothing in any more, finishes what is in flight, hands every partition over; all of it within a time.
    async fn stop(mut self, within: Duration) {
        let end = Instant::now() + within;
        self.membership.leave();
        self.stop.cancel();
        while self.consuming.join_next().await.is_some() {}
        let left = end.saturating_duration_since(Instant::now());
        let drained = self.node.shutdown(left).await;
        tracing::info!(in_flight_left = drained.in_flight_left, "the actors have stopped");
    }
}

async fn run(
    config: Config,
    roles: Vec<RoleOfProcess>,
    runtime: Arc<Runtime>,
    started: impl FnOnce(Addresses) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let base = Foundation::lay(&config).await?;
    let (public, internal) = listen(&config).await?;
    let addresses = Addresses {
        public: public.local_addr()?,
        internal: internal.local_addr()?,
    };
    let name = node_name(&config, addresses.public.port());
    let stop = CancellationToken::new();
    let gone = CancellationToken::new();
    let mut registry = Registry::default();
    let has = |role| roles.contains(&role);
    base.show_pools(&mut registry);
    let consumer_metrics = consumers::Metrics::register(&mut registry);
    let membership = join(&config, &base, &name, &roles, &consumer_metrics).await?;
    let mut worker = has(RoleOfProcess::Worker).then(|| {
        let member = (membership.clone(), consumer_metrics);
        Worker::start(&config, &base, member, runtime, &mut registry)
    });
    let webhooks = has(RoleOfProcess::Webhooks)
        .then(|| start_webhooks(&config, &base, &mut registry))
        .transpose()?;
    let mut tasks = JoinSet::new();
    let watch = base.watch(&config.secrets, &mut registry);
    tasks.spawn(watch.run(stop.clone()));
    if has(RoleOfProcess::Planner) {
        planning::start(&config, &base, &mut tasks, &stop, &mut registry);
    }
    let tenants = worker.as_ref().map(|worker| worker.tenants.clone());
    let mut membership = tokio::spawn(membership.run(tenants, gone.clone()));
    let context = context(&config, &base, worker.as_ref(), registry)?;
    let stopping = context.stopping.clone();
    let closing = api::Closing {
        stop: stop.clone(),
        drain: Duration::from_secs(config.http.drain_seconds),
        gone: gone.clone(),
    };
    let listeners = (public, internal);
    let (outside, inside) = api::serve(context, has(RoleOfProcess::Api), webhooks, listeners, closing);
    tasks.spawn(outside);
    let inside = tokio::spawn(inside);
    tracing::info!(public = %addresses.public, internal = %addresses.internal, node = name, "serving");
    started(addresses)?;
    let ended = until_the_end(&mut tasks, worker.as_mut(), &mut membership).await;
    tracing::info!("stopping: no new work, finishing what is in flight");
    // In this order: not ready; then requests and the planner end; then the partitions are handed over; health and metrics last.
    stopping.cancel();
    tokio::time::sleep(Duration::from_secs(config.http.leave_seconds)).await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    if let Some(worker) = worker {
        worker
            .stop(Duration::from_secs(config.pipeline.drain_seconds))
            .await;
    }
    gone.cancel();
    if let Err(error) = inside.await {
        tracing::warn!(%error, "the internal listener failed");
    }
    // It may be what ended.
    if !membership.is_finished() {
        let _ = membership.await;
    }
    tracing::info!("stopped");
    ended
}

async fn listen(config: &Config) -> anyhow::Result<(TcpListener, TcpListener)> {
    let public = TcpListener::bind(config.http.public_address)
        .await
        .context("http.public_address")?;
    let internal = TcpListener::bind(config.http.internal_address)
        .await
        .context("http.internal_address")?;
    Ok((public, internal))
}

/// Says for the first time that this node is there, on connections of its own.
async fn join(
    config: &Config,
    base: &Foundation,
    name: &str,
    roles: &[RoleOfProcess],
    metrics: &consumers::Metrics,
) -> anyhow::Result<Membership> {
    let settings = config::Database {
        pool_size: HEARTBEAT_POOL,
        ..config.database.clone()
    };
    let database = Database::connect(&settings, Role::AppSystem).await?;
    let roles = roles.iter().map(|role| role.as_str()).collect();
    let membership = Membership::new(name.into(), roles, database, base.lease.clone(), metrics.clone());
    membership.join().await.context("the first heartbeat")?;
    Ok(membership)
}

/// Waits until the process is told to stop (a second time changes nothing: the signals stay caught), or a part of it ends that should not have.
async fn until_the_end(
    tasks: &mut JoinSet<()>,
    worker: Option<&mut Worker>,
    membership: &mut JoinHandle<()>,
) -> anyhow::Result<()> {
    let ended = tokio::select! {
        signal = told_to_stop() => signal.map_err(anyhow::Error::from),
        Some(ended) = tasks.join_next() => Err(early("a part of the server", ended.map(Ok))),
        ended = consumed(worker) => Err(early("the consumers", ended)),
        ended = membership => Err(early("the heartbeat", ended.map(Ok))),
    };
    if let Err(error) = &ended {
        tracing::error!(%error, "stopping, so that whoever started this process starts it anew");
    }
    ended
}

/// Waits for the end of the consumers; for ever, where there are none.
async fn consumed(worker: Option<&mut Worker>) -> Result<anyhow::Result<()>, JoinError> {
    match worker {
        Some(worker) => match worker.consuming.join_next().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Says that something ended that should not have.
fn early(what: &str, ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("{what} ended by itself"),
        Ok(Err(error)) => error.context(format!("{what} ended")),
        Err(panic) => anyhow::anyhow!("{what} failed: {panic}"),
    }
}

fn start_webhooks(config: &Config, base: &Foundation, registry: &mut Registry) -> anyhow::Result<Webhooks> {
    let metrics = webhooks::Metrics::register(registry);
    let base = webhooks::Base {
        database: base.app_system.clone(),
        senders: base.senders.clone(),
        nonces: Nonces::new(base.redis.clone()),
        publisher: base.publisher.clone(),
    };
    Webhooks::start(config, base, metrics)
}

fn context(
    config: &Config,
    base: &Foundation,
    worker: Option<&Worker>,
    mut registry: Registry,
) -> anyhow::Result<api::Context> {
    // Known from the start, so that it is watched and a wrong one stops us now.
    config.admin.secrets.get(SecretName::AdminKey)?;
    let guard = api::Guard::new(&config.api, base.redis.clone(), &mut registry);
    Ok(api::Context {
        app_rw: base.app_rw.clone(),
        app_system: base.app_system.clone(),
        redis: base.redis.clone(),
        publisher: base.publisher.clone(),
        meta: base.meta.clone(),
        secrets: config.secrets.held.clone(),
        metrics: api::Metrics::register(&mut registry),
        shown: Metrics::new(registry),
        tenants: worker.map(|worker| worker.tenants.clone()),
        guard,
        stopping: CancellationToken::new(),
        known_keys: api::KnownKeys::default(),
        progress: api::campaigns::LiveProgress::start(base.app_system.clone()),
    })
}

/// The node's name: as set, or the host and the port that it serves on, so that it is the same after a restart.
fn node_name(config: &Config, port: u16) -> String {
    if !config.node.name.is_empty() {
        return config.node.name.clone();
    }
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_else(|_| "localhost".to_owned());
    format!("{}:{port}", host.trim())
}
