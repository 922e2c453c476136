//! From the inboxes to the tenants' actors: one task per partition, and one for what the broker gave up on.
//!
//! A partition's first delivery says that this process is its active consumer. After a round trip on that channel (a process
//! that was frozen may hold a stale first delivery) it takes the partition's next epoch and grants it to the actors.
//!
//! Every node stands in line for every partition: at once for those that should be its own, a little later for the others, so that after
//! a start or an outage each finds its place. A node that holds a partition which another should have, and sees that node in line,
//! finishes what is in flight, closes the channel and goes to the end of the line.

mod dead;
mod membership;
mod metrics;
mod outage;
mod partition;

pub use membership::Membership;
pub use metrics::Metrics;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actors::ports::Messages;
use actors::tenants::Tenants;
use domain::partition::Partition;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::Inbox;
use crate::storage::{Database, Redis};

/// The wait before a lost queue is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(300);

/// Everything that consumers need. Clones share it.
#[derive(Clone)]
pub struct Consumers {
    /// The queues.
    pub inbox: Inbox,
    /// The actors.
    pub tenants: Tenants,
    /// Gives messages back that nobody can take now.
    pub messages: Arc<dyn Messages>,
    /// Where epochs are taken.
    pub database: Database,
    /// Where an outage of Meta is told.
    pub redis: Redis,
    /// This process among its peers.
    pub membership: Membership,
    /// How partitions come and go.
    pub metrics: Metrics,
    /// How long a handover may take.
    pub drain: Duration,
}

impl Consumers {
    /// Consumes until `stop`, then hands every partition over. Returns when all are.
    ///
    /// # Errors
    /// When a part of it ended before it was told to: nothing is consumed any more, and the process should end.
    pub async fn run(self, partitions: u16, stop: CancellationToken) -> anyhow::Result<()> {
        let lost: HashMap<Partition, Arc<Notify>> = (0..partitions)
            .map(|number| (Partition(number), Arc::default()))
            .collect();
        let mut tasks = JoinSet::new();
        for (partition, lost) in &lost {
            tasks.spawn(partition::consume(
                self.clone(),
                *partition,
                Arc::clone(lost),
                stop.clone(),
            ));
        }
        tasks.spawn(dead::consume(self.clone(), stop.clone()));
        tasks.spawn(outage::tell(
            self.tenants.clone(),
            self.redis.clone(),
            stop.clone(),
        ));
        tasks.spawn(pass_on_losses(self.clone(), lost, stop.clone()));
        while let Some(ended) = tasks.join_next().await {
            if let Err(panic) = ended {
                anyhow::bail!("a consumer failed: {panic}");
            }
            anyhow::ensure!(stop.is_cancelled(), "a consumer ended by itself");
        }
        Ok(())
    }
}

/// Tells each partition's task when the actors found that a later owner has it.
async fn pass_on_losses(
    consumers: Consumers,
    lost: HashMap<Partition, Arc<Notify>>,
    stop: CancellationToken,
) {
    let mut revoked = consumers.tenants.on_revoked();
    loop {
        let partition = tokio::select! {
            () = stop.cancelled() => return,
            partition = revoked.recv() => partition,
        };
        let Some(lost) = partition.and_then(|partition| lost.get(&partition)) else {
            return;
        };
        consumers.metrics.superseded();
        lost.notify_one();
    }
}
