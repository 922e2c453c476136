//! What becomes of a message whose call failed: again later, failed, or dead.

use std::time::Duration;

use crate::campaign::PauseReason;
use crate::meta_error::{ErrorClass, classify};

/// Attempts that count before a message is dead. Throttles do not count.
pub const ATTEMPTS_MOST: u32 = 5;
/// The wait before the second attempt, unless configured otherwise.
pub const FIRST_DELAY: Duration = Duration::from_secs(2);
/// The longest wait between two attempts.
pub const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// How long a throttled message waits when Meta names no time.
pub const THROTTLE_DELAY: Duration = Duration::from_secs(1);
/// How long a message waits that was held back because its number, template or tenant is stopped.
pub const HELD_DELAY: Duration = Duration::from_secs(30);

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
    /// There was no connection.
    NotSent,
}

/// What an error stops beside the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing.
    Nothing,
    /// The number is slowed down.
    SlowNumber,
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
    /// The error's class, for metrics.
    pub class: ErrorClass,
}

/// Decides what follows a failure. `counted_before` attempts that counted came before this one; `delay` is the jittered
/// exponential wait for a next attempt.
pub fn decide(failure: Failure, counted_before: u32, delay: Duration) -> Decision {
    let (class, asked) = match failure {
        Failure::Refused {
            code,
            transient,
            retry_after,
        } => (classify(code, transient), retry_after),
        Failure::NotSent => (ErrorClass::Transient, None),
    };
    let waits = |least: Duration| asked.unwrap_or(least).max(least);
    let uncounted = |after: Duration| Next::Retry { after, counts: false };
    let (next, stop) = match class {
        ErrorClass::ThrottleNumber => (uncounted(waits(THROTTLE_DELAY)), Stop::SlowNumber),
        ErrorClass::ThrottlePair => (uncounted(waits(delay.max(THROTTLE_DELAY * 6))), Stop::Nothing),
        ErrorClass::ThrottleApp => (uncounted(waits(delay.max(HELD_DELAY))), Stop::Nothing),
        ErrorClass::NumberHold | ErrorClass::NumberFatal => (
            uncounted(waits(HELD_DELAY)),
            Stop::Number(PauseReason::NumberHold),
        ),
        ErrorClass::TenantFatal => (
            uncounted(waits(HELD_DELAY)),
            Stop::Tenant(PauseReason::TokenInvalid),
        ),
        ErrorClass::TemplateFatal => (
            uncounted(waits(HELD_DELAY)),
            Stop::Campaign(PauseReason::TemplatePaused),
        ),
        ErrorClass::RecipientOptedOut => (Next::Failed, Stop::Recipient),
        ErrorClass::RecipientTerminal | ErrorClass::MessageFatal => (Next::Failed, Stop::Nothing),
        ErrorClass::Transient if counted_before + 1 >= ATTEMPTS_MOST => (Next::Dead, Stop::Nothing),
        ErrorClass::Transient => (
            Next::Retry {
                after: waits(delay),
                counts: true,
            },
            Stop::Nothing,
        ),
    };
    Decision { next, stop, class }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: i32) -> Failure {
        Failure::Refused {
            code,
            transient: false,
            retry_after: None,
        }
    }

    #[test]
    fn a_transient_error_is_retried_until_the_last_attempt() {
        let delay = Duration::from_secs(3);
        let first = decide(refused(131_000), 0, delay);
        assert_eq!(
            first.next,
            Next::Retry {
                after: delay,
                counts: true
            }
        );
        assert_eq!(
            decide(refused(131_000), ATTEMPTS_MOST - 1, delay).next,
            Next::Dead
        );
        assert_eq!(
            decide(Failure::NotSent, ATTEMPTS_MOST - 1, delay).next,
            Next::Dead
        );
    }

    #[test]
    fn a_throttle_uses_up_no_attempt_and_slows_the_number() {
        let decision = decide(refused(130_429), 100, Duration::from_secs(600));
        assert_eq!(
            decision.next,
            Next::Retry {
                after: THROTTLE_DELAY,
                counts: false
            }
        );
        assert_eq!(decision.stop, Stop::SlowNumber);
    }

    #[test]
    fn metas_own_wait_is_honoured() {
        let asked = Failure::Refused {
            code: 2,
            transient: true,
            retry_after: Some(Duration::from_secs(90)),
        };
        let decision = decide(asked, 0, Duration::from_secs(2));
        assert_eq!(
            decision.next,
            Next::Retry {
                after: Duration::from_secs(90),
                counts: true
            }
        );
    }

    #[test]
    fn a_dead_token_stops_the_tenant_and_keeps_the_message() {
        let decision = decide(refused(190), 0, Duration::ZERO);
        assert_eq!(decision.stop, Stop::Tenant(PauseReason::TokenInvalid));
        assert!(matches!(decision.next, Next::Retry { counts: false, .. }));
    }
}
