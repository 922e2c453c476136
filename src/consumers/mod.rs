//! From the inboxes to the tenants' actors: one task per partition, and one for what the broker gave up on.
//!
//! A partition's first delivery says that this process is its active consumer. After a round trip on that channel (a process
//! that was frozen may hold a stale first delivery) it takes the partition's next epoch and grants it to the actors.

mod dead;
mod partition;

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
use crate::storage::Database;

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
    /// This process's name, stable per host.
    pub node: Arc<str>,
    /// How long a handover may take.
    pub drain: Duration,
}

impl Consumers {
    /// Consumes until `stop`, then hands every partition over. Returns when all are.
    pub async fn run(self, partitions: u16, stop: CancellationToken) {
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
        let mut revoked = self.tenants.on_revoked();
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    partition = revoked.recv() => match partition.and_then(|partition| lost.get(&partition)) {
                        Some(lost) => lost.notify_one(),
                        None => return,
                    },
                }
            }
        });
        while tasks.join_next().await.is_some() {}
    }
}
