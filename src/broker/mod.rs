//! RabbitMQ: the only room that knows it. It wakes the right tenant quickly and decides who owns it; it holds no truth.
//!
//! `inbox.NN` are durable quorum queues with a single active consumer; what they give up on goes to `inbox.dead`.
//! Publishing and consuming use connections of their own, so that backpressure on one never blocks the other.

mod again;
mod envelope;
mod inbox;
mod publisher;
mod topology;

pub use envelope::{EVENTS_MOST, Envelope, SENDS_MOST, Undecodable};
pub use inbox::{Inbox, Intake, Received};
pub use publisher::Publisher;

use domain::ids::TenantId;
use domain::partition::Partition;
use lapin::{Connection, ConnectionProperties};

use crate::config::{self, Secret};

/// Seconds without a sign of life after which either side gives a connection up.
pub const HEARTBEAT_SECONDS: u16 = 5;

/// The broker did not do what it was asked; the rows in the database are unharmed, so trying again later is enough.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the broker is unavailable: {0}")]
pub struct BrokerError(pub String);

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        Self(error.to_string())
    }
}

/// Where the broker is, and how its queues are named.
#[derive(Clone, Debug)]
pub struct Broker {
    address: String,
    prefix: String,
    partitions: u16,
    password: Secret,
    user: String,
    virtual_host: String,
}

impl Broker {
    /// Reads the settings.
    ///
    /// # Errors
    /// When the password cannot be read.
    pub fn new(settings: &config::Broker, partitions: u16) -> Result<Self, config::ConfigError> {
        Ok(Self {
            address: settings.address.clone(),
            prefix: settings.prefix.clone(),
            partitions,
            password: Secret::read(&settings.password_file, "broker.password_file")?,
            user: settings.user.clone(),
            virtual_host: settings.virtual_host.clone(),
        })
    }

    /// The number of inbox queues.
    pub const fn partitions(&self) -> u16 {
        self.partitions
    }

    /// The partition of a tenant.
    pub fn partition_of(&self, tenant: TenantId) -> Partition {
        Partition::of(tenant, self.partitions)
    }

    async fn connect(&self, name: &str) -> Result<Connection, BrokerError> {
        let virtual_host = self.virtual_host.replace('/', "%2f");
        let uri = format!(
            "amqp://{}:{}@{}/{virtual_host}?heartbeat={HEARTBEAT_SECONDS}",
            self.user,
            self.password.expose(),
            self.address
        );
        let named = ConnectionProperties::default().with_connection_name(name.into());
        let connecting = Connection::connect(&uri, named);
        match tokio::time::timeout(std::time::Duration::from_secs(10), connecting).await {
            Ok(connection) => Ok(connection?),
            Err(_) => Err(BrokerError("no connection within 10 s".to_owned())),
        }
    }

    /// Asks whether the broker lets us in.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn reach(&self) -> Result<(), BrokerError> {
        let connection = self.connect("malote probe").await?;
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    /// Asks whether the broker lets us in, and makes sure that its queues exist.
    ///
    /// # Errors
    /// When it does not answer, or its queues differ from ours.
    pub async fn prepare(&self) -> Result<(), BrokerError> {
        let connection = self.connect("malote topology").await?;
        topology::declare(self, &connection).await?;
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    /// Deletes the installation's queues and exchanges: for installations that are thrown away.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn discard(&self) -> Result<(), BrokerError> {
        let connection = self.connect("malote topology").await?;
        topology::delete(self, &connection).await?;
        connection.close(200, "done".into()).await?;
        Ok(())
    }
}
