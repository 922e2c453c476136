//! Deliveries that were set aside and go back to their queue, as they were.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation};

use super::{Broker, BrokerError};

/// How long the broker may take to confirm all of them.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);
/// AMQP's mark of a message that survives the broker's restart.
const PERSISTENT: u8 = 2;

impl Broker {
    /// Publishes deliveries to the queues that they came from, byte by byte, and waits until the broker has them.
    ///
    /// # Errors
    /// When one was not confirmed, or its queue does not exist any more. The others may be there all the same.
    pub async fn deliver_again(&self, deliveries: Vec<(&str, &[u8])>) -> Result<(), BrokerError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let connection = self.connect("malote dead letters").await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let mut confirms = Vec::with_capacity(deliveries.len());
        for (queue, bytes) in deliveries {
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let publishing =
                channel.basic_publish(self.exchange().into(), queue.into(), mandatory, bytes, properties);
            confirms.push(publishing.await?);
        }
        let confirmed = futures_util::future::try_join_all(confirms);
        let answers = tokio::time::timeout(CONFIRM_WITHIN, confirmed)
            .await
            .map_err(|_| BrokerError(format!("no confirm within {CONFIRM_WITHIN:?}")))??;
        connection.close(200, "done".into()).await?;
        let is_taken = |answer: &Confirmation| matches!(answer, Confirmation::Ack(None));
        if answers.iter().all(is_taken) {
            Ok(())
        } else {
            Err(BrokerError(
                "a delivery's queue does not exist any more: purge its letter".to_owned(),
            ))
        }
    }
}
