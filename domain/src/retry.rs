//! What becomes of a message whose call failed: again later, failed, or dead. And what else the failure stops.

use std::time::Duration;

use crate::campaign::PauseReason;
use crate::meta_error::{ErrorClass, attempts_most, classify};

pub use crate::meta_error::ATTEMPTS_MOST;

/// The wait before the second attempt, unless configured otherwise.
pub const FIRST_DELAY: Duration = Duration::from_secs(2);
/// The longest wait between two attempts.
pub const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// How long a throttled message waits when Meta names no time.
pub const THROTTLE_DELAY: Duration = Duration::from_secs(1);
/// How long a message waits that was held back because its number, template or tenant is stopped.
pub const HELD_DELAY: Duration = Duration::from_secs(30);
/// How long a number waits at least while Meta works on it; Meta speaks of a minute at most.
pub const MAINTENANCE_DELAY: Duration = Duration::from_secs(30);
/// How long a template rests that Meta does not take for a while.
pub const TEMPLATE_DELAY: Duration = Duration::from_secs(600);
/// The longest wait that is believed of Meta: a header that says more is a mistake, or somebody else's.
pub const ASKED_LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// How a call failed for certain: nothing of it arrived at Meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Meta answered with its error.
    Refused {
        /// `error.code`.
        code: i32,
        /// `is_transient`, or an HTTP status of 500 and above.
        transient: bool,
        /// The wait that Meta asks for.
        retry_after: Option<Duration>,
    },
    /// There was no connection to Meta.
    Unreachable,
    /// The call was not begun, for a reason of our own; a new attempt may begin after the wait.
    NotBegun {
        /// When that reason is gone.
        after: Duration,
    },
}

/// What is known around a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// Attempts that counted before this one.
    pub counted_before: u32,
    /// Whether the message is of a campaign, which can be paused.
    pub has_campaign: bool,
    /// How long Meta is to be left alone, while it is down for everybody: then no failure counts.
    pub outage: Option<Duration>,
    /// How long the number rests, while Meta refuses everything of the tenant for faults of its own: then they do not count.
    pub rest: Option<Duration>,
    /// The jittered exponential wait for a next attempt.
    pub delay: Duration,
}

/// What an error stops beside the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing.
    Nothing,
    /// The number is slowed down, and sends nothing for a while if Meta names one.
    SlowNumber(Option<Duration>),
    /// The number sends nothing for a while.
    HoldNumber(Duration),
    /// Nothing leaves through the app for a while, whoever's it is.
    HoldApp(Duration),
    /// Nothing leaves from the business account for a while.
    HoldAccount(Duration),
    /// Everything that leaves from the number is paused.
    Number(PauseReason),
    /// The campaign is paused.
    Campaign(PauseReason),
    /// Everything of the tenant is paused.
    Tenant(PauseReason),
    /// The recipient is suppressed.
    Recipient,
}

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A new attempt after a while.
    Retry {
        /// How long from now.
        after: Duration,
        /// Whether the attempt that failed counts.
        counts: bool,
    },
    /// It failed for good.
    Failed,
    /// The last attempt failed.
    Dead,
}

/// A decision about a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of the message.
    pub next: Next,
    /// What else is stopped.
    pub stop: Stop,
    /// The error's class, for metrics; none when the call was not begun.
    pub class: Option<ErrorClass>,
}

/// Decides what follows a failure.
pub fn decide(failure: Failure, around: Circumstances) -> Decision {
    match failure {
        Failure::NotBegun { after } => Decision {
            next: uncounted(after),
            stop: Stop::Nothing,
            class: None,
        },
        Failure::Unreachable => Decision {
            next: uncounted(around.outage.unwrap_or_default().max(around.delay)),
            stop: Stop::Nothing,
            class: Some(ErrorClass::Outage),
        },
        Failure::Refused {
            code,
            transient,
            retry_after,
        } => refused(code, classify(code, transient), retry_after, around),
    }
}

const fn uncounted(after: Duration) -> Next {
    Next::Retry { after, counts: false }
}

fn refused(code: i32, class: ErrorClass, asked: Option<Duration>, around: Circumstances) -> Decision {
    let asked = asked.map(|asked| asked.min(ASKED_LONGEST));
    let at_least = |least: Duration| asked.unwrap_or_default().max(least);
    let held = at_least(HELD_DELAY);
    let (next, stop) = match class {
        ErrorClass::ThrottleNumber => (uncounted(at_least(THROTTLE_DELAY)), Stop::SlowNumber(asked)),
        ErrorClass::ThrottlePair => {
            let wait = at_least(around.delay.max(THROTTLE_DELAY * 6));
            (uncounted(wait), Stop::Nothing)
        }
        ErrorClass::ThrottleApp => (uncounted(held), Stop::HoldApp(held)),
        ErrorClass::ThrottleAccount => (uncounted(held), Stop::HoldAccount(held)),
        ErrorClass::Maintenance => {
            let wait = at_least(MAINTENANCE_DELAY);
            (uncounted(wait), Stop::HoldNumber(wait))
        }
        ErrorClass::NumberHold | ErrorClass::NumberFatal => {
            (uncounted(held), Stop::Number(PauseReason::NumberHold))
        }
        ErrorClass::TenantHold => (uncounted(held), Stop::Tenant(PauseReason::NumberHold)),
        ErrorClass::TenantFatal => (uncounted(held), Stop::Tenant(PauseReason::TokenInvalid)),
        ErrorClass::TemplateHold => of_template(uncounted(at_least(TEMPLATE_DELAY)), class, around),
        ErrorClass::TemplateFatal => of_template(uncounted(held), class, around),
        ErrorClass::RecipientOptedOut => (Next::Failed, Stop::Recipient),
        ErrorClass::RecipientTerminal | ErrorClass::MessageFatal => (Next::Failed, Stop::Nothing),
        ErrorClass::Transient | ErrorClass::Outage => {
            let stop = around.rest.map_or(Stop::Nothing, Stop::HoldNumber);
            (again(code, asked, around), stop)
        }
    };
    Decision {
        next,
        stop,
        class: Some(class),
    }
}

/// A campaign waits for its template; a single message can wait only for what passes by itself.
const fn of_template(wait: Next, class: ErrorClass, around: Circumstances) -> (Next, Stop) {
    match (around.has_campaign, class) {
        (true, _) => (wait, Stop::Campaign(PauseReason::TemplatePaused)),
        (false, ErrorClass::TemplateHold) => (wait, Stop::Nothing),
        (false, _) => (Next::Failed, Stop::Nothing),
    }
}

/// Tries again as often as the code deserves; while Meta is down, for everybody or for the tenant, nothing is used up.
fn again(code: i32, asked: Option<Duration>, around: Circumstances) -> Next {
    let wait = asked.unwrap_or_default().max(around.delay);
    match around.outage.max(around.rest) {
        Some(outage) => uncounted(wait.max(outage)),
        None if around.counted_before + 1 < attempts_most(code) => Next::Retry {
            after: wait,
            counts: true,
        },
        // This code means a malformed message more often than not: a replay would not help.
        None if code == 135_000 => Next::Failed,
        None => Next::Dead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AROUND: Circumstances = Circumstances {
        counted_before: 0,
        has_campaign: true,
        outage: None,
        rest: None,
        delay: Duration::from_secs(3),
    };

    fn refusal(code: i32) -> Failure {
        asked(code, None)
    }

    fn asked(code: i32, seconds: Option<u64>) -> Failure {
        Failure::Refused {
            code,
            transient: false,
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    fn counted(counted_before: u32) -> Circumstances {
        Circumstances {
            counted_before,
            ..AROUND
        }
    }

    #[test]
    fn a_transient_error_is_retried_until_the_last_attempt_of_its_code() {
        for (code, most) in [
            (131_000, 4),
            (131_053, 3),
            (2, ATTEMPTS_MOST),
            (131_016, ATTEMPTS_MOST),
        ] {
            let again = Next::Retry {
                after: AROUND.delay,
                counts: true,
            };
            assert_eq!(decide(refusal(code), counted(most - 2)).next, again, "{code}");
            assert_eq!(
                decide(refusal(code), counted(most - 1)).next,
                Next::Dead,
                "{code}"
            );
        }
        assert_eq!(decide(refusal(135_000), counted(1)).next, Next::Failed);
    }

    #[test]
    fn no_class_but_the_transient_ones_uses_up_an_attempt() {
        for code in [
            130_429, 131_056, 4, 80_007, 131_057, 131_048, 33, 131_064, 190, 132_000, 134_101,
        ] {
            let next = decide(refusal(code), counted(100)).next;
            assert!(
                matches!(next, Next::Retry { counts: false, .. }),
                "{code}: {next:?}"
            );
        }
    }

    #[test]
    fn each_class_stops_its_own_scope_only() {
        let stops = [
            (130_429, Stop::SlowNumber(None)),
            (131_056, Stop::Nothing),
            (4, Stop::HoldApp(HELD_DELAY)),
            (80_007, Stop::HoldAccount(HELD_DELAY)),
            (131_057, Stop::HoldNumber(MAINTENANCE_DELAY)),
            (131_048, Stop::Number(PauseReason::NumberHold)),
            (131_064, Stop::Tenant(PauseReason::NumberHold)),
            (190, Stop::Tenant(PauseReason::TokenInvalid)),
            (132_015, Stop::Campaign(PauseReason::TemplatePaused)),
            (134_101, Stop::Campaign(PauseReason::TemplatePaused)),
            (131_050, Stop::Recipient),
            (131_026, Stop::Nothing),
            (100, Stop::Nothing),
            (131_000, Stop::Nothing),
            (2, Stop::Nothing),
        ];
        for (code, stop) in stops {
            assert_eq!(decide(refusal(code), AROUND).stop, stop, "{code}");
        }
    }

    #[test]
    fn a_capped_recipient_is_never_retried_whatever_meta_asks() {
        assert_eq!(decide(asked(131_049, Some(60)), AROUND).next, Next::Failed);
        assert!(!ErrorClass::RecipientTerminal.is_safe_to_replay());
    }

    #[test]
    fn a_single_message_does_not_wait_for_a_template_that_nobody_watches() {
        let single = Circumstances {
            has_campaign: false,
            ..AROUND
        };
        assert_eq!(decide(refusal(132_001), single).next, Next::Failed);
        let wait = decide(refusal(134_101), single);
        assert_eq!((wait.next, wait.stop), (uncounted(TEMPLATE_DELAY), Stop::Nothing));
    }

    #[test]
    fn metas_own_wait_is_honoured_by_the_message_and_by_its_scope() {
        let wait = Duration::from_secs(90);
        let number = decide(asked(130_429, Some(90)), AROUND);
        assert_eq!(
            (number.next, number.stop),
            (uncounted(wait), Stop::SlowNumber(Some(wait)))
        );
        let app = decide(asked(4, Some(90)), AROUND);
        assert_eq!((app.next, app.stop), (uncounted(wait), Stop::HoldApp(wait)));
        let message = decide(asked(131_000, Some(90)), AROUND);
        let again = Next::Retry {
            after: wait,
            counts: true,
        };
        assert_eq!(message.next, again);
        let absurd = decide(asked(4, Some(u64::MAX)), AROUND);
        assert_eq!(absurd.next, uncounted(ASKED_LONGEST));
    }

    #[test]
    fn nothing_is_used_up_while_the_number_rests_and_it_rests_for_metas_faults_alone() {
        let rest = Duration::from_secs(8);
        let resting = Circumstances {
            counted_before: 100,
            rest: Some(rest),
            ..AROUND
        };
        for code in [2, 131_000] {
            let decision = decide(refusal(code), resting);
            assert_eq!(
                (decision.next, decision.stop),
                (uncounted(rest), Stop::HoldNumber(rest))
            );
        }
        assert_eq!(decide(refusal(131_026), resting).stop, Stop::Nothing);
    }

    #[test]
    fn nothing_is_used_up_while_meta_is_down_or_when_the_call_was_not_begun() {
        let outage = Duration::from_secs(20);
        let down = Circumstances {
            counted_before: 100,
            outage: Some(outage),
            ..AROUND
        };
        for failure in [refusal(2), refusal(131_000), Failure::Unreachable] {
            assert_eq!(decide(failure, down).next, uncounted(outage));
        }
        assert_eq!(
            decide(Failure::Unreachable, counted(100)).next,
            uncounted(AROUND.delay)
        );
        let own = decide(Failure::NotBegun { after: outage }, counted(100));
        assert_eq!((own.next, own.class), (uncounted(outage), None));
    }
}
