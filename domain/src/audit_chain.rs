//! The hash chain over a tenant's ledger: each row's hash covers the row and the hash before it, so that no row can be
//! changed, left out, added or swapped without breaking every later one.
//!
//! The encoding is binary and fixed: numbers big-endian, texts with their length in front. It must never change; a new
//! encoding needs a new tag.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ids::{AttemptId, TenantId};
use crate::ledger::{Account, LedgerKind};

/// Names the encoding.
const TAG: &[u8] = b"malote ledger v1";

/// A hash of the chain.
pub type ChainHash = [u8; 32];

/// A ledger row, as far as the chain covers it: all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// Whose.
    pub tenant: TenantId,
    /// Its place, from 1 without gaps.
    pub seq: i64,
    /// What it records.
    pub kind: LedgerKind,
    /// The attempt it settles, if it is about one.
    pub attempt: Option<AttemptId>,
    /// The billing period to which the attempt is pinned.
    pub period: i32,
    /// The period's segment (one plan).
    pub segment: i32,
    /// The pool of units.
    pub pool: String,
    /// The category it is billed as.
    pub category: String,
    /// Where units come from.
    pub debit: Account,
    /// Where they go.
    pub credit: Account,
    /// How many.
    pub units: i64,
    /// Money, in micros.
    pub micros: i64,
    /// The currency of `micros`.
    pub currency: String,
    /// The stored event that proves it.
    pub evidence: Option<Uuid>,
    /// The owner's epoch.
    pub epoch: i64,
    /// When, in microseconds since 1970 (what PostgreSQL keeps of a time).
    pub at_us: i64,
}

/// Gives the hash before a tenant's first row.
pub fn genesis(tenant: TenantId) -> ChainHash {
    Sha256::new()
        .chain_update(TAG)
        .chain_update(b"genesis")
        .chain_update(tenant.0.as_bytes())
        .finalize()
        .into()
}

/// Gives the hash of a row that follows `previous`.
pub fn hash_row(previous: &ChainHash, row: &LedgerRow) -> ChainHash {
    let mut digest = Sha256::new().chain_update(TAG).chain_update(previous);
    digest.update(row.tenant.0.as_bytes());
    digest.update(row.seq.to_be_bytes());
    text(&mut digest, row.kind.as_str());
    optional(&mut digest, row.attempt.map(|attempt| attempt.0));
    digest.update(row.period.to_be_bytes());
    digest.update(row.segment.to_be_bytes());
    text(&mut digest, &row.pool);
    text(&mut digest, &row.category);
    text(&mut digest, row.debit.as_str());
    text(&mut digest, row.credit.as_str());
    digest.update(row.units.to_be_bytes());
    digest.update(row.micros.to_be_bytes());
    text(&mut digest, &row.currency);
    optional(&mut digest, row.evidence);
    digest.update(row.epoch.to_be_bytes());
    digest.update(row.at_us.to_be_bytes());
    digest.finalize().into()
}

/// Gives the hash of an anchor: over the anchor before and the heads of all ledgers, in the order of their tenants.
pub fn anchor_root(previous: &[u8], heads: &[(TenantId, i64, ChainHash)]) -> ChainHash {
    let mut digest = Sha256::new().chain_update(TAG).chain_update(b"anchor");
    digest.update((previous.len() as u64).to_be_bytes());
    digest.update(previous);
    for (tenant, seq, hash) in heads {
        digest.update(tenant.0.as_bytes());
        digest.update(seq.to_be_bytes());
        digest.update(hash);
    }
    digest.finalize().into()
}

/// Gives what a row says apart from its place: the same attempt and kind must always say the same.
pub fn fingerprint(row: &LedgerRow) -> [u8; 16] {
    let mut digest = Sha256::new().chain_update(TAG).chain_update(b"fingerprint");
    digest.update(row.tenant.0.as_bytes());
    text(&mut digest, row.kind.as_str());
    optional(&mut digest, row.attempt.map(|attempt| attempt.0));
    text(&mut digest, &row.pool);
    text(&mut digest, &row.category);
    digest.update(row.units.to_be_bytes());
    digest.update(row.micros.to_be_bytes());
    let whole: [u8; 32] = digest.finalize().into();
    let mut half = [0_u8; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

fn text(digest: &mut Sha256, text: &str) {
    digest.update((text.len() as u64).to_be_bytes());
    digest.update(text.as_bytes());
}

fn optional(digest: &mut Sha256, id: Option<Uuid>) {
    match id {
        Some(id) => {
            digest.update([1]);
            digest.update(id.as_bytes());
        }
        None => digest.update([0]),
    }
}

/// Where and how a chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A row is missing or stands twice.
    #[error("row {expected} is missing: row {found} follows")]
    Gap {
        /// The number that should follow.
        expected: i64,
        /// The number that does.
        found: i64,
    },
    /// A row, or the hash before it, was changed.
    #[error("row {seq} does not hash to what is stored")]
    Hash {
        /// The row.
        seq: i64,
    },
}

/// Checks a chain row by row, in constant memory.
#[derive(Clone, Debug)]
pub struct Verifier {
    seq: i64,
    hash: ChainHash,
}

impl Verifier {
    /// Starts before a tenant's first row.
    pub fn new(tenant: TenantId) -> Self {
        Self {
            seq: 0,
            hash: genesis(tenant),
        }
    }

    /// Checks the next row against its stored hash.
    ///
    /// # Errors
    /// When the row does not follow.
    pub fn check(&mut self, row: &LedgerRow, stored: &[u8]) -> Result<(), Broken> {
        if row.seq != self.seq + 1 {
            return Err(Broken::Gap {
                expected: self.seq + 1,
                found: row.seq,
            });
        }
        let hash = hash_row(&self.hash, row);
        if hash != stored {
            return Err(Broken::Hash { seq: row.seq });
        }
        (self.seq, self.hash) = (row.seq, hash);
        Ok(())
    }

    /// Gives the place and hash of the last row checked: what the head must say.
    pub const fn head(&self) -> (i64, ChainHash) {
        (self.seq, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(seq: i64) -> LedgerRow {
        LedgerRow {
            tenant: TenantId(Uuid::from_u128(1)),
            seq,
            kind: LedgerKind::Reserve,
            attempt: Some(AttemptId(Uuid::from_u128(seq.unsigned_abs().into()))),
            period: 1,
            segment: 1,
            pool: "messages".into(),
            category: "utility".into(),
            debit: Account::Available,
            credit: Account::Held,
            units: 1,
            micros: 0,
            currency: "BRL".into(),
            evidence: None,
            epoch: 3,
            at_us: 1_700_000_000_000_000,
        }
    }

    fn chain(length: i64) -> Vec<(LedgerRow, ChainHash)> {
        let mut hash = genesis(TenantId(Uuid::from_u128(1)));
        (1..=length)
            .map(|seq| {
                hash = hash_row(&hash, &row(seq));
                (row(seq), hash)
            })
            .collect()
    }

    fn verify(rows: &[(LedgerRow, ChainHash)]) -> Result<(), Broken> {
        let mut verifier = Verifier::new(TenantId(Uuid::from_u128(1)));
        rows.iter().try_for_each(|(row, hash)| verifier.check(row, hash))
    }

    #[test]
    fn a_whole_chain_verifies() {
        assert_eq!(verify(&chain(5)), Ok(()));
    }

    #[test]
    fn a_missing_and_a_swapped_row_are_named() {
        let mut missing = chain(5);
        missing.remove(2);
        assert_eq!(
            verify(&missing),
            Err(Broken::Gap {
                expected: 3,
                found: 4
            })
        );
        let mut swapped = chain(5);
        swapped.swap(1, 2);
        assert_eq!(
            verify(&swapped),
            Err(Broken::Gap {
                expected: 2,
                found: 3
            })
        );
    }

    proptest! {
        #[test]
        fn any_change_of_a_row_is_found(at in 0_usize..5, field in 0..6) {
            let mut rows = chain(5);
            let row = &mut rows[at].0;
            match field {
                0 => row.units += 1,
                1 => row.kind = LedgerKind::Capture,
                2 => row.category.push('x'),
                3 => row.epoch += 1,
                4 => row.evidence = Some(Uuid::nil()),
                _ => row.at_us += 1,
            }
            prop_assert_eq!(verify(&rows), Err(Broken::Hash { seq: at as i64 + 1 }));
        }
    }
}
