//! Which partition a tenant belongs to.

use sha2::{Digest, Sha256};

use crate::ids::TenantId;

/// The number of an inbox queue, from 0 to the installation's number of partitions less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

/// How often the ownership of a partition has changed hands. A tenant's ledger accepts decisions of
/// one epoch only, so an owner that has been replaced can decide nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

impl Partition {
    /// Gives the partition of a tenant: the first eight bytes of SHA-256(tenant id), big-endian, modulo
    /// the number of partitions. It never changes for an installation, so a tenant never moves.
    ///
    /// # Panics
    /// When `partitions` is zero; configuration refuses that.
    pub fn of(tenant: TenantId, partitions: u16) -> Self {
        let digest = Sha256::digest(tenant.0.as_bytes());
        let mut head = [0_u8; 8];
        head.copy_from_slice(&digest[..8]);
        let number = u64::from_be_bytes(head) % u64::from(partitions);
        Self(u16::try_from(number).unwrap_or(0))
    }
}
