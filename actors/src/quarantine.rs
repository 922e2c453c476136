//! Quarantines: where they are kept, and what this node knows of them. The rows are the truth; a node knows what it read
//! last, and what it decided and is not yet in its row.

use std::collections::HashMap;

use domain::ids::TenantId;
use domain::partition::{Epoch, Partition};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::ports::{Answer, Unavailable};

/// A tenant in quarantine, as its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineRow {
    /// Which.
    pub tenant: TenantId,
    /// Its partition.
    pub partition: Partition,
    /// What kept failing.
    pub reason: String,
    /// What it said last.
    pub error: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is released by itself.
    pub until: Timestamp,
}

/// A tenant whose actors kept failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineWish {
    /// Which.
    pub tenant: TenantId,
    /// Its partition.
    pub partition: Partition,
    /// The epoch under which this owner works.
    pub epoch: Epoch,
    /// What kept failing.
    pub reason: String,
    /// What it said last.
    pub error: String,
}

/// Where quarantines are kept. The row is the truth: it outlives nodes, and every owner of the tenant respects it.
pub trait Quarantine: Send + Sync + 'static {
    /// Puts a tenant in quarantine and pauses its running campaigns, in one step. A tenant that is there already stays
    /// there as it is. Nothing happens, and there is no row, where a later owner has taken the tenant over.
    fn enter(&self, wish: QuarantineWish) -> Answer<Result<Option<QuarantineRow>, Unavailable>>;
    /// Releases those whose time is over, with their campaigns, and gives all that are left, of any partition.
    fn look(&self) -> Answer<Result<Vec<QuarantineRow>, Unavailable>>;
}

/// Tenants in quarantine, as far as this node knows.
#[derive(Debug, Default)]
pub(crate) struct Quarantines {
    known: HashMap<TenantId, Known>,
    looked_at: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    row: QuarantineRow,
    /// When its row was written or read; none while only this node knows.
    stored_at: Option<Instant>,
}

impl Quarantines {
    /// Tells whether a tenant is in quarantine.
    pub(crate) fn holds(&self, tenant: TenantId) -> bool {
        self.known.contains_key(&tenant)
    }

    /// Tells when the rows were last asked for.
    pub(crate) const fn looked_at(&self) -> Option<Instant> {
        self.looked_at
    }

    /// Puts a tenant in quarantine here, before its row says so.
    pub(crate) fn decide(&mut self, row: QuarantineRow) {
        let known = Known { row, stored_at: None };
        self.known.insert(known.row.tenant, known);
    }

    /// What was decided here is in its row now; or is not, because a later owner decides about the tenant.
    pub(crate) fn stored(&mut self, tenant: TenantId, row: Option<QuarantineRow>, now: Instant) {
        match row {
            Some(row) => {
                let stored_at = Some(now);
                self.known.insert(tenant, Known { row, stored_at });
            }
            None => drop(self.known.remove(&tenant)),
        }
    }

    /// These are all rows, asked for at `asked_at`. What was stored since then may be missing among them and stays.
    pub(crate) fn heard(&mut self, rows: Vec<QuarantineRow>, asked_at: Instant) {
        self.looked_at = Some(asked_at);
        self.known
            .retain(|_, known| known.stored_at.is_none_or(|at| at >= asked_at));
        for row in rows {
            let fresh = Known {
                row,
                stored_at: Some(asked_at),
            };
            self.known.entry(fresh.row.tenant).or_insert(fresh);
        }
    }

    /// Gives those of the partitions that `owned` names, by their ids.
    pub(crate) fn of(&self, owned: impl Fn(Partition) -> bool) -> Vec<&QuarantineRow> {
        let rows = self.known.values().map(|known| &known.row);
        let mut rows: Vec<_> = rows.filter(|row| owned(row.partition)).collect();
        rows.sort_unstable_by_key(|row| row.tenant);
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn row(number: u128) -> QuarantineRow {
        QuarantineRow {
            tenant: TenantId(Uuid::from_u128(number)),
            partition: Partition(3),
            reason: "send_queue keeps failing".to_owned(),
            error: "on demand".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_row_that_is_gone_ends_a_quarantine_and_a_new_one_begins_it() {
        let (mut quarantines, start) = (Quarantines::default(), Instant::now());
        quarantines.heard(vec![row(1)], start);
        assert!(quarantines.holds(row(1).tenant));
        quarantines.heard(vec![row(2)], start + Duration::from_secs(1));
        assert!(!quarantines.holds(row(1).tenant));
        assert!(quarantines.holds(row(2).tenant));
    }

    #[test]
    fn an_answer_from_before_the_decision_does_not_undo_it() {
        let (mut quarantines, start) = (Quarantines::default(), Instant::now());
        let later = start + Duration::from_millis(5);
        quarantines.decide(row(1));
        quarantines.heard(Vec::new(), start);
        assert!(quarantines.holds(row(1).tenant), "it is not stored yet");
        quarantines.stored(row(1).tenant, Some(row(1)), later);
        quarantines.heard(Vec::new(), start);
        assert!(
            quarantines.holds(row(1).tenant),
            "it was stored after the question"
        );
        quarantines.heard(Vec::new(), later + Duration::from_secs(1));
        assert!(!quarantines.holds(row(1).tenant), "it was released");
    }

    #[test]
    fn where_a_later_owner_decides_nothing_is_held() {
        let mut quarantines = Quarantines::default();
        quarantines.decide(row(1));
        quarantines.stored(row(1).tenant, None, Instant::now());
        assert!(!quarantines.holds(row(1).tenant));
    }

    #[test]
    fn only_those_of_own_partitions_are_shown() {
        let mut quarantines = Quarantines::default();
        quarantines.heard(vec![row(2), row(1)], Instant::now());
        assert!(quarantines.of(|partition| partition == Partition(4)).is_empty());
        let shown = quarantines.of(|partition| partition == Partition(3));
        assert_eq!(shown, [&row(1), &row(2)]);
    }
}
