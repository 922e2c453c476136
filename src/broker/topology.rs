//! The exchanges and queues, declared at each start: declaring what exists changes nothing.

use domain::partition::Partition;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ExchangeKind};

use super::{Broker, BrokerError};

/// Deliveries of one message before the broker gives it up. Closing a channel counts, so it is far above what handovers need.
const DELIVERY_LIMIT: i32 = 50;

impl Broker {
    /// The exchange to publish to; the routing key is the queue's name.
    pub(super) fn exchange(&self) -> String {
        format!("{}inbox", self.prefix)
    }

    /// The queue of a partition.
    pub(super) fn queue(&self, partition: Partition) -> String {
        format!("{}inbox.{:02}", self.prefix, partition.0)
    }

    /// The queue of what was given up; its exchange has the same name.
    pub(super) fn dead_queue(&self) -> String {
        format!("{}inbox.dead", self.prefix)
    }
}

/// Declares everything.
pub(super) async fn declare(broker: &Broker, connection: &Connection) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    let durable_exchange = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    for (name, kind) in [
        (broker.exchange(), ExchangeKind::Direct),
        (broker.dead_queue(), ExchangeKind::Fanout),
    ] {
        channel
            .exchange_declare(name.into(), kind, durable_exchange, FieldTable::default())
            .await?;
    }
    channel
        .queue_declare(
            broker.dead_queue().into(),
            QueueDeclareOptions::durable(),
            quorum(),
        )
        .await?;
    let none = FieldTable::default;
    let bind = QueueBindOptions::default();
    let dead = broker.dead_queue();
    channel
        .queue_bind(dead.clone().into(), dead.into(), "".into(), bind, none())
        .await?;
    for number in 0..broker.partitions() {
        let queue = broker.queue(Partition(number));
        let mut arguments = quorum();
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
        arguments.insert(
            "x-dead-letter-exchange".into(),
            AMQPValue::LongString(broker.dead_queue().into()),
        );
        channel
            .queue_declare(queue.clone().into(), QueueDeclareOptions::durable(), arguments)
            .await?;
        channel
            .queue_bind(
                queue.clone().into(),
                broker.exchange().into(),
                queue.into(),
                bind,
                none(),
            )
            .await?;
    }
    channel.close(200, "done".into()).await?;
    Ok(())
}

/// Deletes everything that [`declare`] declares.
pub(super) async fn delete(broker: &Broker, connection: &Connection) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    let inboxes = (0..broker.partitions()).map(|number| broker.queue(Partition(number)));
    for queue in inboxes.chain([broker.dead_queue()]) {
        channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await?;
    }
    for exchange in [broker.exchange(), broker.dead_queue()] {
        channel
            .exchange_delete(exchange.into(), ExchangeDeleteOptions::default())
            .await?;
    }
    channel.close(200, "done".into()).await?;
    Ok(())
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}
