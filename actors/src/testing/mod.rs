//! The world in memory: all ports with the rules of the real ones, faults on demand, and a record of what happened.

mod faults;
mod ports;
mod rows;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::campaign::PauseReason;
use domain::ids::{AttemptId, EventId, MessageId, SenderId, TenantId};
use domain::message::MessageState;
use domain::partition::Epoch;
use domain::unknown::UnknownPolicy;
use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Clock;
use crate::node::Ports;
use crate::ports::{BillingHead, PauseScope, Poison, QuarantineRow, SendOutcome, StoredLimiter, Way};

pub use crate::testing::faults::{Faults, Trouble};
pub use crate::testing::rows::{EventRow, MessageRow, TenantRow};

/// The world in memory. Clones are the same world.
#[derive(Clone)]
pub struct Fakes(Arc<Inner>);

struct Inner {
    clock: Clock,
    latency: Duration,
    state: Mutex<State>,
}

/// All that is stored, and all that happened.
#[derive(Default)]
pub struct State {
    /// Tenants' ledgers.
    pub tenants: HashMap<TenantId, TenantRow>,
    /// Message rows.
    pub messages: HashMap<MessageId, MessageRow>,
    /// Event rows.
    pub events: HashMap<EventId, EventRow>,
    /// What Meta answers next, by message; accepted when there is nothing here.
    pub script: HashMap<MessageId, VecDeque<SendOutcome>>,
    /// What Meta answers to everything else of a number.
    pub number_script: HashMap<SenderId, SendOutcome>,
    /// Calls that reached Meta.
    pub calls: Vec<(MessageId, AttemptId, Instant)>,
    /// Pauses, in order.
    pub pauses: Vec<(TenantId, PauseScope, PauseReason)>,
    /// Tenants whose campaigns are all paused.
    pub paused: HashSet<TenantId>,
    /// Messages given back, in order.
    pub given_back: Vec<MessageId>,
    /// Commits that did something: their tenant and how many messages they claimed.
    pub commits: Vec<(TenantId, usize)>,
    /// Messages a second, by number; 1,000 when there is nothing here.
    pub rates: HashMap<SenderId, u32>,
    /// Messages a second that plans allow; any when there is nothing here.
    pub plan_rates: HashMap<TenantId, u32>,
    /// What numbers leave through.
    pub ways: HashMap<SenderId, Vec<Way>>,
    /// Until when nothing leaves through a way.
    pub holds: HashMap<Way, Timestamp>,
    /// Limiters' states, as stored, and by which epoch.
    pub limiters: HashMap<SenderId, (Epoch, StoredLimiter)>,
    /// How long Meta takes to answer; as long as everything else when there is nothing here.
    pub meta_latency: Option<Duration>,
    /// There is no connection to Meta.
    pub is_down: bool,
    /// What tenants do about unknown messages, and after how long; nothing when there is nothing here.
    pub policies: HashMap<TenantId, (UnknownPolicy, Duration)>,
    /// What goes wrong.
    pub faults: Faults,
    /// Tenants in quarantine.
    pub quarantines: HashMap<TenantId, QuarantineRow>,
    /// Messages whose claim makes no sense to the ledger.
    pub poison_messages: HashSet<MessageId>,
    /// Events that make no sense to the ledger.
    pub poison_events: HashSet<EventId>,
    /// What was buried, in order.
    pub buried: Vec<Poison>,
    /// How often a ledger held more than its limit. Must stay zero.
    pub over_limit: usize,
}

impl Fakes {
    /// Makes an empty world whose every answer takes `latency`.
    pub fn new(latency: Duration) -> Self {
        Self(Arc::new(Inner {
            clock: Clock::start(),
            latency,
            state: Mutex::default(),
        }))
    }

    /// Gives the ports to this world.
    pub fn ports(&self) -> Ports {
        Ports {
            ledger: Arc::new(self.clone()),
            messages: Arc::new(self.clone()),
            meta: Arc::new(self.clone()),
            limiter: Arc::new(self.clone()),
            quarantine: Arc::new(self.clone()),
        }
    }

    /// Gives access to what is stored and what happened.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a tenant whose plan allows so many units.
    pub fn tenant(&self, limit: Option<i64>) -> TenantId {
        let tenant = TenantId(Uuid::now_v7());
        let head = BillingHead {
            seq: 0,
            limit,
            held: 0,
            captured: 0,
        };
        let row = TenantRow {
            epoch: Epoch(0),
            head,
        };
        self.state().tenants.insert(tenant, row);
        tenant
    }

    /// Adds queued messages.
    pub fn queued(&self, tenant: TenantId, sender: SenderId, count: usize) -> Vec<MessageId> {
        let now = self.0.clock.now();
        let mut state = self.state();
        let ids: Vec<_> = (0..count).map(|_| MessageId(Uuid::now_v7())).collect();
        for id in &ids {
            state
                .messages
                .insert(*id, MessageRow::queued(tenant, sender, now));
        }
        ids
    }

    /// Adds a stored event that turns the message's reservation into use.
    pub fn capture(&self, message: MessageId) -> EventId {
        let mut state = self.state();
        let tenant = state.messages[&message].tenant;
        state.store_event(tenant, true)
    }

    /// Does the planner's work: queues what is planned and due, and gives it by number.
    pub fn plan(&self, tenant: TenantId) -> HashMap<SenderId, Vec<MessageId>> {
        let now = self.0.clock.now();
        let mut state = self.state();
        let mut due: HashMap<SenderId, Vec<MessageId>> = HashMap::new();
        if state.paused.contains(&tenant) {
            return due;
        }
        for (id, row) in &mut state.messages {
            if row.tenant == tenant && row.state == MessageState::Planned && row.due_at <= now {
                row.state = MessageState::Queued;
                due.entry(row.sender).or_default().push(*id);
            }
        }
        // The rows come in the order of a hash table, which is another one each time.
        due.values_mut().for_each(|messages| messages.sort_unstable());
        due
    }

    /// The time by its clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Tells how many of the tenant's messages are in a state.
    pub fn count(&self, tenant: TenantId, state: MessageState) -> usize {
        let rows = self.state();
        let rows = rows.messages.values();
        rows.filter(|row| row.tenant == tenant && row.state == state)
            .count()
    }

    /// Gives the tenant's head.
    pub fn head(&self, tenant: TenantId) -> BillingHead {
        self.state().tenants[&tenant].head.clone()
    }

    /// Lets a later owner take the tenant over.
    pub fn take_over_elsewhere(&self, tenant: TenantId, epoch: Epoch) {
        if let Some(row) = self.state().tenants.get_mut(&tenant) {
            row.epoch = epoch;
        }
    }

    /// Ends a tenant's quarantine, as an operator does. Tells whether it was there.
    pub fn release(&self, tenant: TenantId) -> bool {
        self.state().release(tenant)
    }

    /// Makes something go wrong the next `times`.
    pub fn trouble(&self, tenant: TenantId, trouble: Trouble, times: usize) {
        self.state().faults.add(tenant, trouble, times);
    }

    /// Lets the time of an answer pass.
    pub(crate) async fn latency(&self) {
        if !self.0.latency.is_zero() {
            tokio::time::sleep(self.0.latency).await;
        }
    }
}
