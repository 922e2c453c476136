//! Who is where on this node: partitions, their tenants, and what happens when a tenant gives up. Each lock is held for a
//! moment only, never while something is awaited.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_rt::ArbiterHandle;
use domain::ids::TenantId;
use domain::partition::{Epoch, Partition};
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::delays::Delays;
use crate::limits::{QUARANTINE_ERROR_LONGEST, QUARANTINE_LOOK_EVERY};
use crate::metrics::{Kind, TenantCounts};
use crate::partition::OwnedPartition;
use crate::ports::{QuarantineRow, QuarantineWish, Unavailable};
use crate::quarantine::Quarantines;
use crate::tenant::supervisor::{Standing, TenantHandle};
use crate::tenant::{Identity, Notice, Shared, until_available};
use crate::tenants::DeliverError;

/// Who is where on this node.
pub(crate) struct Registry {
    pub(crate) shared: Arc<Shared>,
    arbiters: Vec<ArbiterHandle>,
    partitions: Mutex<HashMap<Partition, OwnedPartition>>,
    quarantines: Mutex<Quarantines>,
    /// Held by whoever asks for the rows of quarantines.
    looking: AsyncMutex<()>,
    pub(crate) revoked: Mutex<Vec<UnboundedSender<Partition>>>,
    pub(crate) stopping: AtomicBool,
}

/// Where a tenant's work goes.
pub(crate) enum Door {
    Open(Arc<TenantHandle>),
    Quarantined,
}

impl Registry {
    pub(crate) fn new(shared: Arc<Shared>, arbiters: Vec<ArbiterHandle>) -> Self {
        Self {
            shared,
            arbiters,
            partitions: Mutex::default(),
            quarantines: Mutex::default(),
            looking: AsyncMutex::default(),
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
        if self.quarantines().holds(tenant) {
            return Ok(Door::Quarantined);
        }
        let epoch = owned.epoch;
        let handle = owned.tenants.entry(tenant).or_insert_with(|| {
            let identity = Identity {
                tenant,
                partition,
                epoch,
            };
            let arbiter = &self.arbiters[arbiter_of(tenant, self.arbiters.len())];
            TenantHandle::start(identity, self.shared.clone(), arbiter)
        });
        handle.worked();
        Ok(Door::Open(handle.clone()))
    }

    /// Gives access to what is known of quarantines. Never taken before the partitions.
    pub(crate) fn quarantines(&self) -> MutexGuard<'_, Quarantines> {
        self.quarantines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets nothing into the partitions any more and gives their active tenants.
    pub(crate) fn freeze(&self, which: impl Fn(Partition) -> bool) -> Vec<Arc<TenantHandle>> {
        let mut handles = Vec::new();
        for (partition, owned) in self.partitions().iter_mut() {
            if which(*partition) {
                owned.frozen = true;
                handles.extend(owned.tenants.values().cloned());
            }
        }
        handles.iter().for_each(|handle| handle.freeze());
        handles
    }

    /// Does what follows from what a tenant tells its node.
    pub(crate) fn attend_to(self: &Arc<Self>, notice: Notice) {
        match notice {
            Notice::EpochGone(partition, epoch) => self.lost(partition, epoch),
            Notice::Failing(identity, reason, error) => self.quarantine(&identity, reason, error),
            Notice::Vanished(identity, kind) => self.vanished(&identity, kind),
        }
    }

    /// Lets a tenant's next work start its actors anew, unless they keep vanishing.
    fn vanished(self: &Arc<Self>, identity: &Arc<Identity>, kind: Kind) {
        let mut partitions = self.partitions();
        let Some(owned) = partitions.get_mut(&identity.partition) else {
            return;
        };
        if owned
            .tenants
            .get(&identity.tenant)
            .is_none_or(|handle| !Arc::ptr_eq(&handle.world.identity, identity))
        {
            return;
        }
        if owned.vanished(identity.tenant) {
            drop(partitions);
            let reason = format!("{} keeps vanishing", kind.as_str());
            return self.quarantine(identity, reason, "it ended without a word".to_owned());
        }
        let handle = owned.take(identity);
        drop(partitions);
        handle.iter().for_each(|handle| handle.stop());
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

    /// Stops a tenant's actors, lets nothing in any more, and writes that into its row.
    fn quarantine(self: &Arc<Self>, identity: &Arc<Identity>, reason: String, mut error: String) {
        let mut partitions = self.partitions();
        let owned = partitions.get_mut(&identity.partition);
        let Some(handle) = owned.and_then(|owned| owned.take(identity)) else {
            return;
        };
        error.truncate(error.floor_char_boundary(QUARANTINE_ERROR_LONGEST));
        tracing::error!(tenant.id = %identity.tenant, reason, error, "the tenant goes into quarantine");
        let now = self.shared.clock.now();
        let (tenant, partition, epoch) = (identity.tenant, identity.partition, identity.epoch);
        let wish = QuarantineWish {
            tenant,
            partition,
            epoch,
            reason: reason.clone(),
            error: error.clone(),
        };
        // Until its row says more.
        let row = QuarantineRow {
            tenant,
            partition,
            reason,
            error,
            since: now,
            until: now,
        };
        self.quarantines().decide(row);
        self.shared.metrics.quarantined();
        self.count(&partitions);
        drop(partitions);
        handle.stop();
        self.store(wish);
    }

    /// Writes a decision into its row, for as long as it takes.
    fn store(self: &Arc<Self>, wish: QuarantineWish) {
        let inner = self.clone();
        drop(self.shared.runtime.spawn(async move {
            let (port, tenant) = (&inner.shared.ports.quarantine, wish.tenant);
            let row = until_available(|| port.enter(wish.clone())).await;
            if row.is_none() {
                tracing::warn!(tenant.id = %tenant, "a later owner decides about the tenant: no quarantine");
            }
            inner.quarantines().stored(tenant, row, Instant::now());
            inner.count(&inner.partitions());
        }));
    }

    /// Waits until the rows of quarantines have been read since this node owns the partition: an earlier owner may have put
    /// a tenant there.
    pub(crate) async fn look_first(&self, partition: Partition) {
        let mut delays = Delays::of_dependency();
        while !self.has_looked(partition) {
            let turn = self.looking.lock().await;
            if self.has_looked(partition) {
                return;
            }
            if let Err(error) = self.ask().await {
                drop(turn);
                tracing::warn!(%error, "waiting for the rows of quarantines");
                tokio::time::sleep(delays.next()).await;
            }
        }
    }

    fn has_looked(&self, partition: Partition) -> bool {
        let granted_at = self.partitions().get(&partition).map(|owned| owned.granted_at);
        let looked_at = self.quarantines().looked_at();
        // Where the partition is not ours there is nothing to know.
        granted_at.is_none_or(|granted_at| looked_at.is_some_and(|looked_at| looked_at >= granted_at))
    }

    /// Reads the rows of quarantines if that is due and nobody does.
    pub(crate) async fn look_if_due(&self) {
        let looked_at = self.quarantines().looked_at();
        if looked_at.is_some_and(|at| at.elapsed() < QUARANTINE_LOOK_EVERY) {
            return;
        }
        let Ok(_turn) = self.looking.try_lock() else {
            return;
        };
        if let Err(error) = self.ask().await {
            tracing::debug!(%error, "the rows of quarantines were not read");
        }
    }

    /// Reads the rows of quarantines now.
    pub(crate) async fn look(&self) -> Result<(), Unavailable> {
        let _turn = self.looking.lock().await;
        self.ask().await
    }

    async fn ask(&self) -> Result<(), Unavailable> {
        let asked_at = Instant::now();
        let rows = self.shared.ports.quarantine.look().await?;
        let mut partitions = self.partitions();
        self.quarantines().heard(rows, asked_at);
        let quarantines = self.quarantines();
        let mut stopped = Vec::new();
        for owned in partitions.values_mut() {
            // The row is the truth, whoever wrote it.
            stopped.extend(owned.tenants.extract_if(|tenant, _| quarantines.holds(*tenant)));
        }
        drop(quarantines);
        self.count(&partitions);
        drop(partitions);
        stopped.iter().for_each(|(_, handle)| handle.stop());
        Ok(())
    }

    /// Shows how many tenants are in which state, and who is in quarantine.
    pub(crate) fn count(&self, partitions: &HashMap<Partition, OwnedPartition>) {
        let mut counts = TenantCounts::default();
        for handle in partitions.values().flat_map(|owned| owned.tenants.values()) {
            match handle.standing() {
                Standing::Parked => counts.parked += 1,
                Standing::Restarting => counts.restarting += 1,
                Standing::Working => counts.active += 1,
            }
        }
        let quarantines = self.quarantines();
        let held = quarantines.of(|partition| partitions.contains_key(&partition));
        let held = held.iter().map(|row| row.tenant).collect();
        self.shared.metrics.tenants_now(counts, held);
    }
}

/// Stops the partition's tenants.
pub(crate) fn stop_all(owned: &OwnedPartition) {
    owned.tenants.values().for_each(|handle| handle.stop());
}

/// Spreads tenants over arbiters by the random tail of their ids.
fn arbiter_of(tenant: TenantId, arbiters: usize) -> usize {
    let tail = usize::from(tenant.0.as_bytes()[15]);
    tail % arbiters
}
