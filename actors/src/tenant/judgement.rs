//! What the outcome of a call means: for its message, for what it stops besides, and for what is believed of Meta.

use std::sync::Arc;
use std::time::Duration;

use domain::breaker::Sign;
use domain::meta_error::{ErrorClass, classify, is_metas_fault};
use domain::retry::{Circumstances, Failure, Next, Stop, decide};
use domain::unknown::UnknownCause;

use crate::delays::before_attempt;
use crate::limits::GIVE_BACK_DELAY;
use crate::ports::{Claimed, SendOutcome, Verdict};
use crate::tenant::World;

/// What an outcome means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) stop: Stop,
    pub(super) class: Option<ErrorClass>,
}

/// Decides what follows an outcome, and tells the breaker and the streak of refusals what it says of Meta.
pub(super) fn judge(world: &Arc<World>, outcome: SendOutcome, claimed: &Claimed) -> Judgement {
    if let Some(sign) = sign_of(&outcome) {
        world.shared.health.record(sign);
    }
    let rest = rest_after(world, &outcome);
    let clear = |verdict| Judgement {
        verdict,
        stop: Stop::Nothing,
        class: None,
    };
    let (failure, reason) = match outcome {
        SendOutcome::Accepted { wamid } => return clear(Verdict::Accepted { wamid }),
        SendOutcome::Unknown { cause, reason } => {
            world.became_unknown(cause, 1);
            return clear(Verdict::Unknown { reason });
        }
        SendOutcome::Unreachable { reason } => (Failure::Unreachable, reason),
        SendOutcome::NotBegun { reason } => {
            let after = GIVE_BACK_DELAY;
            (Failure::NotBegun { after }, reason)
        }
        SendOutcome::Refused(refusal) => {
            let failure = Failure::Refused {
                code: refusal.code,
                transient: refusal.transient,
                retry_after: refusal.retry_after,
            };
            (failure, refusal.details)
        }
    };
    judge_failure(world, failure, (reason, rest), claimed)
}

/// Tells how long the tenant's numbers rest after a call, while Meta refuses one after the other for faults of its own.
fn rest_after(world: &World, outcome: &SendOutcome) -> Option<Duration> {
    let is_fault = match outcome {
        SendOutcome::Accepted { .. } => false,
        SendOutcome::Refused(refusal) => is_metas_fault(refusal.code, refusal.transient),
        // Meta said nothing: the breaker of all tenants sees to that.
        SendOutcome::Unreachable { .. } | SendOutcome::Unknown { .. } | SendOutcome::NotBegun { .. } => {
            return None;
        }
    };
    if is_fault {
        world.refused()
    } else {
        world.refusals_ended();
        None
    }
}

/// Tells what an outcome says of Meta's health, if anything.
const fn sign_of(outcome: &SendOutcome) -> Option<Sign> {
    match outcome {
        SendOutcome::Accepted { .. } => Some(Sign::Well),
        SendOutcome::Refused(refusal) => match classify(refusal.code, refusal.transient) {
            ErrorClass::Outage => Some(Sign::Ill),
            _ => Some(Sign::Well),
        },
        SendOutcome::Unreachable { .. } => Some(Sign::Silent),
        SendOutcome::Unknown { cause, .. } => match cause {
            UnknownCause::Panicked | UnknownCause::OwnerGone => None,
            _ => Some(Sign::Silent),
        },
        SendOutcome::NotBegun { .. } => None,
    }
}

/// Decides what follows a failure.
pub(super) fn judge_failure(
    world: &World,
    failure: Failure,
    (reason, rest): (String, Option<Duration>),
    claimed: &Claimed,
) -> Judgement {
    let counted_before = claimed.counted_before;
    let around = Circumstances {
        counted_before,
        has_campaign: claimed.campaign.is_some(),
        outage: world.shared.health.outage(),
        rest,
        delay: before_attempt(world.shared.settings.retry_first_delay, counted_before),
    };
    let decision = decide(failure, around);
    let code = match failure {
        Failure::Refused { code, .. } => Some(code),
        Failure::Unreachable | Failure::NotBegun { .. } => None,
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
        class: decision.class,
    }
}
