//! What the broker gave up on: known ids go back to work, the rest into the table of dead letters.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Consumers, REOPEN_AFTER};
use crate::broker::{Envelope, Received};
use crate::storage::broker_letters;

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
                revive(&consumers, &received).await;
                received.acknowledge().await;
            }
            intake.close().await;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(REOPEN_AFTER) => {}
        }
    }
}

/// Messages go back to `planned`; events are stored and unapplied, so the planner publishes them again; ticks come every second.
async fn revive(consumers: &Consumers, received: &Received) {
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
        Err(error) => keep(consumers, received, "delivery_limit", &error.to_string()).await,
    }
}

/// Keeps a delivery for an operator to look at.
pub(super) async fn keep(consumers: &Consumers, received: &Received, kind: &str, error: &str) {
    let kept = broker_letters::keep(
        &consumers.database,
        kind,
        received.queue(),
        received.bytes(),
        error,
    )
    .await;
    if let Err(error) = kept {
        tracing::error!(%error, kind, "a dead letter was not stored");
    }
}
