//! When a cell tries again, and when it asks its tenant to decide. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::delays::Delays;
use crate::intensity::Intensity;
use crate::limits::{
    FRUITLESS_MOST, INTENSITY_MOST, INTENSITY_WINDOW, RESTART_FIRST, RESTART_FORGET, RESTART_LONGEST,
};

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Build the state anew after a wait.
    Restart(Duration),
    /// The tenant decides.
    Escalate {
        /// Nothing at all was served well between these failures.
        fruitless: bool,
    },
}

/// What a cell remembers of its failures.
#[derive(Debug)]
pub(crate) struct RestartPolicy {
    intensity: Intensity,
    delays: Delays,
    failed_at: Option<Instant>,
    /// Failures since the last message that was served well.
    fruitless: u32,
}

impl RestartPolicy {
    pub(crate) fn new() -> Self {
        Self {
            intensity: Intensity::new(INTENSITY_MOST, INTENSITY_WINDOW),
            delays: Delays::new(RESTART_FIRST, RESTART_LONGEST),
            failed_at: None,
            fruitless: 0,
        }
    }

    /// A message was served well.
    pub(crate) fn served(&mut self) {
        self.fruitless = 0;
    }

    /// The state was lost. A message that is `buried` is the message's fault: among others that are served well it does not
    /// count against the tenant. But whoever serves nothing well cannot blame its messages.
    pub(crate) fn failed(&mut self, now: Instant, buried: bool) -> Next {
        let quiet = |at: Instant| now.saturating_duration_since(at) > RESTART_FORGET;
        if self.failed_at.is_some_and(quiet) {
            self.delays.reset();
        }
        self.failed_at = Some(now);
        self.fruitless += 1;
        if self.fruitless >= FRUITLESS_MOST {
            return Next::Escalate { fruitless: true };
        }
        if !buried && self.intensity.exceeded_at(now) {
            return Next::Escalate { fruitless: false };
        }
        Next::Restart(self.delays.next())
    }

    /// The tenant starts all its actors anew.
    pub(crate) fn start_over(&mut self) {
        self.intensity.clear();
        self.delays.reset();
        self.fruitless = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::POISON_TRIES;

    const FRUITLESS: Next = Next::Escalate { fruitless: true };

    /// Lets a cell fail on every message; gives how long it takes until it escalates.
    fn fails_on_everything(policy: &mut RestartPolicy, start: Instant) -> Duration {
        let mut now = start;
        for failure in 1.. {
            match policy.failed(now, failure % POISON_TRIES == 0) {
                Next::Restart(wait) => now += wait,
                escalated => {
                    assert_eq!(escalated, FRUITLESS);
                    break;
                }
            }
        }
        now - start
    }

    #[tokio::test(start_paused = true)]
    async fn a_cell_that_serves_nothing_well_escalates_within_two_seconds() {
        let mut policy = RestartPolicy::new();
        let took = fails_on_everything(&mut policy, Instant::now());
        assert!(took < Duration::from_secs(2), "took {took:?}");
        policy.start_over();
        let again = fails_on_everything(&mut policy, Instant::now() + took);
        assert!(again < Duration::from_secs(2), "took {again:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn poison_among_good_messages_never_escalates() {
        let (mut policy, mut now) = (RestartPolicy::new(), Instant::now());
        for _ in 0..20 {
            for tries in 1..=POISON_TRIES {
                let next = policy.failed(now, tries == POISON_TRIES);
                assert!(matches!(next, Next::Restart(_)), "{next:?}");
            }
            policy.served();
            now += INTENSITY_WINDOW / 2;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_failures_in_a_window_escalate_although_some_work_is_done() {
        let (mut policy, now) = (RestartPolicy::new(), Instant::now());
        for _ in 0..INTENSITY_MOST {
            assert!(matches!(policy.failed(now, false), Next::Restart(_)));
            policy.served();
        }
        assert_eq!(policy.failed(now, false), Next::Escalate { fruitless: false });
    }

    #[tokio::test(start_paused = true)]
    async fn good_service_makes_the_first_wait_short_again() {
        let (mut policy, now) = (RestartPolicy::new(), Instant::now());
        let wait_of = |next| match next {
            Next::Restart(wait) => wait,
            escalated @ Next::Escalate { .. } => panic!("{escalated:?}"),
        };
        let first = wait_of(policy.failed(now, false));
        policy.served();
        let second = wait_of(policy.failed(now, false));
        policy.served();
        let later = now + RESTART_FORGET + Duration::from_secs(1);
        let again = wait_of(policy.failed(later, false));
        assert!(first < second && again < second, "{first:?} {second:?} {again:?}");
    }
}
