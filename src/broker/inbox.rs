//! Consuming: one connection for all partitions, a channel for each.

use std::sync::Arc;

use domain::partition::Partition;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::Mutex;

use super::{Broker, BrokerError, Envelope, Undecodable};

/// Deliveries of a partition that may be unacknowledged at once.
const PREFETCH: u16 = 256;

/// The connection on which this process consumes. Clones share it.
#[derive(Clone)]
pub struct Inbox {
    broker: Broker,
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
    /// Makes an inbox; it connects when it is first opened.
    pub fn new(broker: Broker) -> Self {
        Self {
            broker,
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
        Ok(Intake {
            channel,
            consumer,
            _connection: connection,
        })
    }

    async fn connection(&self) -> Result<Arc<Connection>, BrokerError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(self.broker.connect("malote consumers").await?);
        *held = Some(Arc::clone(&connection));
        Ok(connection)
    }
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
        Ok(self
            .channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?)
    }

    /// Closes the channel: what was not acknowledged is delivered again, to whoever is active then.
    pub async fn close(self) {
        if let Err(error) = self.channel.close(200, "handing over".into()).await {
            tracing::debug!(%error, "the channel was closed already");
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
