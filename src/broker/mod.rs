//! RabbitMQ: the only room that knows it. It wakes the right tenant quickly and decides who owns it; it holds no truth.
//!
//! `inbox.NN` are durable quorum queues with a single active consumer; what they give up on goes to `inbox.dead`.
//! Publishing and consuming use connections of their own, so that backpressure on one never blocks the other.

mod again;
mod envelope;
mod inbox;
mod note;
mod publisher;
mod topology;

pub use envelope::{EVENTS_MOST, Envelope, SENDS_MOST, Undecodable};
pub use inbox::{Inbox, Intake, Received};
pub use note::Note;
pub use publisher::Publisher;

use std::sync::Arc;
use std::time::Duration;

use domain::ids::TenantId;
use domain::partition::Partition;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPUri, AMQPUserInfo};
use lapin::{Connection, ConnectionProperties};

use crate::config::{self, Probe, Secret, SecretName, Secrets};

/// Seconds without a sign of life after which either side gives a connection up.
pub const HEARTBEAT_SECONDS: u16 = 5;
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

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
    secrets: Secrets,
    user: String,
    virtual_host: String,
}

impl Broker {
    /// Reads the settings.
    ///
    /// # Errors
    /// When the password cannot be read.
    pub fn new(settings: &config::Broker, partitions: u16) -> Result<Self, config::ConfigError> {
        settings.secrets.get(SecretName::RabbitMq)?;
        Ok(Self {
            address: settings.address.clone(),
            prefix: settings.prefix.clone(),
            partitions,
            secrets: settings.secrets.clone(),
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

    /// Connects with the password that worked last, or with the one that is to replace it.
    async fn connect(&self, name: &str) -> Result<Connection, BrokerError> {
        let mut refused = BrokerError("there is no password".to_owned());
        let passwords = self.secrets.to_try(SecretName::RabbitMq);
        for password in passwords.map_err(|error| BrokerError(error.to_string()))? {
            match self.connect_with(name, &password).await {
                Ok(connection) => {
                    self.secrets.worked(SecretName::RabbitMq, &password);
                    return Ok(connection);
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    async fn connect_with(&self, name: &str, password: &Secret) -> Result<Connection, BrokerError> {
        let (host, port) = self
            .address
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .ok_or_else(|| BrokerError(format!("broker.address {:?} is no host:port", self.address)))?;
        let uri = AMQPUri {
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: self.user.clone(),
                    password: password.expose().to_owned(),
                },
                host: host.to_owned(),
                port,
            },
            vhost: self.virtual_host.clone(),
            query: AMQPQueryString {
                heartbeat: Some(HEARTBEAT_SECONDS),
                ..AMQPQueryString::default()
            },
            ..AMQPUri::default()
        };
        let named = ConnectionProperties::default().with_connection_name(name.into());
        let connecting = Connection::connect_uri(uri, named);
        match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
            Ok(connection) => Ok(connection?),
            Err(_) => Err(BrokerError(format!("no connection within {CONNECT_WITHIN:?}"))),
        }
    }

    /// Tries a password at the broker.
    pub fn probe(&self) -> Probe {
        let broker = self.clone();
        Arc::new(move |password| {
            let broker = broker.clone();
            Box::pin(async move {
                let opened = broker.connect_with("malote probe", &password).await;
                let opened = opened.map_err(|error| error.to_string())?;
                opened
                    .close(200, "done".into())
                    .await
                    .map_err(|error| error.to_string())
            })
        })
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
