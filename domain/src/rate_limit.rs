//! Rate limits as arithmetic on nanoseconds: GCRA for numbers and pairs, and a rate that listens to Meta.
//!
//! GCRA (generic cell rate algorithm, ITU-T I.371): each permit moves the theoretical arrival time one emission interval
//! on; a permit is free while that time is at most the tolerance ahead of now. `now` counts nanoseconds from any fixed
//! moment of the caller's choice.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::recipient::Recipient;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;
/// Meta's pair limit: one message to the same recipient in six seconds ...
pub const PAIR_INTERVAL_NS: u64 = 6 * SECOND;
/// ... of which 45 may be borrowed (Meta's throughput page, copy of 2026-05-21).
pub const PAIR_BURST: u64 = 45;
/// Pairs remembered at most; beyond it all are forgotten, which can only let a message through early.
pub const PAIRS_REMEMBERED: usize = 100_000;
/// Pairs beyond which those that have nothing left of their burst to pay back are looked for and forgotten.
const PAIRS_SWEPT_FROM: usize = 1_024;

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

    /// Makes it start at `now` with no burst to spend: the first permit comes one interval later, so that no number of
    /// restarts adds up to more than the rate.
    pub const fn empty_at(mut self, now: u64) -> Self {
        self.arrival = now + self.tolerance + self.interval;
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

    /// Takes back permits that were not used.
    pub const fn give_back(&mut self, count: u64) {
        self.arrival = self.arrival.saturating_sub(count.saturating_mul(self.interval));
    }

    /// Gives no permit before a moment, and no burst right after it.
    pub fn hold_until(&mut self, moment: u64) {
        self.arrival = self.arrival.max(moment.saturating_add(self.tolerance));
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
    pairs: HashMap<PairKey, Pair>,
    sweep_at: usize,
}

/// One pair.
#[derive(Clone, Copy, Debug)]
struct Pair {
    limiter: Gcra,
    /// Until when its permits are spoken for by messages that were told to come back.
    promised: u64,
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            limiter: Gcra::new(PAIR_INTERVAL_NS, PAIR_BURST),
            promised: 0,
        }
    }
}

/// Stands for a recipient without naming them: limits are stored where no personal data belongs.
pub type PairKey = u64;

/// Gives what a recipient is remembered by.
pub fn pair_key(recipient: &Recipient) -> PairKey {
    let digest = Sha256::digest(recipient.to_string().as_bytes());
    digest
        .iter()
        .take(8)
        .fold(0, |key, byte| key << 8 | u64::from(*byte))
}

impl PairLimiter {
    /// Takes a permit for the recipient, or tells in how many nanoseconds to come back. Each who is sent away is given a time
    /// of their own, so that of many messages to one recipient none comes in vain.
    ///
    /// # Errors
    /// The wait, when there is no permit now.
    pub fn take(&mut self, recipient: PairKey, now: u64) -> Result<(), u64> {
        self.sweep(now);
        let pair = self.pairs.entry(recipient).or_default();
        if pair.limiter.take_up_to(now, 1) > 0 {
            return Ok(());
        }
        let free = pair.promised.max(now + pair.limiter.next_free_in(now));
        pair.promised = free + PAIR_INTERVAL_NS;
        Err(free - now)
    }

    /// Gives up to `most` pairs that have sent several messages lately, with their arrival times, to be stored.
    pub fn in_debt(&self, now: u64, most: usize) -> Vec<(PairKey, u64)> {
        let in_debt = self.pairs.iter();
        let in_debt = in_debt.filter(|(_, pair)| pair.limiter.arrival > now + PAIR_INTERVAL_NS);
        in_debt
            .map(|(key, pair)| (*key, pair.limiter.arrival))
            .take(most)
            .collect()
    }

    /// Goes on from stored arrival times.
    pub fn resume_at(&mut self, pairs: impl IntoIterator<Item = (PairKey, u64)>) {
        for (key, arrival) in pairs {
            self.pairs.entry(key).or_default().limiter.resume_at(arrival);
        }
    }

    fn sweep(&mut self, now: u64) {
        if self.pairs.len() < self.sweep_at.max(PAIRS_SWEPT_FROM) {
            return;
        }
        self.pairs.retain(|_, pair| pair.limiter.arrival > now);
        if self.pairs.len() >= PAIRS_REMEMBERED {
            self.pairs.clear();
        }
        self.sweep_at = self.pairs.len() * 2;
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
        assert_eq!(limiter.take_up_to(101 * SECOND - 1, 5), 0);
        assert_eq!(limiter.take_up_to(101 * SECOND, 5), 1);
        assert_eq!(limiter.take_up_to(101 * SECOND, 5), 0);
    }

    #[test]
    fn a_hold_ends_without_a_burst_and_what_is_given_back_can_be_taken_again() {
        let mut limiter = Gcra::new(SECOND, 5);
        limiter.hold_until(10 * SECOND);
        assert_eq!(limiter.take_up_to(10 * SECOND - 1, 5), 0);
        assert_eq!(limiter.next_free_in(0), 10 * SECOND);
        assert_eq!(limiter.take_up_to(10 * SECOND, 5), 1);
        limiter.give_back(1);
        assert_eq!(limiter.take_up_to(10 * SECOND, 5), 1);
    }

    #[test]
    fn metas_pair_limit_lends_45_and_then_asks_six_seconds_each() {
        let mut pairs = PairLimiter::default();
        let recipient: Recipient = "+5511987654321".parse().expect("a phone number");
        let key = pair_key(&recipient);
        (0..45).for_each(|_| pairs.take(key, 0).expect("within the burst"));
        assert_eq!(pairs.take(key, 0), Err(PAIR_INTERVAL_NS));
        assert_eq!(pairs.take(key, 0), Err(2 * PAIR_INTERVAL_NS), "a time of its own");
        let mut restarted = PairLimiter::default();
        restarted.resume_at(pairs.in_debt(0, 10));
        assert_eq!(restarted.take(key, 0), Err(PAIR_INTERVAL_NS));
        pairs.take(key, PAIR_INTERVAL_NS).expect("after six seconds");
        pairs.take(key + 1, 0).expect("a neighbour");
    }

    #[test]
    fn pairs_that_owe_nothing_are_forgotten() {
        let mut pairs = PairLimiter::default();
        for number in 0..100_000 {
            let now = number * SECOND / 80;
            pairs.take(number, now).expect("each its first");
        }
        assert!(pairs.pairs.len() <= 2 * PAIRS_SWEPT_FROM, "{}", pairs.pairs.len());
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

        /// Each incarnation knows nothing of the ones before it, or no more than was stored at some time.
        #[test]
        fn no_window_holds_more_over_any_schedule_of_crashes(
            steps in proptest::collection::vec((0_u64..SECOND / 2, 1_u64..40, 0_u8..6), 1..120),
            per_second in 1_u64..1_000,
            burst in 1_u64..100,
        ) {
            let interval = SECOND / per_second;
            let mut limiter = Gcra::new(interval, burst).empty_at(0);
            let (mut now, mut stored) = (0, None);
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (pause, wanted, what) in steps {
                now += pause;
                match what {
                    0 => {
                        limiter = Gcra::new(interval, burst).empty_at(now);
                        stored.iter().for_each(|arrival| limiter.resume_at(*arrival));
                    }
                    1 => stored = Some(limiter.arrival()),
                    _ => taken.push((now, limiter.take_up_to(now, wanted))),
                }
            }
            for (first, (from, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (until, count) in &taken[first..] {
                    sum += count;
                    prop_assert!(sum <= burst + (until - from) / interval, "{} in {} ns", sum, until - from);
                }
            }
        }
    }
}
