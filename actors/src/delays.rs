//! Jittered exponential waits. The only file that uses the crate `backoff`, which is no longer maintained.

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use domain::retry::LONGEST_DELAY;

use crate::limits::{DEPENDENCY_FIRST, DEPENDENCY_LONGEST};

/// The share by which a wait is made longer or shorter at random.
const JITTER: f64 = 0.2;

/// Waits that double, without end.
#[derive(Debug)]
pub(crate) struct Delays(ExponentialBackoff);

impl Delays {
    /// Starts with `first` and never waits longer than `longest`, give or take the jitter.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self(
            ExponentialBackoffBuilder::new()
                .with_initial_interval(first)
                .with_max_interval(longest)
                .with_multiplier(2.0)
                .with_randomization_factor(JITTER)
                .with_max_elapsed_time(None)
                .build(),
        )
    }

    /// Gives the waits for a dependency that does not answer.
    pub(crate) fn of_dependency() -> Self {
        Self::new(DEPENDENCY_FIRST, DEPENDENCY_LONGEST)
    }

    /// Gives the next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let longest = self.0.max_interval;
        self.0.next_backoff().unwrap_or(longest)
    }

    /// Starts from the first wait again.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }
}

/// Gives a random number from 0 to 1.
pub(crate) fn jitter() -> f64 {
    // The tail of such an id is random.
    let bytes = uuid::Uuid::now_v7().into_bytes();
    f64::from(u16::from_be_bytes([bytes[14], bytes[15]])) / f64::from(u16::MAX)
}

/// Gives the wait before the next attempt of a message after `counted_before` attempts that counted.
pub(crate) fn before_attempt(first: Duration, counted_before: u32) -> Duration {
    let mut delays = Delays::new(first, LONGEST_DELAY);
    let waits = std::iter::repeat_with(|| delays.next());
    // The waits have reached the longest long before the bound.
    waits
        .take(counted_before.min(32) as usize + 1)
        .last()
        .unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_never_end() {
        let mut delays = Delays::new(Duration::from_millis(100), Duration::from_secs(30));
        let waits: Vec<_> = (0..100).map(|_| delays.next()).collect();
        assert!(waits[0] >= Duration::from_millis(80) && waits[0] <= Duration::from_millis(120));
        assert!(waits[3] >= Duration::from_millis(640) && waits[3] <= Duration::from_millis(960));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(36)));
    }

    #[test]
    fn later_attempts_wait_longer() {
        let first = before_attempt(Duration::from_secs(2), 0);
        let fourth = before_attempt(Duration::from_secs(2), 3);
        assert!(first <= Duration::from_millis(2_400) && fourth >= Duration::from_millis(12_800));
    }
}
