//! Rate limits as arithmetic on nanoseconds: GCRA for numbers and pairs, and a rate that listens to Meta.
//!
//! GCRA (generic cell rate algorithm, ITU-T I.371): each permit moves the theoretical arrival time one emission interval
//! on; a permit is free while that time is at most the tolerance ahead of now. `now` counts nanoseconds from any fixed
//! moment of the caller's choice.

use std::collections::HashMap;

use crate::recipient::Recipient;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;
/// Meta's pair limit: one message to the same recipient in six seconds ...
pub const PAIR_INTERVAL_NS: u64 = 6 * SECOND;
/// ... of which 45 may be borrowed (Meta's throughput page, copy of 2026-05-21).
pub const PAIR_BURST: u64 = 45;
/// Pairs remembered at most; beyond it the oldest are forgotten, which can only let a message through early.
pub const PAIRS_REMEMBERED: usize = 100_000;

/// One limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    interval: u64,
    tolerance: u64,
    arrival: u64,
}

impl Gcra {
    /// Makes a limiter with one permit each `interval` nanoseconds and `burst` permits (at least one) at once. It starts full
    /// at time zero.
    pub const fn new(interval: u64, burst: u64) -> Self {
        let burst = if burst == 0 { 1 } else { burst };
        Self {
            interval,
            tolerance: interval * (burst - 1),
            arrival: 0,
        }
    }

    /// Makes it start at `now` with no burst to spend.
    pub const fn empty_at(mut self, now: u64) -> Self {
        self.arrival = now + self.tolerance;
        self
    }

    /// Takes up to `wanted` permits and tells how many there were.
    pub fn take_up_to(&mut self, now: u64, wanted: u64) -> u64 {
        let arrival = self.arrival.max(now);
        let ahead = arrival - now;
        if ahead > self.tolerance {
            return 0;
        }
        let free = (self.tolerance - ahead) / self.interval + 1;
        let taken = free.min(wanted);
        self.arrival = arrival + taken * self.interval;
        taken
    }

    /// Tells how many nanoseconds are left until the next permit.
    pub const fn next_free_in(&self, now: u64) -> u64 {
        self.arrival.saturating_sub(now).saturating_sub(self.tolerance)
    }

    /// Changes the interval and keeps what has been spent.
    pub const fn set_interval(&mut self, interval: u64, burst: u64) {
        let burst = if burst == 0 { 1 } else { burst };
        self.interval = interval;
        self.tolerance = interval * (burst - 1);
    }

    /// Gives the theoretical arrival time, to be stored.
    pub const fn arrival(&self) -> u64 {
        self.arrival
    }

    /// Goes on from a stored arrival time, if that is later than the present one.
    pub fn resume_at(&mut self, arrival: u64) {
        self.arrival = self.arrival.max(arrival);
    }
}

/// The pair limits of one number.
#[derive(Debug, Default)]
pub struct PairLimiter {
    pairs: HashMap<Recipient, Gcra>,
}

impl PairLimiter {
    /// Takes a permit for the recipient, or tells how many nanoseconds are left until there is one.
    ///
    /// # Errors
    /// The wait, when there is no permit now.
    pub fn take(&mut self, recipient: &Recipient, now: u64) -> Result<(), u64> {
        if self.pairs.len() >= PAIRS_REMEMBERED && !self.pairs.contains_key(recipient) {
            self.pairs.retain(|_, limiter| limiter.arrival > now);
            if self.pairs.len() >= PAIRS_REMEMBERED {
                self.pairs.clear();
            }
        }
        let fresh = Gcra::new(PAIR_INTERVAL_NS, PAIR_BURST);
        let limiter = self.pairs.entry(recipient.clone()).or_insert(fresh);
        match limiter.take_up_to(now, 1) {
            0 => Err(limiter.next_free_in(now)),
            _ => Ok(()),
        }
    }
}

/// A number's rate in thousandths of a message a second: it falls when Meta throttles and climbs back (AIMD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveRate {
    ceiling: u64,
    present: u64,
    changed_at: u64,
}

impl AdaptiveRate {
    /// Starts at the number's full rate.
    pub const fn new(messages_per_second: u32, now: u64) -> Self {
        let ceiling = messages_per_second as u64 * 1_000;
        Self {
            ceiling,
            present: ceiling,
            changed_at: now,
        }
    }

    /// Falls to seven tenths, at most once a second, never below one message a second.
    pub fn throttled(&mut self, now: u64) {
        if now.saturating_sub(self.changed_at) < SECOND && self.present < self.ceiling {
            return;
        }
        self.present = (self.present * 7 / 10).max(1_000);
        self.changed_at = now;
    }

    /// Climbs by a twentieth of the full rate for each quiet second since the last change.
    pub fn climb(&mut self, now: u64) {
        let seconds = now.saturating_sub(self.changed_at) / SECOND;
        if seconds == 0 || self.present == self.ceiling {
            return;
        }
        self.present = (self.present + seconds * (self.ceiling / 20).max(1)).min(self.ceiling);
        self.changed_at += seconds * SECOND;
    }

    /// Goes on from a stored rate.
    pub fn resume_at(&mut self, milli_messages: u64, now: u64) {
        self.present = milli_messages.clamp(1_000, self.ceiling);
        self.changed_at = now;
    }

    /// Takes over a new full rate; a present rate that was full stays full.
    pub fn set_ceiling(&mut self, messages_per_second: u32) {
        let ceiling = u64::from(messages_per_second) * 1_000;
        self.present = if self.present == self.ceiling {
            ceiling
        } else {
            self.present.min(ceiling)
        };
        self.ceiling = ceiling;
    }

    /// Gives the present rate, in thousandths of a message a second.
    pub const fn present(&self) -> u64 {
        self.present
    }

    /// Gives the time between two messages at the present rate, in nanoseconds.
    pub const fn interval(&self) -> u64 {
        SECOND * 1_000 / self.present
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_followed_by_one_permit_an_interval() {
        let mut limiter = Gcra::new(SECOND / 10, 3);
        assert_eq!(limiter.take_up_to(0, 10), 3);
        assert_eq!(limiter.take_up_to(0, 1), 0);
        assert_eq!(limiter.next_free_in(0), SECOND / 10);
        assert_eq!(limiter.take_up_to(SECOND / 10, 10), 1);
    }

    #[test]
    fn an_empty_start_has_no_burst() {
        let mut limiter = Gcra::new(SECOND, 5).empty_at(100 * SECOND);
        assert_eq!(limiter.take_up_to(100 * SECOND, 5), 1);
        assert_eq!(limiter.take_up_to(100 * SECOND, 5), 0);
    }

    #[test]
    fn metas_pair_limit_lends_45_and_then_asks_six_seconds_each() {
        let mut pairs = PairLimiter::default();
        let recipient: Recipient = "+5511987654321".parse().expect("a phone number");
        (0..45).for_each(|_| pairs.take(&recipient, 0).expect("within the burst"));
        assert_eq!(pairs.take(&recipient, 0), Err(PAIR_INTERVAL_NS));
        pairs
            .take(&recipient, PAIR_INTERVAL_NS)
            .expect("after six seconds");
    }

    #[test]
    fn the_rate_falls_once_a_second_and_climbs_back() {
        let mut rate = AdaptiveRate::new(100, 0);
        rate.throttled(SECOND);
        rate.throttled(SECOND + 1);
        assert_eq!(rate.present(), 70_000);
        rate.climb(3 * SECOND);
        assert_eq!(rate.present(), 80_000);
        rate.climb(60 * SECOND);
        assert_eq!(rate.present(), 100_000);
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_burst_and_its_rate(
            steps in proptest::collection::vec((0_u64..SECOND, 1_u64..20), 1..60),
            per_second in 1_u64..1_000,
            burst in 1_u64..100,
        ) {
            let mut limiter = Gcra::new(SECOND / per_second, burst);
            let (mut now, mut taken) = (0, 0);
            for (pause, wanted) in steps {
                now += pause;
                taken += limiter.take_up_to(now, wanted);
                prop_assert!(taken <= burst + now / (SECOND / per_second));
            }
        }
    }
}
