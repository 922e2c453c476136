//! What every role stands on: the servers, waited for at the start, and the ways to them.

use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;

use crate::broker::{Broker, Publisher};
use crate::config::{Config, SecretMetrics, SecretName, SecretSettings, Watch};
use crate::meta;
use crate::storage::pools::Pools;
use crate::storage::sender_directory::SenderDirectory;
use crate::storage::{Database, Redis, Role, StorageError, schema};

/// The wait before a server that is not up yet is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The secrets without which no role can start.
const PASSWORDS: [SecretName; 4] = [
    SecretName::AppRw,
    SecretName::AppSystem,
    SecretName::Redis,
    SecretName::RabbitMq,
];

/// The parts that every role needs.
pub(crate) struct Foundation {
    pub(crate) app_rw: Database,
    pub(crate) app_system: Database,
    pub(crate) redis: Redis,
    pub(crate) broker: Broker,
    pub(crate) publisher: Publisher,
    pub(crate) senders: SenderDirectory,
    pub(crate) meta: meta::Client,
    pub(crate) lease: meta::Lease,
}

impl Foundation {
    /// Watches the secrets in use; new passwords are tried at their servers before they are taken.
    pub(crate) fn watch(&self, settings: &SecretSettings, registry: &mut Registry) -> Watch {
        let metrics = SecretMetrics::register(registry);
        Watch::new(settings.held.clone(), settings.poll(), metrics)
            .with_probe(SecretName::AppRw, self.app_rw.probe())
            .with_probe(SecretName::AppSystem, self.app_system.probe())
            .with_probe(SecretName::Redis, self.redis.probe())
            .with_probe(SecretName::RabbitMq, self.broker.probe())
    }

    /// Shows the pools of connections.
    pub(crate) fn show_pools(&self, registry: &mut Registry) {
        let pools = Pools::new([
            self.app_rw.watched("app_rw"),
            self.app_system.watched("app_system"),
            self.redis.watched("redis"),
        ]);
        registry.register_collector(Box::new(pools));
    }

    /// Connects to the servers, waiting for those that are not up yet, and checks what it finds.
    pub(crate) async fn lay(config: &Config) -> anyhow::Result<Self> {
        // First: what cannot be read now will not come up by waiting for servers.
        for name in PASSWORDS {
            config.secrets.held.get(name)?;
        }
        let within = Duration::from_secs(config.node.wait_for_servers_seconds);
        let database = &config.database;
        let connect = |role| when_it_is_up("PostgreSQL", within, move || Database::connect(database, role));
        let app_rw = connect(Role::AppRw).await.context("PostgreSQL as app_rw")?;
        let app_system = connect(Role::AppSystem)
            .await
            .context("PostgreSQL as app_system")?;
        schema::check(&app_rw).await?;
        schema::check(&app_system).await?;
        schema::check_partitions(&app_system, config.pipeline.partitions).await?;
        let redis = Redis::connect(&config.redis).await.context("Redis")?;
        let broker = Broker::new(&config.broker, config.pipeline.partitions)?;
        when_it_is_up("RabbitMQ", within, || async { Ok(broker.prepare().await?) })
            .await
            .context("RabbitMQ")?;
        let senders = SenderDirectory::new(app_system.clone());
        let lease = meta::Lease::begin();
        let licence = meta::Licence {
            lease: lease.clone(),
            claim_deadline: Duration::from_millis(config.pipeline.claim_deadline_ms),
        };
        Ok(Self {
            publisher: Publisher::start(broker.clone()),
            meta: meta::Client::new(&config.meta, senders.clone(), licence),
            lease,
            app_rw,
            app_system,
            redis,
            broker,
            senders,
        })
    }
}

/// Asks again and again for as long as the reason is one that passes; a wrong password or name does not.
async fn when_it_is_up<T, F>(
    server: &str,
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let end = tokio::time::Instant::now() + within;
    let mut told = false;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let broken = matches!(error.downcast_ref(), Some(StorageError::Broken(_)));
        if broken || tokio::time::Instant::now() >= end {
            return Err(error);
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(%error, ?within, "waiting for {server}");
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}
