//! One partition that this node owns, with its tenants.

use std::collections::HashMap;
use std::sync::Arc;

use domain::ids::TenantId;
use domain::partition::Epoch;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::limits::QUARANTINE_LASTS;
use crate::tenant::Identity;
use crate::tenant::supervisor::TenantHandle;

/// A tenant on this node.
pub(crate) enum Entry {
    /// Its actors run.
    Active(Arc<TenantHandle>),
    /// Its actors kept failing and are stopped.
    Quarantined {
        reason: String,
        since: Timestamp,
        until: Instant,
    },
}

/// A partition from grant to revocation.
pub(crate) struct OwnedPartition {
    pub(crate) epoch: Epoch,
    /// Being handed over: nothing new gets in.
    pub(crate) frozen: bool,
    pub(crate) tenants: HashMap<TenantId, Entry>,
}

impl OwnedPartition {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            frozen: false,
            tenants: HashMap::new(),
        }
    }

    /// Gives the tenants whose actors run.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Arc<TenantHandle>> {
        self.tenants.values().filter_map(|entry| match entry {
            Entry::Active(handle) => Some(handle),
            Entry::Quarantined { .. } => None,
        })
    }

    /// Takes out the very incarnation of a tenant, unless another one has taken its place.
    pub(crate) fn take(&mut self, identity: &Arc<Identity>) -> Option<Arc<TenantHandle>> {
        let Some(Entry::Active(handle)) = self.tenants.get(&identity.tenant) else {
            return None;
        };
        if !Arc::ptr_eq(&handle.world.identity, identity) {
            return None;
        }
        let handle = handle.clone();
        self.tenants.remove(&identity.tenant);
        Some(handle)
    }

    /// Puts a tenant in quarantine.
    pub(crate) fn quarantine(&mut self, tenant: TenantId, reason: String, since: Timestamp) {
        let until = Instant::now() + QUARANTINE_LASTS;
        let entry = Entry::Quarantined { reason, since, until };
        self.tenants.insert(tenant, entry);
    }

    /// Lets tenants try again whose quarantine is over.
    pub(crate) fn release(&mut self) {
        let now = Instant::now();
        self.tenants.retain(|_, entry| match entry {
            Entry::Active(_) => true,
            Entry::Quarantined { until, .. } => *until > now,
        });
    }
}
