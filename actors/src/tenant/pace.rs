//! The limiters of a tenant's numbers: how fast each sends, to whom it wrote lately, how much of it is on its way. They outlive
//! the incarnations of `RateLimiter`, and start without a burst, so that no crash loop sends faster than Meta allows.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::ids::SenderId;
use domain::in_flight::{bulk_in_flight_most, burst_most, in_flight_most};
use domain::rate_limit::{AdaptiveRate, Gcra, PairKey, PairLimiter};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::limits::{LIMITER_LOAD_EVERY, LIMITER_SAVE_EVERY, PAIRS_STORED_MOST, SENDERS_MOST};
use crate::ports::{SenderLimits, StoredLimiter, Way};

/// All numbers of a tenant, and what its plan allows over all of them.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<Limits>);

#[derive(Debug, Default)]
struct Limits {
    numbers: HashMap<SenderId, Number>,
    plan: Option<Plan>,
}

#[derive(Debug)]
struct Plan {
    messages_per_second: u32,
    gcra: Gcra,
}

/// One number.
#[derive(Debug)]
struct Number {
    gcra: Gcra,
    rate: AdaptiveRate,
    /// Meta's throughput, which bounds what is in flight; the adaptive rate is for a moment only.
    messages_per_second: u32,
    pairs: PairLimiter,
    ways: Vec<Way>,
    used_at: Instant,
    loaded_at: Instant,
    saved_at: Instant,
    changed: bool,
}

impl Paces {
    /// Tells whether the number's limits have been read.
    pub(crate) fn knows(&self, sender: SenderId) -> bool {
        self.limits().numbers.contains_key(&sender)
    }

    /// Takes over what was read of a number.
    pub(crate) fn loaded(&self, sender: SenderId, read: &SenderLimits, clock: Clock) {
        let mut limits = self.limits();
        limits.plan_allows(read.plan_messages_per_second, clock);
        let number = limits.numbers.entry(sender);
        let number = number.or_insert_with(|| Number::new(read, clock));
        number.messages_per_second = read.messages_per_second.max(1);
        number.rate.set_ceiling(number.messages_per_second);
        number.ways.clone_from(&read.ways);
        number.loaded_at = Instant::now();
        number.adapt();
    }

    /// Takes up to so many permits of a number.
    ///
    /// # Errors
    /// The wait, when there is none now.
    pub(crate) fn take(&self, sender: SenderId, now: u64, wanted: usize) -> Result<usize, Duration> {
        let mut limits = self.limits();
        let limits = &mut *limits;
        let Some(number) = limits.numbers.get_mut(&sender) else {
            return Err(LIMITER_SAVE_EVERY);
        };
        number.used_at = Instant::now();
        number.rate.climb(now);
        number.adapt();
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        let free = number.gcra.take_up_to(now, wanted);
        if free == 0 {
            return Err(Duration::from_nanos(number.gcra.next_free_in(now)));
        }
        let allowed = match &mut limits.plan {
            Some(plan) => plan.gcra.take_up_to(now, free),
            None => free,
        };
        number.gcra.give_back(free - allowed);
        number.changed = true;
        match (allowed, &limits.plan) {
            (0, Some(plan)) => Err(Duration::from_nanos(plan.gcra.next_free_in(now))),
            _ => Ok(usize::try_from(allowed).unwrap_or(usize::MAX)),
        }
    }

    /// Slows a number down; gives its new rate in messages a second.
    pub(crate) fn slow_down(&self, sender: SenderId, now: u64) -> Option<u64> {
        let mut limits = self.limits();
        let number = limits.numbers.get_mut(&sender)?;
        number.rate.throttled(now);
        number.adapt();
        number.changed = true;
        Some(number.rate.present() / 1_000)
    }

    /// Lets a number send nothing until a moment.
    pub(crate) fn hold(&self, sender: SenderId, until: u64) {
        if let Some(number) = self.limits().numbers.get_mut(&sender) {
            number.gcra.hold_until(until);
            number.changed = true;
        }
    }

    /// Tells how long it is until the number may send again.
    pub(crate) fn next_free_in(&self, sender: SenderId, now: u64) -> Duration {
        let limits = self.limits();
        let number = limits.numbers.get(&sender);
        Duration::from_nanos(number.map_or(0, |number| number.gcra.next_free_in(now)))
    }

    /// Takes the permit of a pair.
    ///
    /// # Errors
    /// When to come back, if there is none now.
    pub(crate) fn take_pair(&self, sender: SenderId, pair: PairKey, now: u64) -> Result<(), Duration> {
        match self.limits().numbers.get_mut(&sender) {
            Some(number) => number.pairs.take(pair, now).map_err(Duration::from_nanos),
            None => Ok(()),
        }
    }

    /// Gives how many messages of the number may be in flight: of campaigns, and in all.
    pub(crate) fn in_flight_most(&self, sender: SenderId) -> (usize, usize) {
        let limits = self.limits();
        let number = limits.numbers.get(&sender);
        let rate = u64::from(number.map_or(1, |number| number.messages_per_second));
        let most = |most: u64| usize::try_from(most).unwrap_or(usize::MAX);
        (most(bulk_in_flight_most(rate)), most(in_flight_most(rate)))
    }

    /// Gives what the number leaves through.
    pub(crate) fn ways(&self, sender: SenderId) -> Vec<Way> {
        let limits = self.limits();
        let number = limits.numbers.get(&sender);
        number.map(|number| number.ways.clone()).unwrap_or_default()
    }

    /// Gives the states that have changed and are to be stored.
    pub(crate) fn to_store(&self, clock: Clock) -> Vec<(SenderId, StoredLimiter)> {
        let mut limits = self.limits();
        let due = limits.numbers.iter_mut();
        let due = due.filter(|(_, number)| number.changed && number.saved_at.elapsed() >= LIMITER_SAVE_EVERY);
        due.map(|(sender, number)| (*sender, number.store(clock)))
            .collect()
    }

    /// Gives the numbers whose limits were read long ago.
    pub(crate) fn to_load(&self) -> Vec<SenderId> {
        let mut limits = self.limits();
        let due = limits.numbers.iter_mut();
        let due = due.filter(|(_, number)| number.loaded_at.elapsed() >= LIMITER_LOAD_EVERY);
        due.map(|(sender, number)| {
            number.loaded_at = Instant::now();
            *sender
        })
        .collect()
    }

    /// Forgets numbers that were not used lately, when there are too many.
    pub(crate) fn forget_quiet(&self) {
        let mut limits = self.limits();
        if limits.numbers.len() > SENDERS_MOST {
            let used = |number: &Number| number.used_at.elapsed() < LIMITER_LOAD_EVERY;
            limits.numbers.retain(|_, number| used(number));
        }
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    fn plan_allows(&mut self, messages_per_second: Option<u32>, clock: Clock) {
        let Some(rate) = messages_per_second.map(|rate| rate.max(1)) else {
            self.plan = None;
            return;
        };
        let known = self.plan.as_ref().map(|plan| plan.messages_per_second);
        if known != Some(rate) {
            let interval = 1_000_000_000 / u64::from(rate);
            let gcra = Gcra::new(interval, burst_most(u64::from(rate)));
            self.plan = Some(Plan {
                messages_per_second: rate,
                gcra: gcra.empty_at(clock.nanoseconds()),
            });
        }
    }
}

impl Number {
    fn new(read: &SenderLimits, clock: Clock) -> Self {
        let now = clock.nanoseconds();
        let mut rate = AdaptiveRate::new(read.messages_per_second.max(1), now);
        let mut pairs = PairLimiter::default();
        if let Some(stored) = &read.stored {
            rate.resume_at(milli(stored.rate), now);
            let known = stored.pairs.iter();
            pairs.resume_at(known.map(|(pair, arrival)| (*pair, clock.moment_of(*arrival))));
        }
        let mut gcra = Gcra::new(rate.interval(), burst_most(rate.present() / 1_000)).empty_at(now);
        if let Some(stored) = &read.stored {
            gcra.resume_at(clock.moment_of(stored.theoretical_arrival));
        }
        Self {
            gcra,
            rate,
            messages_per_second: read.messages_per_second.max(1),
            pairs,
            ways: read.ways.clone(),
            used_at: Instant::now(),
            loaded_at: Instant::now(),
            saved_at: Instant::now(),
            changed: true,
        }
    }

    fn adapt(&mut self) {
        let burst = burst_most(self.rate.present() / 1_000);
        self.gcra.set_interval(self.rate.interval(), burst);
    }

    fn store(&mut self, clock: Clock) -> StoredLimiter {
        self.changed = false;
        self.saved_at = Instant::now();
        let present = u32::try_from(self.rate.present()).unwrap_or(u32::MAX);
        let pairs = self.pairs.in_debt(clock.nanoseconds(), PAIRS_STORED_MOST);
        StoredLimiter {
            theoretical_arrival: clock.at(self.gcra.arrival()),
            rate: f64::from(present) / 1_000.0,
            pairs: pairs
                .into_iter()
                .map(|(pair, arrival)| (pair, clock.at(arrival)))
                .collect(),
        }
    }
}

/// Gives thousandths; a rate that makes no sense becomes the least.
fn milli(rate: f64) -> u64 {
    let text = format!("{:.0}", (rate * 1_000.0).clamp(0.0, 1e9));
    text.parse().unwrap_or(0)
}
