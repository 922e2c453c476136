//! Which plan is in force when. Assignments are only ever added; of two for the same instant the later one counts, so that a change
//! that is still to come is cancelled by assigning again what is in force.

use jiff::Timestamp;

use crate::ids::PlanId;

/// A tenant is put on a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Which plan.
    pub plan: PlanId,
    /// From when.
    pub effective_from: Timestamp,
    /// When it was decided.
    pub created_at: Timestamp,
}

/// Everything that a tenant was ever put on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments(Vec<Assignment>);

impl Assignments {
    /// Takes assignments in any order.
    pub fn new(mut all: Vec<Assignment>) -> Self {
        all.sort_by_key(|one| (one.effective_from, one.created_at));
        let mut kept: Vec<Assignment> = Vec::with_capacity(all.len());
        for one in all {
            match kept.last_mut() {
                Some(last) if last.effective_from == one.effective_from => *last = one,
                _ => kept.push(one),
            }
        }
        Self(kept)
    }

    /// Gives all of them in order, without those that a later one replaced.
    pub fn all(&self) -> impl Iterator<Item = Assignment> {
        self.0.iter().copied()
    }

    /// Gives what is in force at an instant; before the first one, the first one.
    pub fn in_force(&self, at: Timestamp) -> Option<Assignment> {
        let begun = self.0.iter().rfind(|one| one.effective_from <= at);
        begun.or(self.0.first()).copied()
    }

    /// Gives the changes after `after`, up to and including `until`, in order.
    pub fn between(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Assignment> {
        let wanted = move |one: &&Assignment| after < one.effective_from && one.effective_from <= until;
        self.0.iter().filter(wanted).copied()
    }

    /// Gives the next change that is still to come; none where what follows is what is in force.
    pub fn pending(&self, now: Timestamp) -> Option<Assignment> {
        let present = self.in_force(now)?.plan;
        let next = self
            .0
            .iter()
            .find(|one| one.effective_from > now && one.plan != present);
        next.copied()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn assigned(plan: u128, from: i64, created: i64) -> Assignment {
        Assignment {
            plan: PlanId(Uuid::from_u128(plan)),
            effective_from: at(from),
            created_at: at(created),
        }
    }

    #[test]
    fn the_newest_that_has_begun_is_in_force_and_before_the_first_the_first() {
        let all = Assignments::new(vec![assigned(2, 20, 20), assigned(1, 10, 10)]);
        let plan = |second| all.in_force(at(second)).map(|one| one.plan.0.as_u128());
        assert_eq!(
            [plan(5), plan(10), plan(19), plan(20)],
            [Some(1), Some(1), Some(1), Some(2)]
        );
        assert_eq!(Assignments::default().in_force(at(0)), None);
    }

    #[test]
    fn a_change_to_come_is_cancelled_by_what_is_in_force() {
        let scheduled = vec![assigned(1, 10, 10), assigned(2, 100, 20)];
        assert_eq!(
            Assignments::new(scheduled.clone()).pending(at(30)),
            Some(assigned(2, 100, 20))
        );
        let cancelled = [scheduled, vec![assigned(1, 100, 40)]].concat();
        let cancelled = Assignments::new(cancelled);
        assert_eq!(cancelled.pending(at(50)), None);
        assert_eq!(
            cancelled.in_force(at(100)).map(|one| one.plan.0.as_u128()),
            Some(1)
        );
    }
}
