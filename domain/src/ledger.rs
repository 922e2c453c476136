//! The ledger: its kinds of rows, its accounts, and the lattice by which facts settle an attempt.
//!
//! An attempt's settlement is the strongest fact heard of it (none < reserved < expired < voided < free < captured),
//! so neither the order nor the number of times that facts arrive can change the result.

use crate::category::Category;
use crate::message::DeliveryStatus;
use crate::named::named_states;

named_states! {
    /// What a ledger row records. Per attempt each kind stands at most once.
    LedgerKind, UnknownLedgerKind {
        /// Units appear for a period or a plan change.
        Grant = "grant",
        /// Units are set aside before the call to Meta.
        Reserve = "reserve",
        /// Delivered and billable: the reserved units are used.
        Capture = "capture",
        /// Delivered, not billed by Meta: the reserved units come back.
        Free = "free",
        /// Never arrived: the reserved units come back.
        Void = "void",
        /// No news within the message's time to live: the units come back.
        Expire = "expire",
        /// A billable truth after the units had come back.
        Recapture = "recapture",
        /// Somebody set right what a tenant pays: money, and no unit.
        Adjust = "adjust",
        /// The period was closed.
        Close = "close",
    }
}

named_states! {
    /// Where units, or money, can be. A row moves them from its debit account to its credit account.
    Account, UnknownAccount {
        /// Where units come from.
        Source = "source",
        /// Free to be reserved.
        Available = "available",
        /// Reserved.
        Held = "held",
        /// Used.
        Used = "used",
        /// Gone with their period.
        Expired = "expired",
        /// Money that somebody asked for or gave away, beside what the plan says.
        Corrections = "corrections",
        /// Money that the tenant owes.
        Receivable = "receivable",
    }
}

/// How far an attempt is settled. The order is the lattice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Settlement {
    /// No row of this attempt.
    Nothing,
    /// Units are reserved.
    Reserved,
    /// They came back for want of news.
    Expired,
    /// They came back: it never arrived.
    Voided,
    /// They came back: it arrived and is not billed.
    Free,
    /// They are used.
    Captured,
}

impl Settlement {
    /// Gives the settlement that a set of rows amounts to, whatever their order.
    pub fn of(kinds: impl IntoIterator<Item = LedgerKind>) -> Self {
        kinds
            .into_iter()
            .map(Self::reached_by)
            .max()
            .unwrap_or(Self::Nothing)
    }

    const fn reached_by(kind: LedgerKind) -> Self {
        match kind {
            LedgerKind::Reserve => Self::Reserved,
            LedgerKind::Expire => Self::Expired,
            LedgerKind::Void => Self::Voided,
            LedgerKind::Free => Self::Free,
            LedgerKind::Capture | LedgerKind::Recapture => Self::Captured,
            LedgerKind::Grant | LedgerKind::Adjust | LedgerKind::Close => Self::Nothing,
        }
    }
}

/// What is known of an attempt that concerns money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// It arrived and Meta bills it.
    DeliveredBillable,
    /// It arrived and Meta does not bill it.
    DeliveredFree,
    /// It did not arrive.
    NotDelivered,
    /// Nothing was heard within its time to live.
    NoNews,
}

/// Meta's `pricing` object. It comes with `sent` and with one of `delivered` and `read`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pricing {
    /// `type`: `regular`, `free_customer_service`, `free_entry_point`.
    pub kind: Option<String>,
    /// `category`.
    pub category: Option<Category>,
    /// `billable`, which Meta is about to remove.
    pub billable: Option<bool>,
}

impl Pricing {
    /// Tells whether Meta bills the message: by `type`, else by `billable`. None when neither is said: Meta prices one of `delivered` and
    /// `read`, and the other one proves arrival and says nothing about money.
    pub fn is_billable(&self) -> Option<bool> {
        match self.kind.as_deref() {
            Some(kind) => Some(!kind.starts_with("free")),
            None => self.billable,
        }
    }
}

impl Fact {
    /// Gives the fact that a status is, if it is one about money. `sent` is none: it proves no delivery. An arrival without a price
    /// is none either: the price comes with the other status of the pair, in whatever order.
    pub fn of(status: DeliveryStatus, pricing: &Pricing) -> Option<Self> {
        match status {
            DeliveryStatus::Sent => None,
            DeliveryStatus::Failed => Some(Self::NotDelivered),
            DeliveryStatus::Delivered | DeliveryStatus::Read => pricing.is_billable().map(|billable| {
                if billable {
                    Self::DeliveredBillable
                } else {
                    Self::DeliveredFree
                }
            }),
        }
    }

    const fn settlement(self) -> Settlement {
        match self {
            Self::NoNews => Settlement::Expired,
            Self::NotDelivered => Settlement::Voided,
            Self::DeliveredFree => Settlement::Free,
            Self::DeliveredBillable => Settlement::Captured,
        }
    }
}

/// Changes of a pool's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterChange {
    /// Units reserved.
    pub held: i64,
    /// Units used.
    pub captured: i64,
    /// Units delivered and not billed.
    pub free: i64,
    /// Units given back.
    pub voided: i64,
    /// Units given back for want of news.
    pub expired: i64,
    /// Units used that were not reserved any more. A memo: it depends on the order of arrival.
    pub forced: i64,
}

impl CounterChange {
    /// Adds another change.
    pub const fn add(&mut self, other: Self) {
        self.held += other.held;
        self.captured += other.captured;
        self.free += other.free;
        self.voided += other.voided;
        self.expired += other.expired;
        self.forced += other.forced;
    }

    /// Splits it into what leaves and what enters. They are booked apart when Meta bills another category than was reserved: units
    /// leave the category that they were reserved under, and enter the one that is billed.
    pub fn split(self) -> (Self, Self) {
        (self.each(|units| units.min(0)), self.each(|units| units.max(0)))
    }

    fn each(self, of: impl Fn(i64) -> i64) -> Self {
        Self {
            held: of(self.held),
            captured: of(self.captured),
            free: of(self.free),
            voided: of(self.voided),
            expired: of(self.expired),
            forced: of(self.forced),
        }
    }

    const fn part(&mut self, settlement: Settlement) -> Option<&mut i64> {
        match settlement {
            Settlement::Nothing => None,
            Settlement::Reserved => Some(&mut self.held),
            Settlement::Expired => Some(&mut self.expired),
            Settlement::Voided => Some(&mut self.voided),
            Settlement::Free => Some(&mut self.free),
            Settlement::Captured => Some(&mut self.captured),
        }
    }
}

/// A row to be written: one unit moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it records.
    pub kind: LedgerKind,
    /// Where the unit comes from.
    pub debit: Account,
    /// Where it goes.
    pub credit: Account,
    /// What it changes in the counters.
    pub change: CounterChange,
}

/// The row that reserves a unit.
pub const RESERVE: Entry = Entry {
    kind: LedgerKind::Reserve,
    debit: Account::Available,
    credit: Account::Held,
    change: CounterChange {
        held: 1,
        captured: 0,
        free: 0,
        voided: 0,
        expired: 0,
        forced: 0,
    },
};

/// Decides which row a fact adds to an attempt that is settled so far; none when the fact is not stronger than what is
/// known, or when nothing was ever reserved.
pub fn settle(so_far: Settlement, fact: Fact) -> Option<Entry> {
    let reached = fact.settlement();
    if so_far == Settlement::Nothing || reached <= so_far {
        return None;
    }
    let is_held = so_far == Settlement::Reserved;
    let kind = match (fact, is_held) {
        (Fact::DeliveredBillable, true) => LedgerKind::Capture,
        (Fact::DeliveredBillable, false) => LedgerKind::Recapture,
        (Fact::DeliveredFree, _) => LedgerKind::Free,
        (Fact::NotDelivered, _) => LedgerKind::Void,
        (Fact::NoNews, _) => LedgerKind::Expire,
    };
    let mut change = CounterChange {
        forced: i64::from(kind == LedgerKind::Recapture),
        ..CounterChange::default()
    };
    if let Some(left) = change.part(so_far) {
        *left -= 1;
    }
    if let Some(entered) = change.part(reached) {
        *entered += 1;
    }
    let debit = if is_held {
        Account::Held
    } else {
        Account::Available
    };
    let credit = if reached == Settlement::Captured {
        Account::Used
    } else {
        Account::Available
    };
    Some(Entry {
        kind,
        debit,
        credit,
        change,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FACTS: [Fact; 4] = [
        Fact::DeliveredBillable,
        Fact::DeliveredFree,
        Fact::NotDelivered,
        Fact::NoNews,
    ];

    fn run(facts: &[Fact]) -> (Vec<LedgerKind>, CounterChange) {
        let mut kinds = vec![LedgerKind::Reserve];
        let mut counters = RESERVE.change;
        for &fact in facts {
            if let Some(entry) = settle(Settlement::of(kinds.iter().copied()), fact) {
                kinds.push(entry.kind);
                counters.add(entry.change);
            }
        }
        (kinds, counters)
    }

    #[test]
    fn delivered_uses_the_unit_and_a_later_failure_changes_nothing() {
        let (kinds, counters) = run(&[Fact::DeliveredBillable, Fact::NotDelivered]);
        assert_eq!(kinds, [LedgerKind::Reserve, LedgerKind::Capture]);
        assert_eq!(
            counters,
            CounterChange {
                captured: 1,
                ..CounterChange::default()
            }
        );
    }

    #[test]
    fn a_delivery_after_a_void_is_captured_all_the_same_and_marked_as_forced() {
        let (kinds, counters) = run(&[Fact::NotDelivered, Fact::DeliveredBillable]);
        assert_eq!(
            kinds,
            [LedgerKind::Reserve, LedgerKind::Void, LedgerKind::Recapture]
        );
        assert_eq!(
            counters,
            CounterChange {
                captured: 1,
                forced: 1,
                ..CounterChange::default()
            }
        );
    }

    #[test]
    fn nothing_is_settled_that_was_never_reserved() {
        assert!(
            FACTS
                .iter()
                .all(|&fact| settle(Settlement::Nothing, fact).is_none())
        );
    }

    #[test]
    fn metas_type_decides_before_its_billable_flag() {
        let free = Pricing {
            kind: Some("free_entry_point".into()),
            billable: Some(true),
            category: None,
        };
        assert_eq!(free.is_billable(), Some(false));
        assert_eq!(Fact::of(DeliveryStatus::Read, &free), Some(Fact::DeliveredFree));
        assert_eq!(Fact::of(DeliveryStatus::Sent, &free), None);
        let unpriced = Pricing::default();
        assert_eq!(
            Fact::of(DeliveryStatus::Read, &unpriced),
            None,
            "the price comes with the other status"
        );
    }

    proptest! {
        /// I3, I7, I8 of the billing model.
        #[test]
        fn order_and_repetition_change_no_counter(
            (heard, shuffled) in proptest::collection::vec(proptest::sample::select(FACTS.to_vec()), 0..7)
                .prop_flat_map(|heard| (Just(heard.clone()), Just(heard).prop_shuffle())),
        ) {
            let twice: Vec<_> = shuffled.iter().chain(&heard).copied().collect();
            let without_memo = |facts: &[Fact]| CounterChange { forced: 0, ..run(facts).1 };
            prop_assert_eq!(without_memo(&heard), without_memo(&shuffled));
            prop_assert_eq!(without_memo(&heard), without_memo(&twice));
            let (mut kinds, counters) = run(&twice);
            let rows = kinds.len();
            kinds.sort();
            kinds.dedup();
            prop_assert_eq!(kinds.len(), rows, "each kind at most once");
            prop_assert_eq!(counters.held + counters.captured + counters.free + counters.voided + counters.expired, 1);
        }
    }
}
