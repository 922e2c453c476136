//! Who is where on this node: partitions, their tenants, and what happens when a tenant gives up. Each lock is held for a
//! moment only, never while something is awaited.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_rt::ArbiterHandle;
use domain::campaign::PauseReason;
use domain::ids::TenantId;
use domain::partition::{Epoch, Partition};
use tokio::sync::mpsc::UnboundedSender;

use crate::partition::{Entry, OwnedPartition};
use crate::ports::PauseScope;
use crate::tenant::supervisor::TenantHandle;
use crate::tenant::{Identity, Notice, Shared};
use crate::tenants::DeliverError;

/// Who is where on this node.
pub(crate) struct Registry {
    pub(crate) shared: Shared,
    arbiters: Vec<ArbiterHandle>,
    partitions: Mutex<HashMap<Partition, OwnedPartition>>,
    pub(crate) revoked: Mutex<Vec<UnboundedSender<Partition>>>,
    pub(crate) stopping: AtomicBool,
}

/// Where a tenant's work goes.
pub(crate) enum Door {
    Open(Arc<TenantHandle>),
    Quarantined,
}

impl Registry {
    pub(crate) fn new(shared: Shared, arbiters: Vec<ArbiterHandle>) -> Self {
        Self {
            shared,
            arbiters,
            partitions: Mutex::default(),
            revoked: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Gives access to the partitions that this node owns.
    pub(crate) fn partitions(&self) -> MutexGuard<'_, HashMap<Partition, OwnedPartition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the tenant, or starts its actors.
    pub(crate) fn door(&self, partition: Partition, tenant: TenantId) -> Result<Door, DeliverError> {
        let mut partitions = self.partitions();
        if self.stopping.load(Ordering::Acquire) {
            return Err(DeliverError::Stopping);
        }
        let owned = partitions.get_mut(&partition).filter(|owned| !owned.frozen);
        let owned = owned.ok_or(DeliverError::NotOwner)?;
        let epoch = owned.epoch;
        let entry = owned.tenants.entry(tenant).or_insert_with(|| {
            let identity = Identity {
                tenant,
                partition,
                epoch,
            };
            let arbiter = &self.arbiters[arbiter_of(tenant, self.arbiters.len())];
            Entry::Active(TenantHandle::start(identity, self.shared.clone(), arbiter))
        });
        Ok(match entry {
            Entry::Active(handle) => {
                handle.worked();
                Door::Open(handle.clone())
            }
            Entry::Quarantined { .. } => Door::Quarantined,
        })
    }

    /// Lets nothing into the partitions any more and gives their active tenants.
    pub(crate) fn freeze(&self, which: impl Fn(Partition) -> bool) -> Vec<Arc<TenantHandle>> {
        let mut handles = Vec::new();
        for (partition, owned) in self.partitions().iter_mut() {
            if which(*partition) {
                owned.frozen = true;
                handles.extend(owned.active().cloned());
            }
        }
        handles.iter().for_each(|handle| handle.freeze());
        handles
    }

    /// Does what follows from what a tenant tells its node.
    pub(crate) fn attend_to(&self, notice: Notice) {
        match notice {
            Notice::EpochGone(partition, epoch) => self.lost(partition, epoch),
            Notice::Quarantined(identity, reason) => self.quarantine(&identity, reason),
            Notice::Vanished(identity) => {
                let mut partitions = self.partitions();
                let owned = partitions.get_mut(&identity.partition);
                let handle = owned.and_then(|owned| owned.take(&identity));
                drop(partitions);
                handle.iter().for_each(|handle| handle.stop());
            }
        }
    }

    /// Lets a partition go whose later epoch somebody else has.
    pub(crate) fn superseded(&self, partition: Partition, by: Epoch) {
        let mine = self.partitions().get(&partition).map(|owned| owned.epoch);
        if let Some(mine) = mine.filter(|mine| *mine < by) {
            self.lost(partition, mine);
        }
    }

    /// A later owner has taken the partition over.
    fn lost(&self, partition: Partition, epoch: Epoch) {
        let mut partitions = self.partitions();
        if partitions
            .get(&partition)
            .is_none_or(|owned| owned.epoch != epoch)
        {
            return;
        }
        let owned = partitions.remove(&partition);
        self.shared.metrics.partitions_now(partitions.len());
        drop(partitions);
        tracing::warn!(
            partition = partition.0,
            epoch = epoch.0,
            "a later owner has taken the partition over"
        );
        owned.iter().for_each(stop_all);
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.retain(|listener| listener.send(partition).is_ok());
    }

    fn quarantine(&self, identity: &Arc<Identity>, reason: String) {
        let mut partitions = self.partitions();
        let Some(owned) = partitions.get_mut(&identity.partition) else {
            return;
        };
        let Some(handle) = owned.take(identity) else {
            return;
        };
        tracing::error!(tenant.id = %identity.tenant, reason, "the tenant is in quarantine");
        let evidence = reason.clone();
        owned.quarantine(identity.tenant, reason, self.shared.clock.now());
        self.count(&partitions);
        drop(partitions);
        handle.stop();
        handle
            .world
            .pause(PauseScope::Tenant, PauseReason::Quarantined, &evidence);
    }

    /// Shows how many tenants are in which state.
    pub(crate) fn count(&self, partitions: &HashMap<Partition, OwnedPartition>) {
        let (mut active, mut restarting, mut quarantined) = (0, 0, 0);
        for entry in partitions.values().flat_map(|owned| owned.tenants.values()) {
            match entry {
                Entry::Active(handle) if handle.is_restarting() => restarting += 1,
                Entry::Active(_) => active += 1,
                Entry::Quarantined { .. } => quarantined += 1,
            }
        }
        self.shared.metrics.tenants_now(active, restarting, quarantined);
    }
}

/// Stops the partition's active tenants.
pub(crate) fn stop_all(owned: &OwnedPartition) {
    owned.active().for_each(|handle| handle.stop());
}

/// Spreads tenants over arbiters by the random tail of their ids.
fn arbiter_of(tenant: TenantId, arbiters: usize) -> usize {
    let tail = usize::from(tenant.0.as_bytes()[15]);
    tail % arbiters
}
