//! One tenant's actors: a supervisor and three children, all on one arbiter.

pub(crate) mod billing_counter;
pub(crate) mod commit;
mod escalation;
pub(crate) mod intake;
mod judgement;
mod ledger_calls;
pub(crate) mod pace;
pub(crate) mod proposal;
pub(crate) mod rate_limiter;
pub(crate) mod receipt;
pub(crate) mod send_queue;
pub(crate) mod sending;
pub(crate) mod supervisor;
pub(crate) mod suspects;
pub(crate) mod waiting;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::campaign::PauseReason;
use domain::ids::{MessageId, SenderId, TenantId};
use domain::partition::{Epoch, Partition};
use domain::refusal_streak::RefusalStreak;
use domain::unknown::UnknownCause;
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::cell::panic_text;
use crate::clock::Clock;
use crate::delays::Delays;
use crate::gate::{Port, Sight};
use crate::health::Health;
use crate::limits::{
    FAST_ROOM, GIVE_BACK_DELAY, GIVE_BACK_TRIES, HOLD_LOOK_AGAIN, IN_FLIGHT_MOST, PAUSE_AGAIN,
    SEND_QUEUE_MOST,
};
use crate::metrics::{Kind, Metrics};
use crate::node::{Ports, Settings};
use crate::ports::{PauseScope, Unavailable};
use crate::sights::Watched;
use crate::tenant::billing_counter::BillingMessage;
use crate::tenant::commit::CommitSlot;
use crate::tenant::pace::Paces;
use crate::tenant::proposal::Live;
use crate::tenant::rate_limiter::LimiterMessage;
use crate::tenant::send_queue::SendMessage;
use crate::tenant::suspects::Suspects;
use crate::tenant::waiting::Room;
use crate::watchdog::Silence;

/// What tenants of a node share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) runtime: Handle,
    pub(crate) recoveries: Arc<Semaphore>,
    pub(crate) clock: Clock,
    pub(crate) health: Arc<Health>,
    pub(crate) notices: UnboundedSender<Notice>,
    pub(crate) silence: Silence,
    #[cfg(feature = "fault-injection")]
    pub(crate) faults: crate::faults::Faults,
}

/// What a tenant tells its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A later owner has taken over.
    EpochGone(Partition, Epoch),
    /// The tenant kept failing: what of it, and what it said last.
    Failing(Arc<Identity>, String, String),
    /// An actor was gone without a word: start the tenant anew.
    Vanished(Arc<Identity>, Kind),
}

/// Which incarnation of which tenant. Two of them are the same only if they are the same allocation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) tenant: TenantId,
    pub(crate) partition: Partition,
    pub(crate) epoch: Epoch,
}

/// What a tenant's three children share and what outlives their incarnations.
pub(crate) struct World {
    pub(crate) identity: Arc<Identity>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limiter: Port<LimiterMessage>,
    pub(crate) send_queue: Port<SendMessage>,
    pub(crate) billing: Port<BillingMessage>,
    pub(crate) live: Arc<Live>,
    pub(crate) commit: CommitSlot,
    /// The limiters of the tenant's numbers.
    pub(crate) paces: Paces,
    /// Room for campaigns in front of `SendQueue`: less than all, so that a single message always finds some.
    pub(crate) bulk_room: Arc<Semaphore>,
    pub(crate) suspects: Suspects,
    /// Set when the partition is being handed over: nothing new starts.
    pub(crate) frozen: AtomicBool,
    /// Set when `SendQueue` waits for room in flight.
    starved: AtomicBool,
    paused: Mutex<Vec<(PauseScope, PauseReason, Instant)>>,
    streak: Mutex<RefusalStreak>,
}

impl World {
    /// Puts a tenant's world together.
    pub(crate) fn new(
        identity: Arc<Identity>,
        shared: Arc<Shared>,
        limiter: Port<LimiterMessage>,
        send_queue: Port<SendMessage>,
        billing: Port<BillingMessage>,
    ) -> Arc<Self> {
        let live = Live::new(shared.metrics.clone());
        let world = Arc::new(Self {
            identity,
            shared,
            limiter,
            send_queue,
            billing,
            live,
            commit: CommitSlot::default(),
            paces: Paces::default(),
            bulk_room: Arc::new(Semaphore::new(SEND_QUEUE_MOST - FAST_ROOM)),
            suspects: Suspects::default(),
            frozen: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            paused: Mutex::new(Vec::new()),
            streak: Mutex::default(),
        });
        let watched: Arc<dyn Watched> = world.clone();
        world.shared.metrics.watch(Arc::downgrade(&watched));
        world
    }

    /// Gives the tenant's id.
    pub(crate) fn tenant(&self) -> TenantId {
        self.identity.tenant
    }

    /// Runs I/O on the shared runtime, away from the arbiter.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.shared.runtime.spawn(future));
    }

    /// Counts attempts whose outcome is not known.
    pub(crate) fn became_unknown(&self, cause: UnknownCause, attempts: usize) {
        self.shared.metrics.sending().became_unknown(cause, attempts);
    }

    /// [`World::landed`] tells from now on when an attempt is over.
    pub(crate) fn starves(&self) {
        self.starved.store(true, Ordering::Release);
    }

    /// Tells how many attempts of a number may begin now.
    pub(crate) fn room_in_flight(&self, sender: SenderId) -> Room {
        let (bulk, all) = self.paces.in_flight_most(sender);
        let (of_sender, of_tenant) = (self.live.of(sender), self.live.count());
        let left = IN_FLIGHT_MOST.saturating_sub(of_tenant);
        Room {
            all: all.saturating_sub(of_sender).min(left),
            bulk: bulk.saturating_sub(of_sender).min(left),
        }
    }

    /// Tells when a message is due again that its number cannot send now.
    pub(crate) fn due_again(&self, sender: SenderId) -> Duration {
        let outage = self.shared.health.outage().unwrap_or_default();
        let hold = self.paces.next_free_in(sender, self.shared.clock.nanoseconds());
        GIVE_BACK_DELAY.max(outage).max(hold).min(HOLD_LOOK_AGAIN)
    }

    /// An attempt is over.
    pub(crate) fn landed(&self) {
        if self.starved.swap(false, Ordering::AcqRel) {
            self.send_queue.tell(SendMessage::Landed);
        }
    }

    /// Meta refused a call and is to blame for it. Gives how long the numbers rest, if this happens again and again.
    pub(crate) fn refused(&self) -> Option<Duration> {
        let (now, forgiven_for) = (
            self.shared.clock.nanoseconds(),
            self.shared.settings.refusals_forgiven_for,
        );
        let mut streak = self.streak.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = streak.refused(now, forgiven_for);
        if rest.is_some() && streak.is_new() {
            tracing::warn!(tenant.id = %self.tenant(), "Meta refuses one message after the other for faults of its own: the numbers rest");
        }
        rest
    }

    /// Meta took a message, or refused it for a reason of the message's own.
    pub(crate) fn refusals_ended(&self) {
        self.streak.lock().unwrap_or_else(PoisonError::into_inner).ended();
    }

    /// Pauses campaigns, for as long as it takes; a pause just made is not repeated.
    pub(crate) fn pause(self: &Arc<Self>, scope: PauseScope, reason: PauseReason, evidence: &str) {
        if !self.pauses_now(scope, reason) {
            return;
        }
        tracing::warn!(tenant.id = %self.tenant(), ?scope, ?reason, "pausing campaigns");
        let (world, evidence) = (self.clone(), evidence.to_owned());
        self.spawn(async move {
            let messages = &world.shared.ports.messages;
            until_available(|| messages.pause(world.tenant(), scope, reason, evidence.clone())).await;
        });
    }

    fn pauses_now(&self, scope: PauseScope, reason: PauseReason) -> bool {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        paused.retain(|(_, _, at)| at.elapsed() < PAUSE_AGAIN);
        if paused.iter().any(|known| (known.0, known.1) == (scope, reason)) {
            return false;
        }
        paused.push((scope, reason, Instant::now()));
        true
    }
}

impl Watched for World {
    fn look(&self) -> [Sight; 3] {
        [self.limiter.look(), self.send_queue.look(), self.billing.look()]
    }
}

/// Gives queued rows back to `planned`. After a few tries it is left to the rows' own time in `queued`.
pub(crate) async fn give_back(
    shared: Arc<Shared>,
    tenant: TenantId,
    messages: Vec<MessageId>,
    wait: Duration,
) {
    let mut delays = Delays::of_dependency();
    for _ in 0..GIVE_BACK_TRIES {
        let due_at = shared.clock.after(wait);
        let answer = shared.ports.messages.give_back(tenant, messages.clone(), due_at);
        match answer.await {
            Ok(()) => return,
            Err(error) => tracing::warn!(tenant.id = %tenant, %error, "giving messages back failed"),
        }
        tokio::time::sleep(delays.next()).await;
    }
}

/// Asks again until the dependency answers.
pub(crate) async fn until_available<T, F>(mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, Unavailable>>,
{
    let mut delays = Delays::of_dependency();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!(%error, "waiting for a dependency"),
        }
        tokio::time::sleep(delays.next()).await;
    }
}

/// Runs I/O so that a panic in it becomes an error.
pub(crate) async fn guarded<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let outcome = std::panic::AssertUnwindSafe(future).catch_unwind().await;
    outcome.map_err(|panic| panic_text(&*panic))
}
