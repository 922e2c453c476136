//! What a tenant does when one of its children keeps failing. Pure: the time is an argument.

use tokio::time::Instant;

use crate::intensity::Intensity;
use crate::limits::{ESCALATION_WINDOW, ESCALATIONS_MOST, FRUITLESS_ESCALATIONS_MOST, FRUITLESS_WINDOW};

/// What follows from an escalation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// All three children start anew.
    StartAnew,
    /// That does not help: the tenant goes into quarantine.
    Quarantine,
}

/// What a tenant remembers of its children's escalations.
#[derive(Debug)]
pub(crate) struct EscalationPolicy {
    all: Intensity,
    fruitless: Intensity,
}

impl EscalationPolicy {
    pub(crate) const fn new() -> Self {
        Self {
            all: Intensity::new(ESCALATIONS_MOST - 1, ESCALATION_WINDOW),
            fruitless: Intensity::new(FRUITLESS_ESCALATIONS_MOST - 1, FRUITLESS_WINDOW),
        }
    }

    /// A child failed too often; `fruitless` when it served nothing well between its failures.
    pub(crate) fn escalated(&mut self, now: Instant, fruitless: bool) -> Decision {
        let hopeless = fruitless && self.fruitless.exceeded_at(now);
        if self.all.exceeded_at(now) || hopeless {
            Decision::Quarantine
        } else {
            Decision::StartAnew
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_child_that_serves_nothing_is_given_one_new_start() {
        let (mut policy, now) = (EscalationPolicy::new(), Instant::now());
        assert_eq!(policy.escalated(now, true), Decision::StartAnew);
        assert_eq!(
            policy.escalated(now + Duration::from_secs(5), true),
            Decision::Quarantine
        );
    }

    #[tokio::test(start_paused = true)]
    async fn two_bad_moments_far_apart_are_no_reason() {
        let (mut policy, now) = (EscalationPolicy::new(), Instant::now());
        assert_eq!(policy.escalated(now, true), Decision::StartAnew);
        let later = now + FRUITLESS_WINDOW + Duration::from_secs(1);
        assert_eq!(policy.escalated(later, true), Decision::StartAnew);
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_that_works_now_and_then_is_given_up_later() {
        let (mut policy, mut now) = (EscalationPolicy::new(), Instant::now());
        for _ in 1..ESCALATIONS_MOST {
            assert_eq!(policy.escalated(now, false), Decision::StartAnew);
            now += Duration::from_secs(60);
        }
        assert_eq!(policy.escalated(now, false), Decision::Quarantine);
    }
}
