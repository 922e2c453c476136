//! The go-live gate: from what was observed of each control to go or no-go. What is unknown, stale or foreign proves nothing, and a
//! claim is never better than its signature.

use jiff::{SignedDuration, Timestamp};

/// How far ahead a clock of another machine may be.
const CLOCKS_DIFFER_MOST: SignedDuration = SignedDuration::from_mins(5);
/// How long a waiver may count from now on.
const WAIVED_FOR_MOST: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What a control that does not hold means for going live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nobody goes live without it.
    Blocker,
    /// So many may be open, and no more.
    Major,
    /// Told, and no reason to wait.
    Minor,
}

/// To what evidence must belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// To exactly these sources.
    Sources,
    /// To these sources or to a commit that they come from.
    History,
}

/// What is asked of a control.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How much depends on it.
    pub severity: Severity,
    /// Whether a waiver may take its place.
    pub is_waivable: bool,
    /// What its evidence must belong to.
    pub binding: Binding,
    /// How old its evidence may be.
    pub oldest: SignedDuration,
}

/// Where evidence comes from, seen from the commit that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The same sources: nothing but records changed since.
    SameSources,
    /// An earlier commit of the same history.
    Earlier,
    /// Another history, or a commit that nobody knows.
    Foreign,
}

/// What was found of a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Nothing.
    Missing,
    /// Something that cannot be read.
    Unreadable,
    /// A check that was run now.
    Checked {
        /// Whether it held.
        holds: bool,
    },
    /// What an earlier run left.
    Evidence {
        /// Whether that run passed.
        passed: bool,
        /// When it ended.
        finished_at: Timestamp,
        /// What it was run on.
        origin: Origin,
        /// Whether uncommitted changes were part of it.
        is_dirty: bool,
    },
    /// A signature.
    Signed {
        /// Whether it is of the role that must sign, over what must be signed.
        is_valid: bool,
    },
}

/// Why a control does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no evidence.
    Missing,
    /// The evidence cannot be read.
    Unreadable,
    /// The check failed.
    Failed,
    /// The evidence is too old.
    Stale,
    /// The evidence is newer than now.
    FromTheFuture,
    /// The evidence belongs to other sources.
    Foreign,
    /// The evidence holds changes that are in no commit.
    Dirty,
    /// The signature is not the one that is needed.
    BadSignature,
}

impl Fault {
    /// The word for it in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Failed => "failed",
            Self::Stale => "stale",
            Self::FromTheFuture => "from the future",
            Self::Foreign => "foreign",
            Self::Dirty => "dirty",
            Self::BadSignature => "bad signature",
        }
    }
}

/// Somebody's word that a control may be open for a while.
#[derive(Clone, Copy, Debug)]
pub struct Waiver {
    /// Whether it names a reason and an owner.
    pub is_complete: bool,
    /// Until when it counts.
    pub expires_at: Timestamp,
}

/// How a control fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not, and a waiver takes its place.
    Waived(Fault),
    /// It does not.
    Fail(Fault),
}

/// Judges one control.
pub fn judge(terms: Terms, observation: Observation, waiver: Option<Waiver>, now: Timestamp) -> Verdict {
    match fault(terms, observation, now) {
        None => Verdict::Pass,
        Some(fault) if waiver.is_some_and(|waiver| counts(terms, waiver, now)) => Verdict::Waived(fault),
        Some(fault) => Verdict::Fail(fault),
    }
}

fn fault(terms: Terms, observation: Observation, now: Timestamp) -> Option<Fault> {
    match observation {
        Observation::Missing => Some(Fault::Missing),
        Observation::Unreadable => Some(Fault::Unreadable),
        Observation::Checked { holds } => (!holds).then_some(Fault::Failed),
        Observation::Signed { is_valid } => (!is_valid).then_some(Fault::BadSignature),
        Observation::Evidence {
            passed,
            finished_at,
            origin,
            is_dirty,
        } => {
            let age = now.duration_since(finished_at);
            let is_foreign = match origin {
                Origin::SameSources => false,
                Origin::Earlier => terms.binding == Binding::Sources,
                Origin::Foreign => true,
            };
            [
                (!passed, Fault::Failed),
                (is_foreign, Fault::Foreign),
                (is_dirty, Fault::Dirty),
                (age > terms.oldest, Fault::Stale),
                (age < -CLOCKS_DIFFER_MOST, Fault::FromTheFuture),
            ]
            .into_iter()
            .find_map(|(is_so, fault)| is_so.then_some(fault))
        }
    }
}

fn counts(terms: Terms, waiver: Waiver, now: Timestamp) -> bool {
    let left = waiver.expires_at.duration_since(now);
    terms.is_waivable && waiver.is_complete && left > SignedDuration::ZERO && left <= WAIVED_FOR_MOST
}

/// Whether to go live, with at most so many majors open. Without a single blocker nothing was judged, and nobody goes.
pub fn may_go(verdicts: &[(Severity, Verdict)], majors_most: usize) -> bool {
    let open = |wanted: Severity| {
        let fails = |(severity, verdict): &&(Severity, Verdict)| {
            *severity == wanted && matches!(verdict, Verdict::Fail(_))
        };
        verdicts.iter().filter(fails).count()
    };
    let has_blockers = verdicts
        .iter()
        .any(|(severity, _)| *severity == Severity::Blocker);
    has_blockers && open(Severity::Blocker) == 0 && open(Severity::Major) <= majors_most
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        severity: Severity::Blocker,
        is_waivable: true,
        binding: Binding::Sources,
        oldest: SignedDuration::from_hours(24),
    };

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn ago(hours: i64) -> Timestamp {
        now() - SignedDuration::from_hours(hours)
    }

    fn evidence(change: impl FnOnce(&mut bool, &mut Timestamp, &mut Origin, &mut bool)) -> Observation {
        let (mut passed, mut finished_at, mut origin, mut is_dirty) =
            (true, ago(1), Origin::SameSources, false);
        change(&mut passed, &mut finished_at, &mut origin, &mut is_dirty);
        Observation::Evidence {
            passed,
            finished_at,
            origin,
            is_dirty,
        }
    }

    #[track_caller]
    fn check(observation: Observation, wanted: Verdict) {
        assert_eq!(judge(TERMS, observation, None, now()), wanted, "{observation:?}");
    }

    #[test]
    fn only_what_is_fresh_clean_and_ours_proves_anything() {
        check(evidence(|_, _, _, _| {}), Verdict::Pass);
        check(
            evidence(|passed, _, _, _| *passed = false),
            Verdict::Fail(Fault::Failed),
        );
        check(evidence(|_, at, _, _| *at = ago(25)), Verdict::Fail(Fault::Stale));
        check(
            evidence(|_, at, _, _| *at = ago(-1)),
            Verdict::Fail(Fault::FromTheFuture),
        );
        check(
            evidence(|_, _, origin, _| *origin = Origin::Earlier),
            Verdict::Fail(Fault::Foreign),
        );
        check(
            evidence(|_, _, origin, _| *origin = Origin::Foreign),
            Verdict::Fail(Fault::Foreign),
        );
        check(
            evidence(|_, _, _, dirty| *dirty = true),
            Verdict::Fail(Fault::Dirty),
        );
        check(Observation::Missing, Verdict::Fail(Fault::Missing));
        check(Observation::Unreadable, Verdict::Fail(Fault::Unreadable));
        check(Observation::Checked { holds: true }, Verdict::Pass);
        check(
            Observation::Checked { holds: false },
            Verdict::Fail(Fault::Failed),
        );
        check(Observation::Signed { is_valid: true }, Verdict::Pass);
        check(
            Observation::Signed { is_valid: false },
            Verdict::Fail(Fault::BadSignature),
        );
    }

    #[test]
    fn what_belongs_to_the_history_may_be_of_an_earlier_commit_and_of_no_other_history() {
        let terms = Terms {
            binding: Binding::History,
            ..TERMS
        };
        let earlier = evidence(|_, _, origin, _| *origin = Origin::Earlier);
        assert_eq!(judge(terms, earlier, None, now()), Verdict::Pass);
        let foreign = evidence(|_, _, origin, _| *origin = Origin::Foreign);
        assert_eq!(judge(terms, foreign, None, now()), Verdict::Fail(Fault::Foreign));
    }

    #[test]
    fn a_waiver_needs_a_reason_an_owner_and_an_end_that_is_near() {
        let waive = |terms: Terms, is_complete: bool, hours: i64| {
            let waiver = Waiver {
                is_complete,
                expires_at: ago(-hours),
            };
            judge(terms, Observation::Missing, Some(waiver), now())
        };
        let (waived, open) = (Verdict::Waived(Fault::Missing), Verdict::Fail(Fault::Missing));
        assert_eq!(waive(TERMS, true, 24), waived);
        assert_eq!(waive(TERMS, false, 24), open);
        assert_eq!(waive(TERMS, true, 0), open);
        assert_eq!(waive(TERMS, true, 91 * 24), open);
        let never = Terms {
            is_waivable: false,
            ..TERMS
        };
        assert_eq!(waive(never, true, 24), open);
    }

    #[test]
    fn one_open_blocker_is_a_no_and_so_is_nothing_at_all() {
        let (pass, open) = (Verdict::Pass, Verdict::Fail(Fault::Stale));
        let blocker = (Severity::Blocker, pass);
        assert!(!may_go(&[], 0));
        assert!(may_go(&[blocker], 0));
        assert!(may_go(&[(Severity::Blocker, Verdict::Waived(Fault::Stale))], 0));
        assert!(!may_go(&[blocker, (Severity::Blocker, open)], 9));
        assert!(!may_go(&[blocker, (Severity::Major, open)], 0));
        assert!(may_go(&[blocker, (Severity::Major, open)], 1));
        assert!(may_go(&[blocker, (Severity::Minor, open)], 0));
        assert!(!may_go(&[(Severity::Major, pass)], 9));
    }
}
