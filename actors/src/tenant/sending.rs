//! One attempt after its claim: the call to Meta, the decision about its outcome, and storing it. A task of its own, which
//! no crash of an actor ends.

use std::fmt;
use std::sync::Arc;

use domain::meta_error::ErrorClass;
use domain::retry::{Failure, Next, Stop, decide};
use tokio::time::Instant;

use crate::delays::before_attempt;
use crate::limits::{GIVE_BACK_DELAY, IN_FLIGHT_MOST};
use crate::ports::{Claim, Claimed, PauseScope, SendOutcome, Settled, Verdict};
use crate::tenant::billing_counter::BillingMessage;
use crate::tenant::proposal::{LiveAttempt, Proposed};
use crate::tenant::rate_limiter::LimiterMessage;
use crate::tenant::receipt::Item;
use crate::tenant::{World, guarded, until_available};

/// What an outcome means.
#[derive(Debug, PartialEq, Eq)]
struct Judgement {
    verdict: Verdict,
    stop: Stop,
    class: Option<ErrorClass>,
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
        deadline: Instant,
    ) -> Self {
        Self(Some(Paid {
            world,
            claimed,
            live,
            deadline,
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
    } = paid;
    let claimed = Arc::new(claimed);
    let outcome = call(&world, &claimed, deadline).await;
    let judgement = judge(&world, outcome, claimed.counted_before);
    stop(&world, &claimed, judgement.stop);
    let (name, class) = (name_of(&judgement.verdict), judgement.class);
    let claim = Claim {
        message: claimed.message,
        attempt: claimed.attempt,
    };
    settle(&world, claim, judgement.verdict).await;
    world.shared.metrics.settled(name, class);
    drop(live);
    world.landed();
}

async fn call(world: &Arc<World>, claimed: &Arc<Claimed>, deadline: Instant) -> SendOutcome {
    let (started, meta, claimed) = (Instant::now(), world.shared.ports.meta.clone(), claimed.clone());
    let outcome = guarded(async move { meta.send(claimed, deadline).await }).await;
    world.shared.metrics.called(started.elapsed());
    outcome.unwrap_or_else(|panic| SendOutcome::Unknown {
        reason: format!("the call panicked: {panic}"),
    })
}

fn judge(world: &World, outcome: SendOutcome, counted_before: u32) -> Judgement {
    let clear = |verdict| Judgement {
        verdict,
        stop: Stop::Nothing,
        class: None,
    };
    let (failure, reason) = match outcome {
        SendOutcome::Accepted { wamid } => return clear(Verdict::Accepted { wamid }),
        SendOutcome::Unknown { reason } => return clear(Verdict::Unknown { reason }),
        SendOutcome::NotSent { reason } => (Failure::NotSent, reason),
        SendOutcome::Refused(refusal) => {
            let failure = Failure::Refused {
                code: refusal.code,
                transient: refusal.transient,
                retry_after: refusal.retry_after,
            };
            (failure, refusal.details)
        }
    };
    judge_failure(world, failure, reason, counted_before)
}

fn judge_failure(world: &World, failure: Failure, reason: String, counted_before: u32) -> Judgement {
    let delay = before_attempt(world.shared.settings.retry_first_delay, counted_before);
    let decision = decide(failure, counted_before, delay);
    let code = match failure {
        Failure::Refused { code, .. } => Some(code),
        Failure::NotSent => None,
    };
    let verdict = match decision.next {
        Next::Retry { after, counts } => Verdict::Retry {
            due_at: world.shared.clock.after(after),
            counts,
            code,
            reason,
        },
        Next::Failed => Verdict::Failed {
            code: code.unwrap_or_default(),
            reason,
        },
        Next::Dead => Verdict::Dead { code, reason },
    };
    Judgement {
        verdict,
        stop: decision.stop,
        class: Some(decision.class),
    }
}

/// Stops what an error stops beside its message.
fn stop(world: &Arc<World>, claimed: &Claimed, stop: Stop) {
    match stop {
        Stop::SlowNumber => world.limiter.tell(LimiterMessage::Throttled(claimed.sender)),
        Stop::Number(reason) => world.pause(PauseScope::Sender(claimed.sender), reason),
        Stop::Campaign(reason) => {
            if let Some(campaign) = claimed.campaign {
                world.pause(PauseScope::Campaign(campaign), reason);
            }
        }
        Stop::Tenant(reason) => world.pause(PauseScope::Tenant, reason),
        // Storage suppresses the recipient when it sees Meta's code.
        Stop::Recipient | Stop::Nothing => {}
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
