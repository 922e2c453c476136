//! A canary launch: a small sample of a campaign goes first, and its failures decide whether the rest follows.

use std::time::Duration;

use jiff::Timestamp;

use crate::counts::Counts;
use crate::message::MessageState;
use crate::named::named_states;

/// The largest sample, whatever the percentage says.
pub const MEMBERS_MOST: i64 = 50_000;
/// Failures below which a canary never stops a campaign, unless everything failed: one bad number among ten says little.
pub const LEAST_FAILURES: i64 = 3;

named_states! {
    /// How far a canary is.
    CanaryState, UnknownCanaryState {
        /// Its members are being drawn; nothing leaves.
        Choosing = "choosing",
        /// Its members are being sent, and only they.
        Sending = "sending",
        /// All of them have left; their outcomes are awaited.
        Holding = "holding",
        /// It went well.
        Passed = "passed",
        /// Too much of it failed.
        Failed = "failed",
    }
}

named_states! {
    /// What follows a canary that went well.
    OnSuccess, UnknownOnSuccess {
        /// The rest goes at once.
        Continue = "continue",
        /// The campaign pauses until somebody has looked.
        Wait = "wait",
    }
}

impl CanaryState {
    /// Tells whether only the sample may leave.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Choosing | Self::Sending | Self::Holding)
    }
}

/// A canary that has begun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Canary {
    /// How far it is.
    pub state: CanaryState,
    /// How many messages it has.
    pub size: i64,
    /// How long outcomes are awaited after the last has left.
    pub hold: Duration,
    /// The share of failures that is still well, in percent.
    pub max_failure_percent: f64,
    /// When it is decided at the latest; known once it holds.
    pub decides_at: Option<Timestamp>,
}

/// What became of a canary's messages so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Still to be sent.
    pub to_send: i64,
    /// Left, and not heard of for certain.
    pub awaited: i64,
    /// Failed or dead.
    pub failed: i64,
    /// Arrived.
    pub arrived: i64,
    /// Suppressed or cancelled: never tried.
    pub left_out: i64,
}

impl Tally {
    /// Sums up the states of the members.
    pub fn of(counts: &Counts) -> Self {
        let sum = |states: &[MessageState]| states.iter().map(|state| counts[state]).sum();
        use MessageState as State;
        Self {
            to_send: sum(&[State::Planned, State::Queued, State::Sending]),
            awaited: sum(&[State::Accepted, State::Sent, State::Unknown]),
            failed: sum(&[State::Failed, State::Dead]),
            arrived: sum(&[State::Delivered, State::Read]),
            left_out: sum(&[State::Cancelled, State::Suppressed]),
        }
    }

    /// Gives how many have an outcome.
    pub const fn done(&self) -> i64 {
        self.failed + self.arrived + self.left_out
    }
}

/// What a canary does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// All have left: outcomes are awaited until then.
    Hold(Timestamp),
    /// The rest may follow.
    Pass,
    /// The rest must not follow.
    Fail,
}

/// Gives how many of `total` messages a canary of so many percent has: at least one, at most [`MEMBERS_MOST`].
pub fn sample_size(total: i64, percent: f64) -> i64 {
    let exact = total.max(0) as f64 * percent.clamp(0.0, 100.0) / 100.0;
    let whole = format!("{:.0}", exact.ceil()).parse().unwrap_or(i64::MAX);
    whole.clamp(1, MEMBERS_MOST).min(total.max(0))
}

/// Decides the next step. Too many failures end the canary at once, since failures never become fewer; otherwise it is decided when
/// every outcome is known, or when the hold is over.
pub fn next(canary: &Canary, tally: &Tally, now: Timestamp) -> Step {
    if !matches!(canary.state, CanaryState::Sending | CanaryState::Holding) {
        return Step::Wait;
    }
    if has_failed(canary, tally) {
        return Step::Fail;
    }
    if tally.to_send > 0 {
        return Step::Wait;
    }
    if tally.awaited == 0 {
        return Step::Pass;
    }
    match canary.decides_at {
        Some(at) if at <= now => Step::Pass,
        Some(_) => Step::Wait,
        None => Step::Hold(now.checked_add(canary.hold).unwrap_or(Timestamp::MAX)),
    }
}

fn has_failed(canary: &Canary, tally: &Tally) -> bool {
    let tried = canary.size - tally.left_out;
    let enough = tally.failed >= LEAST_FAILURES || tally.failed == tried;
    let share = tally.failed as f64 * 100.0;
    tally.failed > 0 && enough && share > canary.max_failure_percent * tried as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn canary(size: i64) -> Canary {
        Canary {
            state: CanaryState::Sending,
            size,
            hold: Duration::from_secs(600),
            max_failure_percent: 10.0,
            decides_at: None,
        }
    }

    fn tally(to_send: i64, awaited: i64, failed: i64, arrived: i64) -> Tally {
        Tally {
            to_send,
            awaited,
            failed,
            arrived,
            left_out: 0,
        }
    }

    #[test]
    fn a_sample_is_its_percentage_rounded_up_and_never_empty() {
        assert_eq!(sample_size(1_000, 1.0), 10);
        assert_eq!(sample_size(1_001, 1.0), 11);
        assert_eq!(sample_size(3, 1.0), 1);
        assert_eq!(sample_size(0, 1.0), 0);
        assert_eq!(sample_size(10_000_000, 50.0), MEMBERS_MOST);
    }

    #[test]
    fn it_holds_when_all_have_left_and_passes_when_the_time_is_over() {
        assert_eq!(next(&canary(100), &tally(1, 99, 0, 0), NOW), Step::Wait);
        let Step::Hold(decides_at) = next(&canary(100), &tally(0, 40, 0, 60), NOW) else {
            panic!("it does not hold");
        };
        let holding = Canary {
            state: CanaryState::Holding,
            decides_at: Some(decides_at),
            ..canary(100)
        };
        assert_eq!(next(&holding, &tally(0, 40, 0, 60), NOW), Step::Wait);
        assert_eq!(next(&holding, &tally(0, 0, 10, 90), NOW), Step::Pass, "all known");
        assert_eq!(next(&holding, &tally(0, 40, 0, 60), decides_at), Step::Pass);
    }

    #[test]
    fn too_many_failures_stop_it_at_once() {
        assert_eq!(next(&canary(100), &tally(50, 39, 11, 0), NOW), Step::Fail);
        assert_eq!(next(&canary(100), &tally(50, 40, 10, 0), NOW), Step::Wait);
    }

    #[test]
    fn a_single_failure_says_little_unless_it_is_all() {
        assert_eq!(next(&canary(5), &tally(0, 0, 1, 4), NOW), Step::Pass);
        assert_eq!(next(&canary(1), &tally(0, 0, 1, 0), NOW), Step::Fail);
        assert_eq!(next(&canary(5), &tally(0, 0, 3, 2), NOW), Step::Fail);
    }

    #[test]
    fn who_was_never_tried_does_not_dilute_the_failures() {
        let suppressed = Tally {
            left_out: 90,
            ..tally(0, 0, 3, 7)
        };
        assert_eq!(next(&canary(100), &suppressed, NOW), Step::Fail);
        let nobody = Tally {
            left_out: 100,
            ..tally(0, 0, 0, 0)
        };
        assert_eq!(next(&canary(100), &nobody, NOW), Step::Pass);
    }

    proptest! {
        #[test]
        fn a_decision_never_changes_by_hearing_more_failures(size in 1_i64..500, failed in 0_i64..500, more in 0_i64..500) {
            let failed = failed.min(size);
            let more = (failed + more).min(size);
            let step = |failed: i64| next(&canary(size), &tally(0, size - failed, failed, 0), NOW);
            if step(failed) == Step::Fail {
                prop_assert_eq!(step(more), Step::Fail);
            }
        }
    }
}
