//! Grants leases of permits to `SendQueue`, number by number: GCRA at a rate that falls when Meta throttles. Its state
//! outlives it in the limiter's store; losing that costs a moment of speed, never a burst.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::ids::SenderId;
use domain::rate_limit::{AdaptiveRate, Gcra};
use tokio::time::Instant;

use crate::cell::{Behaviour, Fault};
use crate::clock::Clock;
use crate::limits::{BURST, LEASE_WAIT_LEAST, LIMITER_LOAD_EVERY, LIMITER_SAVE_EVERY, SENDERS_MOST};
use crate::metrics::Kind;
use crate::ports::{SenderLimits, StoredLimiter};
use crate::tenant::send_queue::SendMessage;
use crate::tenant::{World, until_available};

/// What `RateLimiter` is told.
#[derive(Debug)]
pub(crate) enum LimiterMessage {
    /// `SendQueue` wants up to so many permits; it waits for one answer.
    Lease { sender: SenderId, wanted: usize },
    /// A number's limits were read.
    Loaded { sender: SenderId, limits: SenderLimits },
    /// A number may have permits again.
    Due(SenderId),
    /// Meta throttles the number.
    Throttled(SenderId),
    /// A second has passed.
    Tick,
}

/// One number's limiter.
#[derive(Debug)]
struct Number {
    gcra: Gcra,
    rate: AdaptiveRate,
    loaded_at: Instant,
    saved_at: Instant,
    changed: bool,
}

/// A number, from the first wish on.
#[derive(Debug, Default)]
struct Entry {
    number: Option<Number>,
    wanted: usize,
    timer: bool,
}

/// The tenant's limiter.
pub(crate) struct RateLimiter {
    world: Arc<World>,
    entries: HashMap<SenderId, Entry>,
}

impl Behaviour for RateLimiter {
    type Message = LimiterMessage;
    type Recipe = Arc<World>;
    const KIND: Kind = Kind::RateLimiter;

    async fn recover(world: Arc<World>) -> Result<Self, Fault> {
        world.send_queue.tell(SendMessage::LeasesLost);
        Ok(Self {
            world,
            entries: HashMap::new(),
        })
    }

    fn handle(&mut self, message: &mut Option<LimiterMessage>) -> Result<(), Fault> {
        match message.take() {
            Some(LimiterMessage::Lease { sender, wanted }) => self.lease(sender, wanted),
            Some(LimiterMessage::Loaded { sender, limits }) => self.loaded(sender, &limits),
            Some(LimiterMessage::Due(sender)) => {
                if let Some(entry) = self.entries.get_mut(&sender) {
                    entry.timer = false;
                }
                self.grant(sender);
            }
            Some(LimiterMessage::Throttled(sender)) => self.throttled(sender),
            Some(LimiterMessage::Tick) => self.tick(),
            None => {}
        }
        Ok(())
    }

    fn bury(_: &Arc<World>, _: LimiterMessage, _: &str) {
        // A lost lease only sends less: `SendQueue` asks again.
    }
}

impl RateLimiter {
    fn lease(&mut self, sender: SenderId, wanted: usize) {
        let known = self.entries.contains_key(&sender);
        self.entries.entry(sender).or_default().wanted = wanted;
        if known {
            self.grant(sender);
        } else {
            self.load(sender);
        }
    }

    fn load(&self, sender: SenderId) {
        let world = self.world.clone();
        self.world.spawn(async move {
            let (store, tenant) = (&world.shared.ports.limiter, world.tenant());
            let limits = until_available(|| store.load(tenant, sender)).await;
            world.limiter.tell(LimiterMessage::Loaded { sender, limits });
        });
    }

    fn loaded(&mut self, sender: SenderId, limits: &SenderLimits) {
        let clock = self.world.shared.clock;
        if let Some(entry) = self.entries.get_mut(&sender) {
            match &mut entry.number {
                Some(number) => {
                    number.rate.set_ceiling(limits.messages_per_second.max(1));
                    number.loaded_at = Instant::now();
                }
                None => entry.number = Some(Number::new(limits, clock)),
            }
        }
        self.grant(sender);
    }

    /// Grants what is free of what is wanted, or comes back when something is.
    fn grant(&mut self, sender: SenderId) {
        let now = self.world.shared.clock.nanoseconds();
        let Some(entry) = self.entries.get_mut(&sender) else {
            return;
        };
        let Some(number) = &mut entry.number else {
            return;
        };
        if entry.wanted == 0 {
            return;
        }
        let count = number.take(now, entry.wanted);
        if count > 0 {
            entry.wanted = 0;
            self.world.send_queue.tell(SendMessage::Permits { sender, count });
            self.save(sender);
        } else if !entry.timer {
            entry.timer = true;
            let wait = Duration::from_nanos(number.gcra.next_free_in(now)).max(LEASE_WAIT_LEAST);
            let limiter = self.world.limiter.clone();
            self.world.spawn(async move {
                tokio::time::sleep(wait).await;
                limiter.tell(LimiterMessage::Due(sender));
            });
        }
    }

    fn throttled(&mut self, sender: SenderId) {
        let now = self.world.shared.clock.nanoseconds();
        let number = self
            .entries
            .get_mut(&sender)
            .and_then(|entry| entry.number.as_mut());
        if let Some(number) = number {
            number.rate.throttled(now);
            number.adapt();
            number.changed = true;
            tracing::info!(tenant.id = %self.world.tenant(), sender.id = %sender,
                messages_per_second = number.rate.present() / 1_000, "a number is slowed down");
        }
    }

    /// Stores the number's state, at most once in a while.
    fn save(&mut self, sender: SenderId) {
        let clock = self.world.shared.clock;
        let number = self
            .entries
            .get_mut(&sender)
            .and_then(|entry| entry.number.as_mut());
        let Some(number) = number else {
            return;
        };
        if !number.changed || number.saved_at.elapsed() < LIMITER_SAVE_EVERY {
            return;
        }
        number.changed = false;
        number.saved_at = Instant::now();
        let state = number.stored(clock);
        let store = &self.world.shared.ports.limiter;
        self.world.spawn(store.save(self.world.tenant(), sender, state));
    }

    fn tick(&mut self) {
        let senders: Vec<_> = self.entries.keys().copied().collect();
        for sender in senders {
            self.save(sender);
            let entry = self.entries.get_mut(&sender);
            let number = entry.and_then(|entry| entry.number.as_mut());
            if let Some(number) = number
                && number.loaded_at.elapsed() >= LIMITER_LOAD_EVERY
            {
                number.loaded_at = Instant::now();
                self.load(sender);
            }
        }
        if self.entries.len() > SENDERS_MOST {
            self.entries.retain(|_, entry| entry.wanted > 0 || entry.timer);
        }
    }
}

impl Number {
    fn new(limits: &SenderLimits, clock: Clock) -> Self {
        let now = clock.nanoseconds();
        let mut rate = AdaptiveRate::new(limits.messages_per_second.max(1), now);
        let mut gcra = Gcra::new(rate.interval(), 1);
        if let Some(stored) = limits.stored {
            rate.resume_at(milli(stored.rate), now);
            gcra.resume_at(clock.moment_of(stored.theoretical_arrival));
        } else {
            gcra.set_interval(rate.interval(), burst_of(&rate));
            gcra = gcra.empty_at(now);
        }
        let mut number = Self {
            gcra,
            rate,
            loaded_at: Instant::now(),
            saved_at: Instant::now(),
            changed: true,
        };
        number.adapt();
        number
    }

    fn adapt(&mut self) {
        self.gcra.set_interval(self.rate.interval(), burst_of(&self.rate));
    }

    fn take(&mut self, now: u64, wanted: usize) -> usize {
        self.rate.climb(now);
        self.adapt();
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        let count = self.gcra.take_up_to(now, wanted);
        self.changed |= count > 0;
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    fn stored(&self, clock: Clock) -> StoredLimiter {
        let present = u32::try_from(self.rate.present()).unwrap_or(u32::MAX);
        StoredLimiter {
            theoretical_arrival: clock.at(self.gcra.arrival()),
            rate: f64::from(present) / 1_000.0,
        }
    }
}

/// Tells how many permits may be saved up at a rate.
fn burst_of(rate: &AdaptiveRate) -> u64 {
    let burst = u64::try_from(BURST.as_millis()).unwrap_or(0) * rate.present();
    (burst / 1_000_000).max(1)
}

/// Gives thousandths; a rate that makes no sense becomes the least.
fn milli(rate: f64) -> u64 {
    let text = format!("{:.0}", (rate * 1_000.0).clamp(0.0, 1e9));
    text.parse().unwrap_or(0)
}
