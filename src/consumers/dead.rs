//! What the broker gave up on: known ids go back to work, the rest into the table of dead letters.

use domain::dead_letter::LetterKind;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Consumers, REOPEN_AFTER};
use crate::broker::{Envelope, Received};
use crate::storage::dead_letters;

/// Consumes `inbox.dead` until `stop`.
pub(super) async fn consume(consumers: Consumers, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Ok(mut intake) = consumers.inbox.open_dead().await {
            loop {
                let received = tokio::select! {
                    () = stop.cancelled() => break,
                    received = intake.next() => received,
                };
                let Some(received) = received else { break };
                if !revive(&consumers, &received).await {
                    break;
                }
                received.acknowledge().await;
            }
            intake.close().await;
        }
        stop.run_until_cancelled(tokio::time::sleep(REOPEN_AFTER)).await;
    }
}

/// Messages go back to `planned`; events are stored and unapplied, so the planner publishes them again; ticks come every second.
/// Tells whether the delivery may be forgotten.
async fn revive(consumers: &Consumers, received: &Received) -> bool {
    match received.envelope() {
        Ok(Envelope::Send { tenant, messages, .. }) => {
            if let Err(error) = consumers
                .messages
                .give_back(tenant, messages, Timestamp::now())
                .await
            {
                tracing::warn!(%tenant, %error, "messages were not given back; the planner will");
            }
        }
        Ok(Envelope::Events { .. } | Envelope::Tick) => {}
        Err(error) => {
            return keep(consumers, received, LetterKind::DeliveryLimit, &error.to_string()).await;
        }
    }
    true
}

/// Keeps a delivery for an operator to look at. Tells whether it is stored; if not, it must not be acknowledged, and the broker
/// brings it again.
pub(super) async fn keep(consumers: &Consumers, received: &Received, kind: LetterKind, error: &str) -> bool {
    let (queue, bytes) = (received.queue(), received.bytes());
    let kept = dead_letters::keep(&consumers.database, kind, queue, bytes, error).await;
    if let Err(error) = &kept {
        tracing::error!(%error, kind = kind.as_str(), "a dead letter was not stored; the broker keeps it");
    }
    kept.is_ok()
}
