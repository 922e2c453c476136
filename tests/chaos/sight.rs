//! Looking into the database from outside, with SQL of our own and none of the product's code.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use malote::config::{Config, Secret};
use malote::trial::eventually;
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};
use uuid::Uuid;

/// How long a look may take while the database is being broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A reader of the database that outlives its connections.
pub(crate) struct Sight {
    options: tokio_postgres::Config,
    client: Mutex<Option<Client>>,
}

/// A message that is being sent.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    /// Its recipient, without `+`.
    pub(crate) recipient: String,
}

impl Sight {
    /// Reads as the auditors' role does.
    pub(crate) fn of(config: &Config) -> anyhow::Result<Self> {
        let database = &config.database;
        let password = Secret::read(&database.audit_password_file, "database.audit_password_file")?;
        let mut options = tokio_postgres::Config::new();
        options
            .host(&database.host)
            .port(database.port)
            .dbname(&database.name)
            .user("readonly_audit")
            .password(password.expose())
            .connect_timeout(Duration::from_secs(2));
        Ok(Self {
            options,
            client: Mutex::default(),
        })
    }

    /// Reads rows, for as long as the database may be away.
    pub(crate) async fn rows(&self, query: &str, with: &[&(dyn ToSql + Sync)]) -> anyhow::Result<Vec<Row>> {
        eventually(query, PATIENCE, || async {
            Ok(Some(self.try_rows(query, with).await?))
        })
        .await
    }

    async fn try_rows(&self, query: &str, with: &[&(dyn ToSql + Sync)]) -> anyhow::Result<Vec<Row>> {
        let mut held = self.client.lock().await;
        let client = match held.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connect().await?,
        };
        let rows = client.query(query, with).await?;
        *held = Some(client);
        Ok(rows)
    }

    /// Lets go of the database, so that it may be thrown away.
    pub(crate) async fn close(&self) {
        drop(self.client.lock().await.take());
    }

    async fn connect(&self) -> anyhow::Result<Client> {
        let (client, connection) = self.options.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Reads one number.
    pub(crate) async fn number(&self, query: &str) -> anyhow::Result<i64> {
        let rows = self.rows(query, &[]).await?;
        Ok(rows.first().context("no row")?.try_get(0)?)
    }

    /// The messages that are `sending` now, of one tenant or of all.
    pub(crate) async fn in_flight(&self, tenant: Option<Uuid>) -> anyhow::Result<Vec<Flight>> {
        let rows = self
            .rows(
                "SELECT recipient FROM messages WHERE state = 'sending' AND ($1::uuid IS NULL OR tenant_id = $1)",
                &[&tenant],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Flight {
                    recipient: row.try_get::<_, String>(0)?.trim_start_matches('+').to_owned(),
                })
            })
            .collect()
    }

    /// How many messages each tenant has still to send.
    pub(crate) async fn left(&self) -> anyhow::Result<HashMap<Uuid, i64>> {
        let rows = self
            .rows(
                "SELECT m.tenant_id, count(*) FROM messages m JOIN campaigns c ON c.id = m.campaign_id AND c.tenant_id = m.tenant_id
                 WHERE c.state = 'running' AND m.state IN ('planned', 'queued', 'sending') GROUP BY m.tenant_id",
                &[],
            )
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    /// The node that owns each partition.
    pub(crate) async fn owners(&self) -> anyhow::Result<HashMap<i16, String>> {
        let rows = self
            .rows(
                "SELECT partition, node FROM partition_owner WHERE node IS NOT NULL",
                &[],
            )
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }
}
