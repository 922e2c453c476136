//! One partition that this node owns, with its tenants.

use std::collections::HashMap;
use std::sync::Arc;

use domain::ids::TenantId;
use domain::partition::Epoch;
use tokio::time::Instant;

use crate::intensity::Intensity;
use crate::limits::{INTENSITY_WINDOW, VANISHINGS_MOST};
use crate::tenant::Identity;
use crate::tenant::supervisor::TenantHandle;

/// A partition from grant to revocation.
pub(crate) struct OwnedPartition {
    pub(crate) epoch: Epoch,
    pub(crate) granted_at: Instant,
    /// Being handed over: nothing new gets in.
    pub(crate) frozen: bool,
    /// Tenants whose actors run.
    pub(crate) tenants: HashMap<TenantId, Arc<TenantHandle>>,
    /// How often a tenant's actors were gone without a word, which outlives each of them.
    vanishings: HashMap<TenantId, Intensity>,
}

impl OwnedPartition {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            granted_at: Instant::now(),
            frozen: false,
            tenants: HashMap::new(),
            vanishings: HashMap::new(),
        }
    }

    /// Takes out the very incarnation of a tenant, unless another one has taken its place.
    pub(crate) fn take(&mut self, identity: &Arc<Identity>) -> Option<Arc<TenantHandle>> {
        let handle = self.tenants.get(&identity.tenant)?;
        if !Arc::ptr_eq(&handle.world.identity, identity) {
            return None;
        }
        self.tenants.remove(&identity.tenant)
    }

    /// Counts that an actor of the tenant was gone without a word; tells whether that is once too often.
    pub(crate) fn vanished(&mut self, tenant: TenantId) -> bool {
        let known = self.vanishings.entry(tenant);
        let known = known.or_insert_with(|| Intensity::new(VANISHINGS_MOST, INTENSITY_WINDOW));
        let exceeded = known.exceeded_at(Instant::now());
        if exceeded {
            self.vanishings.remove(&tenant);
        }
        exceeded
    }

    /// Forgets what is long over.
    pub(crate) fn forget(&mut self) {
        let now = Instant::now();
        self.vanishings.retain(|_, known| !known.is_quiet(now));
    }
}
