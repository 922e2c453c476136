//! The only place where parts are joined: settings in, a running server out.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::System;
use actors::node::{Node, Ports, Settings};
use actors::tenants::Tenants;
use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Inbox, Publisher};
use crate::config::{Config, Secret};
use crate::consumers::Consumers;
use crate::planner::Planner;
use crate::storage::committer::Committer;
use crate::storage::limiter::Limiters;
use crate::storage::sender_directory::SenderDirectory;
use crate::storage::{Database, Redis, Role, ownership, schema};
use crate::telemetry::Metrics;
use crate::webhooks::Webhooks;
use crate::{api, meta, planner, telemetry, webhooks};

/// The time between two heartbeats of a node.
const HEARTBEAT: Duration = Duration::from_secs(2);

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

/// The parts that every role needs.
struct Foundation {
    app_rw: Database,
    app_system: Database,
    redis: Redis,
    broker: Broker,
    publisher: Publisher,
    senders: SenderDirectory,
    meta: meta::Client,
}

impl Foundation {
    async fn lay(config: &Config) -> anyhow::Result<Self> {
        let app_rw = Database::connect(&config.database, Role::AppRw)
            .await
            .context("PostgreSQL as app_rw")?;
        let app_system = Database::connect(&config.database, Role::AppSystem)
            .await
            .context("PostgreSQL as app_system")?;
        schema::check(&app_rw).await?;
        schema::check(&app_system).await?;
        schema::check_partitions(&app_system, config.pipeline.partitions).await?;
        let redis = Redis::connect(&config.redis).await.context("Redis")?;
        let broker = Broker::new(&config.broker, config.pipeline.partitions)?;
        broker.prepare().await.context("RabbitMQ")?;
        let senders = SenderDirectory::new(app_system.clone());
        Ok(Self {
            publisher: Publisher::start(broker.clone()),
            meta: meta::Client::new(&config.meta, senders.clone()),
            app_rw,
            app_system,
            redis,
            broker,
            senders,
        })
    }
}

/// The actors and what feeds them.
struct Worker {
    node: Node,
    tenants: Tenants,
    consuming: JoinSet<()>,
    stop: CancellationToken,
}

impl Worker {
    fn start(
        config: &Config,
        base: &Foundation,
        name: &str,
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
        };
        let settings = Settings {
            claim_deadline: Duration::from_millis(pipeline.claim_deadline_ms),
            retry_first_delay: Duration::from_millis(pipeline.retry_first_delay_ms),
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
            inbox: Inbox::new(base.broker.clone()),
            tenants: tenants.clone(),
            messages: committer,
            database: base.app_system.clone(),
            node: name.into(),
            drain: Duration::from_secs(pipeline.drain_seconds),
        };
        let stop = CancellationToken::new();
        let mut consuming = JoinSet::new();
        consuming.spawn(consumers.run(pipeline.partitions, stop.clone()));
        Self {
            node,
            tenants,
            consuming,
            stop,
        }
    }

    async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        while self.consuming.join_next().await.is_some() {}
        let drained = self.node.shutdown(within).await;
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
    let name = node_name(&config);
    let stop = CancellationToken::new();
    let mut registry = Registry::default();
    let has = |role| roles.contains(&role);
    let worker =
        has(RoleOfProcess::Worker).then(|| Worker::start(&config, &base, &name, runtime, &mut registry));
    let webhooks = has(RoleOfProcess::Webhooks)
        .then(|| {
            let metrics = webhooks::Metrics::register(&mut registry);
            let (database, senders) = (base.app_system.clone(), base.senders.clone());
            Webhooks::start(&config.meta, database, senders, base.publisher.clone(), metrics)
        })
        .transpose()?;
    let mut tasks = JoinSet::new();
    if has(RoleOfProcess::Planner) {
        let planner = Planner {
            database: base.app_system.clone(),
            publisher: base.publisher.clone(),
            settings: config.pipeline.clone(),
            metrics: planner::Metrics::register(&mut registry),
        };
        tasks.spawn(planner.run(stop.clone()));
    }
    tasks.spawn(beat(
        base.app_system.clone(),
        name.clone(),
        roles.clone(),
        stop.clone(),
    ));
    let context = context(&config, &base, worker.as_ref(), registry)?;
    let public = TcpListener::bind(config.http.public_address)
        .await
        .context("http.public_address")?;
    let internal = TcpListener::bind(config.http.internal_address)
        .await
        .context("http.internal_address")?;
    let addresses = Addresses {
        public: public.local_addr()?,
        internal: internal.local_addr()?,
    };
    let drain = Duration::from_secs(config.http.drain_seconds);
    let served = api::serve(
        context,
        has(RoleOfProcess::Api),
        webhooks,
        public,
        internal,
        stop.clone(),
        drain,
    );
    tasks.spawn(served);
    tracing::info!(public = %addresses.public, internal = %addresses.internal, node = name, "serving");
    started(addresses)?;
    wait_for_signal().await?;
    tracing::info!("stopping: no new work, finishing what is in flight");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    if let Some(worker) = worker {
        worker
            .stop(Duration::from_secs(config.pipeline.drain_seconds))
            .await;
    }
    tracing::info!("stopped");
    Ok(())
}

fn context(
    config: &Config,
    base: &Foundation,
    worker: Option<&Worker>,
    registry: Registry,
) -> anyhow::Result<api::Context> {
    Ok(api::Context {
        app_rw: base.app_rw.clone(),
        app_system: base.app_system.clone(),
        redis: base.redis.clone(),
        publisher: base.publisher.clone(),
        meta: base.meta.clone(),
        admin_key: Arc::new(Secret::read(&config.admin.key_file, "admin.key_file")?),
        metrics: Metrics::new(registry),
        tenants: worker.map(|worker| worker.tenants.clone()),
        known_keys: api::KnownKeys::default(),
        progress: api::campaigns::LiveProgress::start(base.app_system.clone()),
    })
}

/// The node's name: the host and the port that it serves on, so that it is the same after a restart.
fn node_name(config: &Config) -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_else(|_| "localhost".to_owned());
    format!("{}:{}", host.trim(), config.http.public_address.port())
}

async fn beat(database: Database, node: String, roles: Vec<RoleOfProcess>, stop: CancellationToken) {
    let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    while !stop.is_cancelled() {
        if let Err(error) = ownership::heartbeat(&database, &node, &roles).await {
            tracing::debug!(%error, "a heartbeat was not stored");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
    }
}

async fn wait_for_signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}
