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
/// Nobody is left in between.
pub const FINAL: Invariant = Invariant {
    id: "M3",
    says: "when a campaign has ended, every recipient is in a state that ends it",
};
/// Meta and the books agree on everybody.
pub const ACCOUNTED: Invariant = Invariant {
    id: "M4",
    says: "what Meta delivered is delivered here, and whatever is not has a cause",
};
/// The queues hold hints only as long as there is work.
pub const DRAINED: Invariant = Invariant {
    id: "M5",
    says: "when all work is done, the inboxes hold no hint and the dead letters' queue nothing",
};
/// A tenant's trouble is its own.
pub const APART: Invariant = Invariant {
    id: "M6",
    says: "while one tenant is hurt, the others keep at least four fifths of their pace",
};
/// What is charged is what Meta charges.
pub const BILLED: Invariant = Invariant {
    id: "I1",
    says: "captured units are billable deliveries",
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
/// Invoices are what the ledger says.
pub const INVOICE: Invariant = Invariant {
    id: "I12",
    says: "an invoice drawn up again from the ledger's rows up to its cut is the stored one, byte for byte",
};
/// The chain is whole.
pub const CHAIN: Invariant = Invariant {
    id: "I17",
    says: "the ledger's sequence is contiguous and its hashes hold",
};

/// Nothing was cut off.
pub const ANCHORED: Invariant = Invariant {
    id: "I17a",
    says: "each ledger still has the rows, and the hashes, that its anchors cover",
};

/// Counters by period, segment, pool and category.
pub type Counters = BTreeMap<CounterKey, CounterChange>;

/// Where units are counted: period, segment, pool, category.
pub type CounterKey = (i32, i32, String, String);

/// The rows of one attempt in order, each with where it is booked.
pub type Rows = Vec<(LedgerKind, CounterKey)>;

/// Folds the rows of an attempt to the counters that they amount to: the second way to the same figures, independent of how the
/// committer got there. What is used counts where it is billed, all else where it was reserved.
pub fn fold_attempt(counters: &mut Counters, rows: &[(LedgerKind, CounterKey)]) {
    let is_capture = |kind: LedgerKind| matches!(kind, LedgerKind::Capture | LedgerKind::Recapture);
    let billed = rows.iter().find(|(kind, _)| is_capture(*kind));
    let reserved = rows.iter().find(|(kind, _)| *kind == LedgerKind::Reserve);
    let Some((_, key)) = billed.or(reserved).or(rows.first()) else {
        return;
    };
    let one = counters.entry(key.clone()).or_default();
    match Settlement::of(rows.iter().map(|(kind, _)| *kind)) {
        Settlement::Nothing => {}
        Settlement::Reserved => one.held += 1,
        Settlement::Expired => one.expired += 1,
        Settlement::Voided => one.voided += 1,
        Settlement::Free => one.free += 1,
        Settlement::Captured => one.captured += 1,
    }
    if rows.iter().any(|(kind, _)| *kind == LedgerKind::Recapture) {
        one.forced += 1;
    }
}
