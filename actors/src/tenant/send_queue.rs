//! Keeps a tenant's message ids until their number has permits, proposes their claims, and starts the calls to Meta for
//! what was claimed. It may lose what waits: whoever delivered it hands it in again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::ids::{CampaignId, MessageId, SenderId};
use domain::message::Lane;
use domain::retry::HELD_DELAY;
use domain::unknown::UnknownCause;
use tokio::time::Instant;

use crate::cell::{Behaviour, Fault};
use crate::limits::{EXPIRE_EVERY, LEASE_ASK_AGAIN, LEASE_MOST, SETTLE_ROUNDS_MOST, WAIT_LONGEST};
use crate::metrics::Kind;
use crate::tenant::billing_counter::BillingMessage;
use crate::tenant::proposal::{Proposal, Proposed};
use crate::tenant::rate_limiter::LimiterMessage;
use crate::tenant::receipt::{Item, Receipt};
use crate::tenant::sending::{ToSend, send};
use crate::tenant::suspects::set_aside;
use crate::tenant::waiting::{Asked, Waiting};
use crate::tenant::{World, give_back, until_available};

/// What `SendQueue` is told.
#[derive(Debug)]
pub(crate) enum SendMessage {
    /// Send these.
    Deliver {
        sender: SenderId,
        lane: Lane,
        campaign: Option<CampaignId>,
        messages: Vec<MessageId>,
        receipt: Arc<Receipt>,
    },
    /// The number may send so many.
    Permits { sender: SenderId, count: usize },
    /// These are paid for.
    Claimed(Vec<ToSend>),
    /// These were proposed and got no answer.
    Lost { sender: SenderId, claims: Vec<Proposed> },
    /// The plan does not allow these.
    Blocked(Vec<Proposed>),
    /// There is room in flight again.
    Landed,
    /// `RateLimiter` has started anew and knows of no wish.
    LeasesLost,
    /// A second has passed.
    Tick,
    /// Start nothing any more.
    Freeze,
}

/// The tenant's queue of messages to send.
pub(crate) struct SendQueue {
    world: Arc<World>,
    waiting: HashMap<SenderId, Waiting>,
    frozen: bool,
    expired_at: Instant,
}

impl Behaviour for SendQueue {
    type Message = SendMessage;
    type Recipe = Arc<World>;
    const KIND: Kind = Kind::SendQueue;

    async fn recover(world: Arc<World>) -> Result<Self, Fault> {
        let (messages, tenant) = (&world.shared.ports.messages, world.tenant());
        let expired = until_available(|| messages.expire_sending(tenant, world.live.attempts())).await;
        world.became_unknown(UnknownCause::OwnerGone, expired);
        Ok(Self {
            frozen: world.frozen.load(Ordering::Acquire),
            world,
            waiting: HashMap::new(),
            expired_at: Instant::now(),
        })
    }

    fn handle(&mut self, message: &mut Option<SendMessage>) -> Result<(), Fault> {
        if let Some(SendMessage::Claimed(to_send)) = message {
            #[cfg(feature = "fault-injection")]
            {
                let (world, step) = (&self.world, crate::faults::Step::Claimed);
                world.shared.faults.strike(world.tenant(), Kind::SendQueue, step);
            }
            // One by one, so that a failure leaves the others in the message.
            while let Some(next) = to_send.pop() {
                self.world.spawn(send(next));
            }
            self.pump_all();
            return Ok(());
        }
        match message.take() {
            Some(SendMessage::Deliver {
                sender,
                lane,
                campaign,
                messages,
                receipt,
            }) => {
                let waiting = self.waiting.entry(sender).or_default();
                for message in messages {
                    waiting.push(lane, campaign, Item::new(message, lane, receipt.clone()));
                }
                self.pump(sender);
            }
            Some(SendMessage::Permits { sender, count }) => self.permitted(sender, count),
            Some(SendMessage::Lost { sender, claims }) => self.propose(sender, claims),
            Some(SendMessage::Blocked(claims)) => {
                let items = claims.into_iter().map(|claim| claim.item).collect();
                hand_back(&self.world, items, HELD_DELAY);
                self.pump_all();
            }
            Some(SendMessage::Landed) => self.pump_all(),
            Some(SendMessage::LeasesLost) => {
                self.waiting.values_mut().for_each(|waiting| waiting.asked = None);
                self.pump_all();
            }
            Some(SendMessage::Tick) => self.tick(),
            Some(SendMessage::Freeze) => self.frozen = true,
            Some(SendMessage::Claimed(_)) | None => {}
        }
        Ok(())
    }

    fn bury(world: &Arc<World>, message: SendMessage, reason: &str) {
        // Claimed messages that are dropped unsent go back by themselves; so does what was delivered.
        if let SendMessage::Blocked(claims) | SendMessage::Lost { claims, .. } = message {
            let items = claims.into_iter().map(|claim| claim.item).collect();
            set_aside(world, items, Vec::new(), reason);
        }
    }
}

impl SendQueue {
    fn permitted(&mut self, sender: SenderId, count: usize) {
        if let Some(waiting) = self.waiting.get_mut(&sender) {
            waiting.asked = None;
            waiting.permits += count;
        }
        self.pump(sender);
    }

    fn pump_all(&mut self) {
        let senders: Vec<_> = self.waiting.keys().copied().collect();
        senders.into_iter().for_each(|sender| self.pump(sender));
    }

    /// Proposes what has permits and asks for permits for the rest.
    fn pump(&mut self, sender: SenderId) {
        if self.frozen {
            return;
        }
        let Some(waiting) = self.waiting.get_mut(&sender) else {
            return;
        };
        let mut room = self.world.room_in_flight(sender);
        if waiting.ready(room) < waiting.len() {
            self.world.starves();
            room = self.world.room_in_flight(sender);
        }
        let items = waiting.take(waiting.permits.min(LEASE_MOST), room);
        waiting.permits -= items.len();
        let claims: Vec<_> = items
            .into_iter()
            .map(|item| Proposed {
                item,
                live: self.world.live.begin(sender),
            })
            .collect();
        self.propose(sender, claims);
        self.ask(sender);
    }

    /// Asks for permits for what still waits and has room; again, if the very next one is wanted and was not asked for.
    fn ask(&mut self, sender: SenderId) {
        let room = self.world.room_in_flight(sender);
        let Some(waiting) = self.waiting.get_mut(&sender) else {
            return;
        };
        let (wanted, urgent) = (waiting.ready(room).min(LEASE_MOST), waiting.is_urgent());
        let suffices = waiting.asked.is_some_and(|asked| asked.urgent || !urgent);
        if wanted == 0 || waiting.permits > 0 || suffices {
            return;
        }
        let since = Instant::now();
        waiting.asked = Some(Asked { since, urgent });
        let lease = LimiterMessage::Lease {
            sender,
            wanted,
            urgent,
        };
        self.world.limiter.tell(lease);
    }

    fn propose(&self, sender: SenderId, claims: Vec<Proposed>) {
        if claims.is_empty() {
            return;
        }
        let proposal = Proposal::new(sender, claims, self.world.send_queue.clone());
        self.world.billing.tell(BillingMessage::Propose(proposal));
    }

    /// Gives back what has waited too long, asks again for leases that got no answer, and forgets empty numbers.
    fn tick(&mut self) {
        for (sender, waiting) in &mut self.waiting {
            let old = waiting.take_older(WAIT_LONGEST);
            hand_back(&self.world, old, self.world.due_again(*sender));
            self.world
                .shared
                .health
                .give_back(std::mem::take(&mut waiting.permits));
            let asked = waiting.asked;
            if asked.is_some_and(|asked| asked.since.elapsed() >= LEASE_ASK_AGAIN) {
                waiting.asked = None;
            }
        }
        self.waiting
            .retain(|_, waiting| !waiting.is_empty() || waiting.asked.is_some());
        self.pump_all();
        self.expire();
    }

    /// Lets rows that are past their deadline and not ours become unknown, and the tenant's policy settle those that stayed so.
    fn expire(&mut self) {
        if self.expired_at.elapsed() < EXPIRE_EVERY {
            return;
        }
        self.expired_at = Instant::now();
        let (world, messages) = (self.world.clone(), &self.world.shared.ports.messages);
        let answer = messages.expire_sending(self.world.tenant(), self.world.live.attempts());
        self.world.spawn(async move {
            match answer.await {
                Ok(0) => {}
                Ok(expired) => {
                    tracing::warn!(tenant.id = %world.tenant(), expired, "attempts ended without an outcome");
                    world.became_unknown(UnknownCause::OwnerGone, expired);
                }
                Err(error) => tracing::warn!(tenant.id = %world.tenant(), %error, "expiring failed"),
            }
            settle_unknown(&world).await;
        });
    }
}

/// Settles unknown messages as the tenant's policy and people say; what it gives back goes the way of all events.
async fn settle_unknown(world: &Arc<World>) {
    let messages = &world.shared.ports.messages;
    for _ in 0..SETTLE_ROUNDS_MOST {
        let settled = match messages
            .settle_unknown(world.tenant(), world.identity.epoch)
            .await
        {
            Ok(settled) => settled,
            Err(error) => {
                tracing::warn!(tenant.id = %world.tenant(), %error, "settling unknown messages failed");
                return;
            }
        };
        for (by, count) in settled.by {
            tracing::info!(tenant.id = %world.tenant(), by = by.as_str(), count, "unknown messages are settled");
            world.shared.metrics.sending().unknown_settled(by, count);
        }
        if !settled.events.is_empty() {
            world.billing.tell(BillingMessage::Apply {
                events: settled.events,
                receipt: None,
            });
        }
        if !settled.more {
            return;
        }
    }
}

/// Gives items back to `planned` and keeps their promises once that is done.
pub(crate) fn hand_back(world: &Arc<World>, items: Vec<Item>, wait: Duration) {
    if items.is_empty() {
        return;
    }
    let (shared, tenant) = (world.shared.clone(), world.tenant());
    let messages = items.iter().map(|item| item.message).collect();
    world.spawn(async move {
        give_back(shared, tenant, messages, wait).await;
        items.into_iter().for_each(Item::done);
    });
}
