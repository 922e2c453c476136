//! One tenant's supervisor: starts its three children, starts all three anew when one keeps failing, and gives the tenant
//! up to quarantine when that does not help.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cell::{Behaviour, Cell, Orders, Report, Surroundings};
use crate::gate::{Parcel, Port};
use crate::inbox::{Receiver, Sender, inbox};
use crate::limits::{BILLING_QUEUE_MOST, SEND_QUEUE_MOST};
use crate::metrics::{Cause, Kind};
use crate::tenant::billing_counter::{BillingCounter, BillingMessage};
use crate::tenant::escalation::{Decision, EscalationPolicy};
use crate::tenant::rate_limiter::{LimiterMessage, RateLimiter};
use crate::tenant::send_queue::{SendMessage, SendQueue};
use crate::tenant::sending::abandon;
use crate::tenant::{Identity, Notice, Shared, World};

/// How a tenant's children fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All of them work.
    Working,
    /// At least one is recovering.
    Restarting,
    /// At least one failed too often and waits for a decision.
    Parked,
}

/// What others hold of an active tenant.
pub(crate) struct TenantHandle {
    pub(crate) world: Arc<World>,
    orders: Arc<watch::Sender<Orders>>,
    failing: Arc<AtomicU8>,
    worked_at: Mutex<Instant>,
}

impl TenantHandle {
    /// Starts a tenant's actors on an arbiter.
    pub(crate) fn start(identity: Identity, shared: Arc<Shared>, arbiter: &ArbiterHandle) -> Arc<Self> {
        let tenant = identity.tenant;
        let (limiter, limiter_inbox) = Port::open(Kind::RateLimiter, tenant, 1);
        let (send_queue, send_inbox) = Port::open(Kind::SendQueue, tenant, SEND_QUEUE_MOST);
        let (billing, billing_inbox) = Port::open(Kind::BillingCounter, tenant, BILLING_QUEUE_MOST);
        let world = World::new(Arc::new(identity), shared, limiter, send_queue, billing);
        let orders = Arc::new(watch::Sender::new(Orders::default()));
        let failing = Arc::new(AtomicU8::new(0));
        let (reports, reported) = inbox();
        let nursery = Nursery {
            world: world.clone(),
            orders: orders.clone(),
            reports,
        };
        // In start order: what the others lean on first.
        nursery.start::<BillingCounter>(billing_inbox, arbiter);
        nursery.start::<RateLimiter>(limiter_inbox, arbiter);
        nursery.start::<SendQueue>(send_inbox, arbiter);
        let supervisor = TenantSupervisor {
            world: world.clone(),
            orders: orders.clone(),
            failing: failing.clone(),
            escalations: EscalationPolicy::new(),
            reported: Some(reported),
        };
        drop(TenantSupervisor::start_in_arbiter(arbiter, move |_| supervisor));
        Arc::new(Self {
            world,
            orders,
            failing,
            worked_at: Mutex::new(Instant::now()),
        })
    }

    /// Notes that there was work.
    pub(crate) fn worked(&self) {
        *self.worked_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Tells how the children fare.
    pub(crate) fn standing(&self) -> Standing {
        match self.failing.load(Ordering::Acquire) {
            0 => Standing::Working,
            bits if bits >= PARKED => Standing::Parked,
            _ => Standing::Restarting,
        }
    }

    /// Gives how much is inside the tenant's actors.
    pub(crate) fn depth(&self) -> usize {
        let world = &self.world;
        world.send_queue.depth() + world.billing.depth() + world.live.count()
    }

    /// Tells the children that a second has passed. Not those that are recovering: for as long as that takes, their seconds
    /// would only pile up.
    pub(crate) fn tick(&self) {
        let failing = self.failing.load(Ordering::Acquire);
        let works = |kind| failing & both(kind) == 0;
        if works(Kind::RateLimiter) {
            self.world.limiter.tell(LimiterMessage::Tick);
        }
        if works(Kind::SendQueue) {
            self.world.send_queue.tell(SendMessage::Tick);
        }
        if works(Kind::BillingCounter) {
            self.world.billing.tell(BillingMessage::Tick);
        }
    }

    /// Starts nothing any more; what is in flight goes on.
    pub(crate) fn freeze(&self) {
        self.world.frozen.store(true, Ordering::Release);
        self.world.send_queue.tell(SendMessage::Freeze);
    }

    /// Closes both gates if there has been no work for `longest` and nothing is inside. Whoever comes later is told so.
    pub(crate) fn retire_if_idle(&self, longest: Duration) -> bool {
        let worked_at = *self.worked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let world = &self.world;
        if worked_at.elapsed() < longest || self.depth() > 0 || world.commit.batch().is_some() {
            return false;
        }
        if !world.send_queue.retire_if_idle() {
            return false;
        }
        // From here on nobody gets in for sending; if events are under way, the next incarnation takes both.
        world.billing.retire_if_idle() || {
            world.billing.gate().close();
            true
        }
    }

    /// Stops the tenant's actors. What they held and was not done is handed in again by who delivered it.
    pub(crate) fn stop(&self) {
        for gate in [self.world.send_queue.gate(), self.world.billing.gate()] {
            gate.close();
        }
        self.orders.send_modify(|orders| orders.stop = true);
        wake(&self.world);
        let left = self.world.commit.batch().take();
        if let Some(left) = left {
            // Broken promises: whoever delivered them keeps them.
            drop(abandon(&self.world, left.claims));
        }
    }
}

fn wake(world: &World) {
    world.billing.wake();
    world.limiter.wake();
    world.send_queue.wake();
}

/// Starts cells.
struct Nursery {
    world: Arc<World>,
    orders: Arc<watch::Sender<Orders>>,
    reports: Sender<Report>,
}

impl Nursery {
    /// Starts a child, in tests' builds with its faults around it.
    fn start<B>(&self, inbox: Receiver<Parcel<B::Message>>, arbiter: &ArbiterHandle)
    where
        B: Behaviour<Recipe = Arc<World>>,
    {
        #[cfg(feature = "fault-injection")]
        self.start_cell::<crate::faults::Struck<B>>(inbox, arbiter);
        #[cfg(not(feature = "fault-injection"))]
        self.start_cell::<B>(inbox, arbiter);
    }

    fn start_cell<B>(&self, inbox: Receiver<Parcel<B::Message>>, arbiter: &ArbiterHandle)
    where
        B: Behaviour<Recipe = Arc<World>>,
    {
        let reports = self.reports.clone();
        let around = Surroundings {
            orders: self.orders.subscribe(),
            report: Box::new(move |report| reports.send(report)),
            metrics: self.world.shared.metrics.clone(),
            recoveries: self.world.shared.recoveries.clone(),
        };
        let world = self.world.clone();
        drop(Cell::<B>::start_in_arbiter(arbiter, move |_| {
            Cell::new(world, inbox, around)
        }));
    }
}

/// Decides about a tenant's children.
struct TenantSupervisor {
    world: Arc<World>,
    orders: Arc<watch::Sender<Orders>>,
    failing: Arc<AtomicU8>,
    escalations: EscalationPolicy,
    reported: Option<Receiver<Report>>,
}

impl TenantSupervisor {
    fn escalated(&mut self, kind: Kind, error: String, fruitless: bool) {
        tracing::error!(tenant.id = %self.world.tenant(), actor = kind.as_str(), error, fruitless, "an actor keeps failing");
        self.world.shared.metrics.escalated(kind);
        match self.escalations.escalated(Instant::now(), fruitless) {
            Decision::StartAnew => {
                self.orders.send_modify(|orders| orders.generation += 1);
                wake(&self.world);
            }
            Decision::Quarantine => {
                let reason = format!("{} keeps failing", kind.as_str());
                self.notice(Notice::Failing(self.world.identity.clone(), reason, error));
            }
        }
    }

    fn notice(&self, notice: Notice) {
        // The node may be gone first when all stops.
        drop(self.world.shared.notices.send(notice));
    }
}

impl Actor for TenantSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(reported) = self.reported.take() {
            Self::add_stream(reported, ctx);
        }
    }
}

impl StreamHandler<(Instant, Report)> for TenantSupervisor {
    fn handle(&mut self, (_, report): (Instant, Report), _: &mut Self::Context) {
        match report {
            Report::Failing(kind) => {
                self.failing.fetch_or(bit(kind), Ordering::AcqRel);
                self.failing.fetch_and(!(bit(kind) * PARKED), Ordering::AcqRel);
            }
            Report::Working(kind) => {
                self.failing.fetch_and(!both(kind), Ordering::AcqRel);
            }
            Report::Escalated(kind, error, fruitless) => {
                self.failing.fetch_or(bit(kind) * PARKED, Ordering::AcqRel);
                self.escalated(kind, error, fruitless);
            }
            Report::EpochGone(kind) => {
                self.failing.fetch_or(bit(kind) * PARKED, Ordering::AcqRel);
                let identity = &self.world.identity;
                self.notice(Notice::EpochGone(identity.partition, identity.epoch));
            }
            Report::Vanished(kind) => {
                self.world.shared.metrics.restarted(kind, Cause::Vanished);
                self.notice(Notice::Vanished(self.world.identity.clone(), kind));
            }
        }
    }
}

/// What lifts a child's bit to the one that says it is parked.
const PARKED: u8 = 8;

/// The bits of a child that does not work, for either reason.
const fn both(kind: Kind) -> u8 {
    bit(kind) | (bit(kind) * PARKED)
}

const fn bit(kind: Kind) -> u8 {
    match kind {
        Kind::RateLimiter => 1,
        Kind::SendQueue => 2,
        Kind::BillingCounter => 4,
    }
}
