//! Consuming: one connection for all partitions, a channel for each.

use std::sync::Arc;
use std::time::Duration;

use domain::partition::Partition;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::Mutex;

use super::{Broker, BrokerError, Envelope, Note, Undecodable, topology};

/// How long the broker may take to answer on a channel.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Deliveries of a partition that may be unacknowledged at once.
const PREFETCH: u16 = 256;

/// The connection on which this process consumes. Clones share it.
#[derive(Clone)]
pub struct Inbox {
    broker: Broker,
    name: Arc<str>,
    connection: Arc<Mutex<Option<Arc<Connection>>>>,
}

/// The deliveries of one queue.
pub struct Intake {
    channel: Channel,
    consumer: Consumer,
    // Kept: dropping the last one closes the channel.
    _connection: Arc<Connection>,
}

/// One delivery. Dropped without [`Received::acknowledge`], it is delivered again when the channel closes.
pub struct Received {
    delivery: Delivery,
}

impl Inbox {
    /// Makes an inbox; it connects when it is first opened, and `node` is seen in the connection's name.
    pub fn new(broker: Broker, node: &str) -> Self {
        Self {
            broker,
            name: format!("malote consumers {node}").into(),
            connection: Arc::default(),
        }
    }

    /// Registers for the deliveries of a partition. They come when no other consumer is active on it.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn open(&self, partition: Partition) -> Result<Intake, BrokerError> {
        self.consume(self.broker.queue(partition)).await
    }

    /// Registers for what the broker gave up on.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn open_dead(&self) -> Result<Intake, BrokerError> {
        self.consume(self.broker.dead_queue()).await
    }

    async fn consume(&self, queue: String) -> Result<Intake, BrokerError> {
        let connection = self.connection().await?;
        match register(&connection, queue).await {
            Ok((channel, consumer)) => Ok(Intake {
                channel,
                consumer,
                _connection: connection,
            }),
            Err(error) => {
                // The queue may be gone, by the hand of an operator: it is there when the next one asks.
                topology::declare(&self.broker, &connection).await?;
                Err(error)
            }
        }
    }

    /// Connects, and makes sure that the queues exist: the broker may have come back without its disk.
    async fn connection(&self) -> Result<Arc<Connection>, BrokerError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(self.broker.connect(&self.name).await?);
        topology::declare(&self.broker, &connection).await?;
        *held = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

async fn register(connection: &Connection, queue: String) -> Result<(Channel, Consumer), BrokerError> {
    let registering = async {
        let channel = connection.create_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let consumer = channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok((channel, consumer))
    };
    tokio::time::timeout(ANSWERS_WITHIN, registering)
        .await
        .map_err(|_| BrokerError(format!("no consumer within {ANSWERS_WITHIN:?}")))?
}

impl Intake {
    /// Waits for the next delivery; none when the channel is closed.
    pub async fn next(&mut self) -> Option<Received> {
        match self.consumer.next().await? {
            Ok(delivery) => Some(Received { delivery }),
            Err(error) => {
                tracing::warn!(%error, "a consumer ended");
                None
            }
        }
    }

    /// Goes to the broker and back on this channel: proves that what was delivered on it is not stale.
    ///
    /// # Errors
    /// When the channel is dead.
    pub async fn round_trip(&self) -> Result<(), BrokerError> {
        let answered = self.channel.basic_qos(PREFETCH, BasicQosOptions::default());
        Ok(tokio::time::timeout(ANSWERS_WITHIN, answered)
            .await
            .map_err(|_| BrokerError(format!("no answer within {ANSWERS_WITHIN:?}")))??)
    }

    /// Closes the channel: what was not acknowledged is delivered again, to whoever is active then.
    pub async fn close(self) {
        let closed = self.channel.close(200, "handing over".into());
        match tokio::time::timeout(ANSWERS_WITHIN, closed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the channel was closed already"),
            Err(_) => tracing::debug!("the broker does not answer; its heartbeat will end the channel"),
        }
    }
}

impl Received {
    /// Reads the envelope.
    ///
    /// # Errors
    /// When it is none.
    pub fn envelope(&self) -> Result<Envelope, Undecodable> {
        Envelope::from_bytes(&self.delivery.data)
    }

    /// Reads what it says beside.
    pub fn note(&self) -> Note {
        Note::read(self.delivery.properties.headers().as_ref())
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.delivery.data
    }

    /// The queue's routing key under which it was published.
    pub fn queue(&self) -> &str {
        self.delivery.routing_key.as_str()
    }

    /// Tells the broker that its effect is durable. A lost acknowledgement only brings it again.
    pub async fn acknowledge(self) {
        match self.delivery.ack(BasicAckOptions::default()).await {
            Ok(true) => {}
            Ok(false) => tracing::debug!("an acknowledgement came after its channel had closed"),
            Err(error) => tracing::debug!(%error, "an acknowledgement was lost"),
        }
    }
}
