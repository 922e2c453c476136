//! One attempt after its claim: the call to Meta, what its outcome stops, and storing it. A task of its own, which
//! no crash of an actor ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::message::Lane;
use domain::rate_limit::pair_key;
use domain::retry::{Failure, HELD_DELAY, Stop};
use domain::unknown::UnknownCause;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::limits::{GIVE_BACK_DELAY, IN_FLIGHT_MOST};
use crate::ports::{Claim, Claimed, PauseScope, SendOutcome, Settled, Verdict, Way};
use crate::sending_metrics::Scope;
use crate::tenant::billing_counter::BillingMessage;
use crate::tenant::judgement::{Judgement, judge, judge_failure};
use crate::tenant::proposal::{LiveAttempt, Proposed};
use crate::tenant::rate_limiter::LimiterMessage;
use crate::tenant::receipt::Item;
use crate::tenant::{World, guarded, until_available};

/// Whose turn it is, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) lane: Lane,
    pub(crate) due: Option<Timestamp>,
}

/// A message that is this tenant's to send now. Dropped unsent, it goes back to `planned` and its reservation is given
/// back: nothing of it has left.
#[derive(Debug)]
pub(crate) struct ToSend(Option<Paid>);

/// What [`ToSend`] holds until somebody takes it.
struct Paid {
    world: Arc<World>,
    claimed: Claimed,
    live: LiveAttempt,
    deadline: Instant,
    turn: Turn,
}

impl fmt::Debug for Paid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Paid").field(&self.claimed.attempt).finish()
    }
}

impl ToSend {
    pub(crate) const fn new(
        world: Arc<World>,
        claimed: Claimed,
        live: LiveAttempt,
        (deadline, turn): (Instant, Turn),
    ) -> Self {
        Self(Some(Paid {
            world,
            claimed,
            live,
            deadline,
            turn,
        }))
    }
}

impl Drop for ToSend {
    fn drop(&mut self) {
        if let Some(paid) = self.0.take() {
            let world = paid.world.clone();
            world.spawn(unsent(paid));
        }
    }
}

async fn unsent(paid: Paid) {
    let claim = Claim {
        message: paid.claimed.message,
        attempt: paid.claimed.attempt,
    };
    settle_unsent(&paid.world, claim).await;
}

/// Puts a message back whose call was never begun, if it was claimed at all.
async fn settle_unsent(world: &Arc<World>, claim: Claim) {
    let verdict = Verdict::Retry {
        due_at: world.shared.clock.after(GIVE_BACK_DELAY),
        counts: false,
        code: None,
        reason: "the tenant's actors stopped before the call".to_owned(),
    };
    settle(world, claim, verdict).await;
    world.shared.metrics.settled("retry", None);
}

/// Puts back those of the claims that a call to the ledger committed and nobody heard of. None of them was sent. Gives
/// their items, whose promises are the caller's to keep or break.
pub(crate) fn abandon(world: &Arc<World>, claims: Vec<Proposed>) -> Vec<Item> {
    let (items, attempts): (Vec<_>, Vec<_>) = claims
        .into_iter()
        .map(|proposed| {
            let claim = proposed.claim();
            (proposed.item, (claim, proposed.live))
        })
        .unzip();
    let abandoned = world.clone();
    world.spawn(async move {
        let running = abandoned.commit.running();
        // A call to the ledger that still runs may claim them yet.
        drop(running.lock().await);
        for (claim, _live) in attempts {
            settle_unsent(&abandoned, claim).await;
        }
    });
    items
}

/// Sends one claimed message and stores how it ended.
pub(crate) async fn send(mut to_send: ToSend) {
    let Some(paid) = to_send.0.take() else {
        return;
    };
    let Paid {
        world,
        claimed,
        live,
        deadline,
        turn,
    } = paid;
    let claimed = Arc::new(claimed);
    journey(&world, &claimed, "is claimed");
    let judgement = match held_back(&world, &claimed) {
        Some(judgement) => judgement,
        None => {
            let outcome = call(&world, &claimed, deadline).await;
            judge(&world, outcome, &claimed)
        }
    };
    stop(&world, &claimed, judgement.stop, &evidence_of(&judgement.verdict));
    let (name, class) = (name_of(&judgement.verdict), judgement.class);
    if let (Verdict::Accepted { .. }, Some(due)) = (&judgement.verdict, turn.due) {
        let took = world.shared.clock.now().duration_since(due);
        world.shared.metrics.accepted(turn.lane, took);
    }
    journey(&world, &claimed, name);
    let claim = Claim {
        message: claimed.message,
        attempt: claimed.attempt,
    };
    settle(&world, claim, judgement.verdict).await;
    world.shared.metrics.settled(name, class);
    drop(live);
    world.landed();
}

/// Says how far a message has come, to whoever follows it: docs/logging.md.
fn journey(world: &World, claimed: &Claimed, step: &'static str) {
    tracing::debug!(target: "journey", { trace.id = %claimed.message.trace(), tenant.id = %world.tenant(),
        message.id = %claimed.message, attempt.id = %claimed.attempt, attempt = claimed.attempt_number, step }, "an attempt");
}

/// Looks last at what only the claim could tell, or what has changed since: the pair's own limit, and whether Meta is there.
fn held_back(world: &Arc<World>, claimed: &Claimed) -> Option<Judgement> {
    let shared = &world.shared;
    let (scope, after, reason) = if shared.health.is_shut() {
        let outage = shared.health.outage().unwrap_or_default();
        (
            Scope::Outage,
            outage.max(GIVE_BACK_DELAY),
            "Meta is not available",
        )
    } else {
        let (pair, now) = (pair_key(&claimed.recipient), shared.clock.nanoseconds());
        let wait = world.paces.take_pair(claimed.sender, pair, now).err()?;
        (
            Scope::Pair,
            wait,
            "the number has written to this recipient too often lately",
        )
    };
    shared.metrics.sending().held_back(scope, 1);
    let not_begun = Failure::NotBegun { after };
    Some(judge_failure(
        world,
        not_begun,
        (reason.to_owned(), None),
        claimed,
    ))
}

async fn call(world: &Arc<World>, claimed: &Arc<Claimed>, deadline: Instant) -> SendOutcome {
    let (started, meta, claimed) = (Instant::now(), world.shared.ports.meta.clone(), claimed.clone());
    let outcome = guarded(async move { meta.send(claimed, deadline).await }).await;
    world.shared.metrics.called(started.elapsed());
    outcome.unwrap_or_else(|panic| SendOutcome::Unknown {
        cause: UnknownCause::Panicked,
        reason: format!("the call panicked: {panic}"),
    })
}

/// Stops what an error stops beside its message.
fn stop(world: &Arc<World>, claimed: &Claimed, stop: Stop, evidence: &str) {
    match stop {
        Stop::SlowNumber(wait) => {
            let sender = claimed.sender;
            world.limiter.tell(LimiterMessage::Throttled { sender, wait });
        }
        Stop::HoldNumber(wait) => hold_number(world, claimed, wait),
        Stop::HoldApp(wait) => hold_ways(world, claimed, wait, |way| matches!(way, Way::App(_))),
        Stop::HoldAccount(wait) => hold_ways(world, claimed, wait, |way| matches!(way, Way::Account(_))),
        Stop::Number(reason) => {
            hold_number(world, claimed, HELD_DELAY);
            world.pause(PauseScope::Sender(claimed.sender), reason, evidence);
        }
        Stop::Campaign(reason) => {
            if let Some(campaign) = claimed.campaign {
                world.pause(PauseScope::Campaign(campaign), reason, evidence);
            }
        }
        Stop::Tenant(reason) => {
            hold_number(world, claimed, HELD_DELAY);
            world.pause(PauseScope::Tenant, reason, evidence);
        }
        // Storage suppresses the recipient when it sees Meta's code.
        Stop::Recipient | Stop::Nothing => {}
    }
}

/// What a refusal said, in words for the tenant.
fn evidence_of(verdict: &Verdict) -> String {
    let (code, reason) = match verdict {
        Verdict::Retry { code, reason, .. } | Verdict::Dead { code, reason } => (*code, reason),
        Verdict::Failed { code, reason } => (Some(*code), reason),
        Verdict::Accepted { .. } | Verdict::Unknown { .. } => return String::new(),
    };
    code.map_or_else(
        || reason.clone(),
        |code| format!("Meta refused a message with {code}: {reason}"),
    )
}

/// Lets the number send nothing for a while; what is left to send waits without being claimed.
fn hold_number(world: &Arc<World>, claimed: &Claimed, wait: Duration) {
    let (sender, until) = (claimed.sender, world.shared.clock.after(wait));
    world.limiter.tell(LimiterMessage::Hold { sender, until });
}

/// Lets nothing leave through some of the number's ways for a while, whoever's it is.
fn hold_ways(world: &Arc<World>, claimed: &Claimed, wait: Duration, which: impl Fn(&Way) -> bool) {
    let until = world.shared.clock.after(wait);
    for way in world.paces.ways(claimed.sender) {
        if which(&way) {
            world.spawn(world.shared.ports.limiter.hold(way, until));
        }
    }
}

/// Stores the outcome, for as long as it takes; the attempt stays live meanwhile.
async fn settle(world: &Arc<World>, claim: Claim, verdict: Verdict) {
    let settled = Settled {
        tenant: world.tenant(),
        message: claim.message,
        attempt: claim.attempt,
        verdict,
    };
    let messages = &world.shared.ports.messages;
    let answer = guarded(until_available(|| messages.settle(settled.clone()))).await;
    match answer {
        Ok(Some(event)) => world.billing.tell(BillingMessage::Apply {
            events: vec![event],
            receipt: None,
        }),
        Ok(None) => {}
        Err(panic) => {
            tracing::error!(tenant.id = %world.tenant(), attempt = %claim.attempt, panic, "an outcome is lost; it becomes unknown");
        }
    }
}

const fn name_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted { .. } => "accepted",
        Verdict::Retry { .. } => "retry",
        Verdict::Failed { .. } => "failed",
        Verdict::Dead { .. } => "dead",
        Verdict::Unknown { .. } => "unknown",
    }
}

// Each attempt in flight may leave one event behind: the inbox they are told through is bounded by that.
const _: () = assert!(IN_FLIGHT_MOST <= crate::limits::BILLING_QUEUE_MOST);
