//! The invariants by name: property tests, verification commands and alerts use the same names.

use std::collections::BTreeMap;

use crate::ledger::{CounterChange, LedgerKind, Settlement};

/// A sentence that must always be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Its name.
    pub id: &'static str,
    /// What it says.
    pub says: &'static str,
}

/// Counts of a campaign sum to its recipients.
pub const BALANCE: Invariant = Invariant {
    id: "M1",
    says: "the states of a campaign's recipients sum to its recipients",
};
/// No recipient gets a message twice.
pub const ONCE: Invariant = Invariant {
    id: "M2",
    says: "Meta accepted a message at most once",
};
/// Reserved units are where they should be.
pub const UNITS: Invariant = Invariant {
    id: "I2",
    says: "reserved = captured + free + voided + expired + still held",
};
/// Each kind once per attempt.
pub const KINDS: Invariant = Invariant {
    id: "I3",
    says: "an attempt has each kind of ledger row at most once",
};
/// The ledger folds to the counters.
pub const FOLD: Invariant = Invariant {
    id: "I10",
    says: "the ledger's rows fold to the stored counters",
};
/// The chain is whole.
pub const CHAIN: Invariant = Invariant {
    id: "I17",
    says: "the ledger's sequence is contiguous and its hashes hold",
};

/// Counters by period, segment, pool and category.
pub type Counters = BTreeMap<(i32, i32, String, String), CounterChange>;

/// Folds the rows of a ledger to the counters that they amount to: the second way to the same figures, independent of
/// how the committer got there. Each attempt's rows must be handed in together.
pub fn fold_attempt(counters: &mut Counters, key: (i32, i32, String, String), kinds: &[LedgerKind]) {
    let one = counters.entry(key).or_default();
    match Settlement::of(kinds.iter().copied()) {
        Settlement::Nothing => {}
        Settlement::Reserved => one.held += 1,
        Settlement::Expired => one.expired += 1,
        Settlement::Voided => one.voided += 1,
        Settlement::Free => one.free += 1,
        Settlement::Captured => one.captured += 1,
    }
    if kinds.contains(&LedgerKind::Recapture) {
        one.forced += 1;
    }
}
