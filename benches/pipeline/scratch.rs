//! What the bare loops stand on: a database of their own and queues of their own, on the same servers.

use anyhow::Context as _;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use malote::config::{self, Config, SecretName};
use malote::storage::{Database, Role, scratch};
use uuid::Uuid;

/// The tables: what a message and a status leave behind at the very least, with the indexes that find them.
const TABLES: &str = "CREATE SCHEMA bare;
    CREATE TABLE bare.sends (id uuid PRIMARY KEY, attempt_id uuid NOT NULL, recipient text NOT NULL,
        state text NOT NULL, wamid text, updated_at timestamptz NOT NULL DEFAULT now()) WITH (fillfactor = 80);
    CREATE TABLE bare.statuses (id uuid PRIMARY KEY, attempt_id uuid NOT NULL, status text NOT NULL, wamid text NOT NULL,
        raw json NOT NULL, applied_at timestamptz) WITH (fillfactor = 80);
    CREATE UNIQUE INDEX statuses_identity ON bare.statuses (attempt_id, status);";

/// Servers, as bare as they come.
pub(crate) struct Scratch {
    /// Rows.
    pub(crate) database: Database,
    config: Config,
    name: String,
    publishing: Connection,
    consuming: Connection,
}

impl Scratch {
    /// Makes the database and connects. The settings of this process name the servers.
    pub(crate) async fn make() -> anyhow::Result<Self> {
        let mut config =
            config::load(None, None).context("settings (is the stack up? eval \"$(dev/stack env)\")")?;
        let id = Uuid::now_v7().simple().to_string();
        let name = format!("bare_{}", &id[20..]);
        scratch::create_database(&config.database, &name).await?;
        config.database.name.clone_from(&name);
        let database = Database::connect(&config.database, Role::MigrationAdmin).await?;
        database.get().await?.run_script(TABLES).await?;
        let (publishing, consuming) = (connect(&config.broker).await?, connect(&config.broker).await?);
        Ok(Self {
            database,
            config,
            name,
            publishing,
            consuming,
        })
    }

    /// The name of a queue of ours.
    pub(crate) fn queue(&self, of: &str) -> String {
        format!("{}.{of}", self.name)
    }

    /// Declares a quorum queue and opens a channel to publish on and one to consume on.
    pub(crate) async fn open_queue(&self, queue: &str) -> anyhow::Result<(Channel, Channel)> {
        let publisher = self.publishing.create_channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions::durable();
        publisher.queue_declare(queue.into(), durable, arguments).await?;
        Ok((publisher, self.consuming.create_channel().await?))
    }

    /// Deletes a queue with all that is in it.
    pub(crate) async fn delete_queue(&self, queue: &str) -> anyhow::Result<()> {
        let channel = self.publishing.create_channel().await?;
        channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await?;
        Ok(())
    }

    /// Throws everything away.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        self.publishing.close(200, "done".into()).await?;
        self.consuming.close(200, "done".into()).await?;
        drop(self.database);
        scratch::drop_database(&self.config.database, &self.name).await
    }
}

async fn connect(settings: &config::Broker) -> anyhow::Result<Connection> {
    let password = settings.secrets.get(SecretName::RabbitMq)?;
    let uri = format!(
        "amqp://{}:{}@{}/{}",
        settings.user,
        password.expose(),
        settings.address,
        settings.virtual_host.replace('/', "%2f")
    );
    Ok(Connection::connect(&uri, ConnectionProperties::default()).await?)
}
