//! One partition: become its owner, hand its deliveries to the actors, acknowledge what is durable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use actors::tenants::Work;
use domain::ids::{MessageId, TenantId};
use domain::partition::{Epoch, Partition};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Consumers, REOPEN_AFTER};
use crate::broker::{Envelope, Intake, Received};
use crate::storage::ownership;

/// Deliveries of one tenant that may be unacknowledged at once: a quarter of the prefetch.
const OF_ONE_TENANT: usize = 64;
/// How much later a message is due that found its tenant's quarter full.
const CROWDED_FOR: SignedDuration = SignedDuration::from_secs(1);

/// How many deliveries of each tenant are at work.
type AtWork = Arc<Mutex<HashMap<TenantId, usize>>>;

/// Consumes a partition until `stop`; opens it again whenever it is lost.
pub(super) async fn consume(
    consumers: Consumers,
    partition: Partition,
    lost: Arc<Notify>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let opened = consumers.inbox.open(partition).await;
        match opened {
            Ok(intake) => hold(&consumers, partition, intake, &lost, &stop).await,
            Err(error) => tracing::warn!(partition = partition.0, %error, "the inbox does not open"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(REOPEN_AFTER) => {}
        }
    }
}

async fn hold(
    consumers: &Consumers,
    partition: Partition,
    mut intake: Intake,
    lost: &Notify,
    stop: &CancellationToken,
) {
    let mut epoch: Option<Epoch> = None;
    let at_work = AtWork::default();
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            () = lost.notified() => break,
            received = intake.next() => received,
        };
        let Some(received) = received else { break };
        if epoch.is_none() {
            match become_owner(consumers, partition, &intake).await {
                Ok(taken) => epoch = Some(taken),
                Err(error) => {
                    tracing::warn!(partition = partition.0, %error, "the partition was not claimed");
                    break;
                }
            }
        }
        tokio::spawn(handle(consumers.clone(), partition, received, at_work.clone()));
    }
    if epoch.is_some() {
        consumers.tenants.revoke(partition, consumers.drain).await;
    }
    intake.close().await;
}

async fn become_owner(consumers: &Consumers, partition: Partition, intake: &Intake) -> anyhow::Result<Epoch> {
    intake.round_trip().await?;
    let epoch = ownership::claim(&consumers.database, partition, &consumers.node).await?;
    consumers.tenants.grant(partition, epoch);
    tracing::debug!(partition = partition.0, epoch = epoch.0, "owns the partition");
    Ok(epoch)
}

async fn handle(consumers: Consumers, partition: Partition, received: Received, at_work: AtWork) {
    let (tenant, work) = match received.envelope() {
        Ok(Envelope::Send {
            tenant,
            sender,
            lane,
            messages,
        }) => (
            tenant,
            Work::Send {
                sender,
                lane,
                messages,
            },
        ),
        Ok(Envelope::Events { tenant, events }) => (tenant, Work::Events(events)),
        Ok(Envelope::Tick) => {
            consumers.tenants.tick(partition).await;
            return received.acknowledge().await;
        }
        Err(error) => {
            super::dead::keep(&consumers, &received, "undecodable", &error.to_string()).await;
            return received.acknowledge().await;
        }
    };
    let Some(_place) = Place::take(&at_work, tenant) else {
        if let Work::Send { messages, .. } = work {
            give_back(&consumers, tenant, messages).await;
        }
        return received.acknowledge().await;
    };
    match consumers.tenants.deliver(partition, tenant, work).await {
        Ok(()) => received.acknowledge().await,
        Err(error) => tracing::debug!(%tenant, %error, "a delivery is left to the partition's next owner"),
    }
}

/// The rows stay; what is not given back here is given back by the planner.
async fn give_back(consumers: &Consumers, tenant: TenantId, messages: Vec<MessageId>) {
    let due_at = Timestamp::now() + CROWDED_FOR;
    if let Err(error) = consumers.messages.give_back(tenant, messages, due_at).await {
        tracing::debug!(%tenant, %error, "messages were not given back; the planner will");
    }
}

/// A tenant's place among those at work, freed when dropped.
struct Place {
    at_work: AtWork,
    tenant: TenantId,
}

impl Place {
    fn take(at_work: &AtWork, tenant: TenantId) -> Option<Self> {
        let mut counts = at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(tenant).or_default();
        if *count >= OF_ONE_TENANT {
            return None;
        }
        *count += 1;
        Some(Self {
            at_work: Arc::clone(at_work),
            tenant,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.tenant);
            }
        }
    }
}
