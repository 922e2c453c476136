//! Counts failures in a sliding window.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How many failures a window may hold.
#[derive(Debug)]
pub(crate) struct Intensity {
    most: usize,
    window: Duration,
    failures: VecDeque<Instant>,
}

impl Intensity {
    /// Allows `most` failures in any `window`.
    pub(crate) const fn new(most: usize, window: Duration) -> Self {
        Self {
            most,
            window,
            failures: VecDeque::new(),
        }
    }

    /// Counts a failure and tells whether that is one too many.
    pub(crate) fn exceeded_at(&mut self, now: Instant) -> bool {
        self.failures
            .retain(|failure| now.saturating_duration_since(*failure) < self.window);
        self.failures.push_back(now);
        self.failures.len() > self.most
    }

    /// Tells whether the window is empty.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        self.failures
            .iter()
            .all(|failure| now.saturating_duration_since(*failure) >= self.window)
    }

    /// Forgets all failures.
    pub(crate) fn clear(&mut self) {
        self.failures.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_failures_are_forgotten() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut intensity = Intensity::new(2, Duration::from_secs(60));
        assert!(!intensity.exceeded_at(at(0)));
        assert!(!intensity.exceeded_at(at(30)));
        assert!(!intensity.exceeded_at(at(61)));
        assert!(intensity.exceeded_at(at(62)));
        assert!(!intensity.is_quiet(at(121)));
        assert!(intensity.is_quiet(at(122)));
    }
}
