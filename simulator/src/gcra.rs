//! The generic cell rate algorithm: one number of state per limited thing.

use std::time::Duration;

/// A limit: one cell per `interval`, with `burst` cells allowed at once after a pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    interval_ns: u64,
    burst: u64,
}

impl Quota {
    /// One cell per `interval`, `burst` at once. A zero interval limits nothing.
    pub(crate) fn every(interval: Duration, burst: u32) -> Self {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self {
            interval_ns,
            burst: u64::from(burst.max(1)),
        }
    }

    /// `rate` cells per second, one second's worth at once. A zero rate limits nothing.
    pub(crate) fn per_second(rate: u32) -> Self {
        let interval_ns = 1_000_000_000u64.checked_div(u64::from(rate)).unwrap_or(0);
        Self {
            interval_ns,
            burst: u64::from(rate.max(1)),
        }
    }
}

/// The theoretical arrival time of the next cell, in nanoseconds since the simulator started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gcra {
    arrival_ns: u64,
}

impl Gcra {
    /// Says whether one more cell would fit at `now_ns`.
    pub(crate) fn fits(&self, now_ns: u64, quota: Quota) -> bool {
        let tolerance_ns = quota.interval_ns.saturating_mul(quota.burst - 1);
        quota.interval_ns == 0 || self.arrival_ns <= now_ns.saturating_add(tolerance_ns)
    }

    /// Takes one cell if it fits.
    pub(crate) fn take(&mut self, now_ns: u64, quota: Quota) -> bool {
        let fits = self.fits(now_ns, quota);
        if fits {
            self.arrival_ns = self.arrival_ns.max(now_ns).saturating_add(quota.interval_ns);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_second_takes_its_rate_and_the_next_one_again() {
        let (mut bucket, quota) = (Gcra::default(), Quota::per_second(10));
        assert_eq!((0..20).filter(|_| bucket.take(SECOND_NS, quota)).count(), 10);
        assert_eq!((0..20).filter(|_| bucket.take(2 * SECOND_NS, quota)).count(), 10);
    }

    #[test]
    fn no_limit_takes_all_even_when_the_clock_is_read_out_of_order() {
        let (mut bucket, quota) = (Gcra::default(), Quota::per_second(0));
        assert!(bucket.take(SECOND_NS, quota));
        assert!(bucket.take(SECOND_NS - 1, quota));
    }

    #[test]
    fn a_pair_may_burst_45_and_then_waits_six_seconds() {
        let (mut pair, quota) = (Gcra::default(), Quota::every(Duration::from_secs(6), 45));
        assert_eq!((0..50).filter(|_| pair.take(0, quota)).count(), 45);
        assert!(!pair.take(5 * SECOND_NS, quota));
        assert!(pair.take(6 * SECOND_NS, quota));
    }

    #[test]
    fn zero_means_no_limit() {
        let mut bucket = Gcra::default();
        assert!((0..1000).all(|_| bucket.take(0, Quota::per_second(0))));
    }
}
