//! A quorum queue of the bare loops: confirmed publishes, 50 ids a delivery, acknowledged by the batch.

use domain::ids::{EventId, MessageId, SenderId, TenantId};
use domain::message::Lane;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer};
use malote::broker::Envelope;
use uuid::Uuid;

use crate::rows::BATCH;
use crate::scratch::Scratch;

/// Ids in one delivery.
const IDS: usize = 50;
/// Deliveries that may be unacknowledged at once.
const PREFETCH: u16 = 256;
/// Deliveries of which the confirms are awaited together.
const ROUND: usize = 64;
/// AMQP's mark of a message that survives the broker's restart.
const PERSISTENT: u8 = 2;

/// The end that publishes.
pub(crate) struct Publisher {
    channel: Channel,
    queue: String,
    tenant: TenantId,
    sender: SenderId,
}

/// The end that consumes.
pub(crate) struct Intake(Consumer);

/// Opens both ends of a queue.
pub(crate) async fn open(scratch: &Scratch, of: &str) -> anyhow::Result<(Publisher, Intake)> {
    let queue = scratch.queue(of);
    let (publishing, consuming) = scratch.open_queue(&queue).await?;
    publishing.confirm_select(ConfirmSelectOptions::default()).await?;
    consuming.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let consumer = consuming
        .basic_consume(
            queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let publisher = Publisher {
        channel: publishing,
        queue,
        tenant: TenantId(Uuid::now_v7()),
        sender: SenderId(Uuid::now_v7()),
    };
    Ok((publisher, Intake(consumer)))
}

impl Publisher {
    /// Publishes the ids of messages and waits for the confirms, round by round.
    pub(crate) async fn publish_messages(&self, ids: &[Uuid]) -> anyhow::Result<()> {
        self.publish(ids, |ids| Envelope::Send {
            tenant: self.tenant,
            sender: self.sender,
            lane: Lane::Bulk,
            campaign: None,
            messages: ids.iter().copied().map(MessageId).collect(),
        })
        .await
    }

    /// Publishes the ids of statuses and waits for the confirms, round by round.
    pub(crate) async fn publish_statuses(&self, ids: &[Uuid]) -> anyhow::Result<()> {
        self.publish(ids, |ids| Envelope::Events {
            tenant: self.tenant,
            events: ids.iter().copied().map(EventId).collect(),
        })
        .await
    }

    async fn publish(&self, ids: &[Uuid], envelope: impl Fn(&[Uuid]) -> Envelope) -> anyhow::Result<()> {
        let deliveries: Vec<Vec<u8>> = ids.chunks(IDS).map(|ids| envelope(ids).to_bytes()).collect();
        for round in deliveries.chunks(ROUND) {
            let mut confirms = Vec::with_capacity(round.len());
            for bytes in round {
                let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
                let options = BasicPublishOptions::default();
                let queue = self.queue.as_str().into();
                let published = self
                    .channel
                    .basic_publish("".into(), queue, options, bytes, properties);
                confirms.push(published.await?);
            }
            let confirmed = futures_util::future::try_join_all(confirms).await?;
            let all = confirmed.iter().all(lapin::Confirmation::is_ack);
            anyhow::ensure!(all, "the broker refused a message");
        }
        Ok(())
    }
}

impl Intake {
    /// Waits for the ids of up to a batch of rows, out of `left` that are still to come, with what acknowledges them.
    pub(crate) async fn batch(&mut self, left: usize) -> anyhow::Result<(Vec<Uuid>, Option<Delivery>)> {
        let (mut ids, mut last) = (Vec::with_capacity(BATCH), None);
        while ids.len() < left.min(BATCH) {
            let Some(delivery) = self.0.next().await.transpose()? else {
                anyhow::bail!("the consumer was cancelled");
            };
            match Envelope::from_bytes(&delivery.data)? {
                Envelope::Send { messages, .. } => ids.extend(messages.iter().map(|id| id.0)),
                Envelope::Events { events, .. } => ids.extend(events.iter().map(|id| id.0)),
                Envelope::Tick => {}
            }
            last = Some(delivery);
        }
        Ok((ids, last))
    }
}

/// Acknowledges a delivery and all before it.
pub(crate) async fn acknowledge(delivery: Option<Delivery>) -> anyhow::Result<()> {
    if let Some(delivery) = delivery {
        delivery.ack(BasicAckOptions { multiple: true }).await?;
    }
    Ok(())
}
