//! This node among its peers: it says every second that it is alive, hears who else is and which partitions others have taken, and from
//! that knows which partitions it should have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors::tenants::Tenants;
use domain::partition::Partition;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Metrics;
use crate::meta::Lease;
use crate::storage::ownership::{self, Heard, Heartbeat};
use crate::storage::{Database, StorageError};

/// The time between two heartbeats of a node.
const BEAT: Duration = Duration::from_secs(1);
/// What a worker is called among the roles of a process.
const WORKER: &str = "worker";

/// The workers that are alive, and the partitions that each stands in line for.
type Peers = BTreeMap<String, BTreeSet<Partition>>;

/// A node among its peers. Clones share it.
#[derive(Clone)]
pub struct Membership(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    instance: Uuid,
    roles: Vec<&'static str>,
    /// A pool of its own: a crowded one must not cost the lease.
    database: Database,
    lease: Lease,
    metrics: Metrics,
    registered: Mutex<BTreeSet<Partition>>,
    leaving: CancellationToken,
    peers: watch::Sender<Peers>,
}

impl Membership {
    /// Makes a node of this name, which nobody knows of yet.
    pub fn new(
        name: Arc<str>,
        roles: Vec<&'static str>,
        database: Database,
        lease: Lease,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Inner {
            name,
            instance: Uuid::now_v7(),
            roles,
            database,
            lease,
            metrics,
            registered: Mutex::default(),
            leaving: CancellationToken::new(),
            peers: watch::Sender::new(Peers::new()),
        }))
    }

    /// This node's name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// Says for the first time that this node is there.
    ///
    /// # Errors
    /// What the database says.
    pub async fn join(&self) -> Result<(), StorageError> {
        self.beat(None, true).await
    }

    /// Says every second that this node is alive, until `stop`; then says that it is gone.
    pub async fn run(self, tenants: Option<Tenants>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.beat(tenants.as_ref(), false).await {
                tracing::warn!(%error, "a heartbeat was not stored");
            }
            stop.run_until_cancelled(tokio::time::sleep(BEAT)).await;
        }
        let Inner {
            database, instance, ..
        } = &*self.0;
        if let Err(error) = ownership::leave(database, &self.0.name, *instance).await {
            tracing::debug!(%error, "the others will find out that this node is gone");
        }
    }

    /// From now on no partition prefers this node: it hands over what it has.
    pub fn leave(&self) {
        self.0.leaving.cancel();
    }

    async fn beat(&self, tenants: Option<&Tenants>, is_first: bool) -> Result<(), StorageError> {
        let inner = &*self.0;
        let said_at = Instant::now();
        let mut roles = inner.roles.clone();
        if inner.leaving.is_cancelled() {
            roles.retain(|role| *role != WORKER);
        }
        let heartbeat = Heartbeat {
            node: &inner.name,
            instance: inner.instance,
            roles: &roles,
            registered: self.registered().iter().copied().collect(),
        };
        let heard = ownership::beat(&inner.database, &heartbeat).await?;
        if heard.name_is_taken && !is_first {
            tracing::error!(
                node = &*inner.name,
                "another process has this node's name: give each its own node.name"
            );
        }
        self.follow(heard, tenants, said_at);
        Ok(())
    }

    /// First lets go what others have, then renews the lease: a node that was frozen sends nothing in between.
    fn follow(&self, heard: Heard, tenants: Option<&Tenants>, said_at: Instant) {
        for (partition, epoch) in heard.of_others {
            tenants.into_iter().for_each(|tenants| {
                tenants.superseded(partition, epoch);
            });
        }
        if let Some(silent) = self.0.lease.renew(said_at, Instant::now()) {
            self.0.metrics.lapsed();
            tracing::warn!(
                ?silent,
                "this node had not been heard of: what it had claimed is not sent"
            );
        }
        let peers = heard
            .workers
            .into_iter()
            .map(|(node, registered)| (node, registered.into_iter().collect()))
            .collect();
        self.0.peers.send_replace(peers);
    }

    fn registered(&self) -> std::sync::MutexGuard<'_, BTreeSet<Partition>> {
        self.0.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This node stands in line for a partition from now on, until what this gives is dropped.
    pub(super) fn stand_in_line(&self, partition: Partition) -> InLine {
        self.registered().insert(partition);
        InLine {
            membership: self.clone(),
            partition,
        }
    }

    /// Tells whether this node should own the partition, as far as it knows its peers.
    pub(super) fn is_preferred(&self, partition: Partition) -> bool {
        let peers = self.0.peers.borrow();
        let preferred = partition.preferred(peers.keys().map(String::as_str));
        preferred.is_none_or(|node| node == &*self.0.name)
    }

    /// Tells whether another node should own the partition and stands in line for it.
    pub(super) fn has_heir(&self, partition: Partition) -> bool {
        let peers = self.0.peers.borrow();
        let preferred = partition.preferred(peers.keys().map(String::as_str));
        preferred.is_some_and(|node| {
            node != &*self.0.name && peers.get(node).is_some_and(|line| line.contains(&partition))
        })
    }

    /// Gives what changes with each heartbeat.
    pub(super) fn beats(&self) -> watch::Receiver<Peers> {
        self.0.peers.subscribe()
    }
}

/// A place in line for a partition.
pub(super) struct InLine {
    membership: Membership,
    partition: Partition,
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.membership.registered().remove(&self.partition);
    }
}
