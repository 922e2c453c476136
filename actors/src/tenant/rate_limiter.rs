//! Grants leases of permits to `SendQueue`, number by number, as far as all limits allow: the number's own rate, which falls when
//! Meta throttles, the plan's, the holds of the app and the account, and Meta being there at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::ids::SenderId;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::cell::{Behaviour, Fault};
use crate::limits::{LEASE_WAIT_LEAST, LEASE_WAIT_LONGEST, SENDERS_MOST};
use crate::metrics::Kind;
use crate::ports::SenderLimits;
use crate::tenant::send_queue::SendMessage;
use crate::tenant::{World, until_available};

/// What `RateLimiter` is told.
#[derive(Debug)]
pub(crate) enum LimiterMessage {
    /// `SendQueue` wants up to so many permits; it waits for one answer.
    Lease {
        sender: SenderId,
        wanted: usize,
        /// A single message waits: the very next permit is worth a commit of its own.
        urgent: bool,
    },
    /// A number's limits were read.
    Loaded { sender: SenderId, limits: SenderLimits },
    /// A number may have permits again.
    Due(SenderId),
    /// Meta throttles the number, and asks for a wait perhaps.
    Throttled {
        sender: SenderId,
        wait: Option<Duration>,
    },
    /// The number sends nothing until then.
    Hold { sender: SenderId, until: Timestamp },
    /// A second has passed.
    Tick,
}

/// A number for which permits are wanted, or were.
#[derive(Debug, Default)]
struct Entry {
    wanted: usize,
    urgent: bool,
    loading: bool,
    timer: Option<Instant>,
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
            Some(LimiterMessage::Lease {
                sender,
                wanted,
                urgent,
            }) => {
                let entry = self.entries.entry(sender).or_default();
                (entry.wanted, entry.urgent) = (wanted, urgent);
                self.grant(sender);
            }
            Some(LimiterMessage::Loaded { sender, limits }) => {
                self.world.paces.loaded(sender, &limits, self.world.shared.clock);
                self.entries.entry(sender).or_default().loading = false;
                self.grant(sender);
            }
            Some(LimiterMessage::Due(sender)) => {
                if let Some(entry) = self.entries.get_mut(&sender) {
                    entry.timer = None;
                }
                self.grant(sender);
            }
            Some(LimiterMessage::Throttled { sender, wait }) => self.throttled(sender, wait),
            Some(LimiterMessage::Hold { sender, until }) => {
                let until = self.world.shared.clock.moment_of(until);
                self.world.paces.hold(sender, until);
            }
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
    /// Grants what is free of what is wanted, or comes back when something is.
    fn grant(&mut self, sender: SenderId) {
        let world = self.world.clone();
        let Some(entry) = self.entries.get_mut(&sender) else {
            return;
        };
        if entry.wanted == 0 {
            return;
        }
        if !world.paces.knows(sender) {
            return self.load(sender);
        }
        match take(&world, sender, entry.wanted) {
            Ok(count) => {
                entry.wanted = 0;
                world.send_queue.tell(SendMessage::Permits { sender, count });
                self.store();
            }
            Err(wait) => {
                // Campaigns take their permits in batches; a single message takes the very next one.
                let least = if entry.urgent {
                    Duration::ZERO
                } else {
                    LEASE_WAIT_LEAST
                };
                self.come_back(sender, wait.clamp(least, LEASE_WAIT_LONGEST));
            }
        }
    }

    /// Looks at a number again after a wait, unless that happens sooner anyway.
    fn come_back(&mut self, sender: SenderId, wait: Duration) {
        let at = Instant::now() + wait;
        let Some(entry) = self.entries.get_mut(&sender) else {
            return;
        };
        if entry.timer.is_some_and(|timer| timer <= at) {
            return;
        }
        entry.timer = Some(at);
        let limiter = self.world.limiter.clone();
        self.world.spawn(async move {
            tokio::time::sleep_until(at).await;
            limiter.tell(LimiterMessage::Due(sender));
        });
    }

    fn load(&mut self, sender: SenderId) {
        let entry = self.entries.entry(sender).or_default();
        if std::mem::replace(&mut entry.loading, true) {
            return;
        }
        let world = self.world.clone();
        self.world.spawn(async move {
            let (store, tenant) = (&world.shared.ports.limiter, world.tenant());
            let limits = until_available(|| store.load(tenant, sender)).await;
            world.limiter.tell(LimiterMessage::Loaded { sender, limits });
        });
    }

    fn throttled(&mut self, sender: SenderId, wait: Option<Duration>) {
        let now = self.world.shared.clock.nanoseconds();
        let rate = self.world.paces.slow_down(sender, now);
        if let Some(messages_per_second) = rate {
            tracing::info!(tenant.id = %self.world.tenant(), sender.id = %sender, messages_per_second, "a number is slowed down");
        }
        if let Some(wait) = wait {
            let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
            self.world.paces.hold(sender, now.saturating_add(wait));
        }
    }

    /// Stores the states that have changed, each at most once in a while.
    fn store(&self) {
        let world = &self.world;
        for (sender, state) in world.paces.to_store(world.shared.clock) {
            let store = &world.shared.ports.limiter;
            world.spawn(store.save(world.tenant(), sender, world.identity.epoch, state));
        }
    }

    fn tick(&mut self) {
        self.store();
        for sender in self.world.paces.to_load() {
            self.load(sender);
        }
        self.world.paces.forget_quiet();
        if self.entries.len() > SENDERS_MOST {
            self.entries
                .retain(|_, entry| entry.wanted > 0 || entry.loading || entry.timer.is_some());
        }
    }
}

/// Takes permits as far as all limits allow, or tells when to come back.
fn take(world: &World, sender: SenderId, wanted: usize) -> Result<usize, Duration> {
    let shared = &world.shared;
    let held = shared.ports.limiter.held_until(&world.paces.ways(sender));
    let left = held.map_or(0, |until| shared.clock.moment_of(until));
    let left = left.saturating_sub(shared.clock.nanoseconds());
    if left > 0 {
        return Err(Duration::from_nanos(left));
    }
    let out = shared.health.let_out(wanted);
    if out == 0 {
        return Err(shared.health.outage().unwrap_or(LEASE_WAIT_LEAST));
    }
    let taken = world.paces.take(sender, shared.clock.nanoseconds(), out);
    shared.health.give_back(out - taken.unwrap_or(0));
    taken
}
