//! Messages that may have left or not: how they came to be so, and what a tenant lets be done with them.

use std::time::Duration;

use crate::named::named_states;

named_states! {
    /// What becomes of a message that stays unknown.
    UnknownPolicy, UnknownUnknownPolicy {
        /// It stays, and shows in the balance: the tenant decides.
        Keep = "keep",
        /// It is sent again under a new attempt: it may arrive twice.
        Resend = "resend",
        /// It counts as failed: it may have arrived all the same.
        Fail = "fail",
    }
}

named_states! {
    /// Why it is not known whether a message left.
    UnknownCause, UnknownUnknownCause {
        /// Meta did not answer in time.
        NoAnswer = "no_answer",
        /// The connection was lost after the request may have left.
        ConnectionLost = "connection_lost",
        /// An answer came without an error code of Meta, from a gateway perhaps.
        Unreadable = "unreadable",
        /// The task that made the call panicked.
        Panicked = "panicked",
        /// Its owner was gone before it had stored an outcome.
        OwnerGone = "owner_gone",
    }
}

named_states! {
    /// By what an unknown message was settled.
    SettledBy, UnknownSettledBy {
        /// A status webhook that named its attempt.
        Webhook = "webhook",
        /// Meta's message history.
        History = "history",
        /// The tenant's policy sent it again.
        PolicyResend = "policy_resend",
        /// The tenant's policy gave it up.
        PolicyFail = "policy_fail",
        /// Somebody had it sent again.
        HandResend = "hand_resend",
        /// Somebody gave it up.
        HandFail = "hand_fail",
    }
}

/// The shortest time after which a policy may act: statuses usually come within seconds, and a resend that they would have
/// made needless is a duplicate.
pub const POLICY_AFTER_LEAST: Duration = Duration::from_secs(5);
/// The longest.
pub const POLICY_AFTER_LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What is known of an unknown message when its settlement is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The tenant's policy.
    pub policy: UnknownPolicy,
    /// After what time the policy acts; never if there is none.
    pub policy_after: Option<Duration>,
    /// What somebody of the tenant asked for, about this very message.
    pub by_hand: Option<UnknownPolicy>,
    /// How long the message has been unknown.
    pub unknown_for: Duration,
    /// Whether its campaign was cancelled: then nothing of it is sent any more.
    pub is_cancelled: bool,
}

/// Decides how an unknown message is settled without evidence, if at all. What somebody asks for comes before the policy.
pub fn settle(doubt: Doubt) -> Option<SettledBy> {
    let is_due = doubt.policy_after.is_some_and(|after| doubt.unknown_for >= after);
    let by_policy = if is_due { doubt.policy } else { UnknownPolicy::Keep };
    match (doubt.by_hand.unwrap_or(by_policy), doubt.by_hand.is_some()) {
        (UnknownPolicy::Keep, _) => None,
        (UnknownPolicy::Resend, _) if doubt.is_cancelled => None,
        (UnknownPolicy::Resend, true) => Some(SettledBy::HandResend),
        (UnknownPolicy::Resend, false) => Some(SettledBy::PolicyResend),
        (UnknownPolicy::Fail, true) => Some(SettledBy::HandFail),
        (UnknownPolicy::Fail, false) => Some(SettledBy::PolicyFail),
    }
}

impl SettledBy {
    /// Tells whether the message is sent again.
    pub const fn resends(self) -> bool {
        matches!(self, Self::PolicyResend | Self::HandResend)
    }

    /// Gives the source under which the evidence is stored.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Webhook => "meta",
            Self::History => "history",
            Self::PolicyResend | Self::PolicyFail => "policy",
            Self::HandResend | Self::HandFail => "hand",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    const KEPT: Doubt = Doubt {
        policy: UnknownPolicy::Keep,
        policy_after: Some(HOUR),
        by_hand: None,
        unknown_for: Duration::from_secs(10 * 3_600),
        is_cancelled: false,
    };

    #[test]
    fn nothing_is_decided_without_a_policy_or_before_its_time() {
        assert_eq!(settle(KEPT), None);
        let resend = Doubt {
            policy: UnknownPolicy::Resend,
            ..KEPT
        };
        assert_eq!(settle(resend), Some(SettledBy::PolicyResend));
        let early = Doubt {
            unknown_for: HOUR - Duration::from_nanos(1),
            ..resend
        };
        assert_eq!(settle(early), None);
        let never = Doubt {
            policy_after: None,
            ..resend
        };
        assert_eq!(settle(never), None);
    }

    #[test]
    fn a_hand_comes_before_the_policy_and_its_time() {
        let by_hand = Doubt {
            policy: UnknownPolicy::Resend,
            by_hand: Some(UnknownPolicy::Fail),
            unknown_for: Duration::ZERO,
            ..KEPT
        };
        assert_eq!(settle(by_hand), Some(SettledBy::HandFail));
        let kept = Doubt {
            by_hand: Some(UnknownPolicy::Keep),
            unknown_for: 10 * HOUR,
            ..by_hand
        };
        assert_eq!(settle(kept), None);
    }

    #[test]
    fn nothing_of_a_cancelled_campaign_is_sent_again() {
        let cancelled = Doubt {
            policy: UnknownPolicy::Resend,
            by_hand: Some(UnknownPolicy::Resend),
            is_cancelled: true,
            ..KEPT
        };
        assert_eq!(settle(cancelled), None);
        let failed = Doubt {
            by_hand: Some(UnknownPolicy::Fail),
            ..cancelled
        };
        assert_eq!(settle(failed), Some(SettledBy::HandFail));
    }
}
