//! Moving several campaigns at once for a reason that is not a person's: what pauses them, and what lets them go on.

use std::sync::LazyLock;

use domain::campaign::{CampaignState, PauseReason, Standing};
use domain::meta_error::{ErrorClass, classify};
use uuid::Uuid;

use super::campaign_events::{Actor, because};
use super::{StorageError, Transaction};

/// Messages that are brought forward when their campaigns go on. A tenant never has more of them in its hands.
const FORWARD_MOST: i64 = 2_000;
/// How far ahead a message may be due that waits for nothing but the end of the pause, in seconds.
const FORWARD_WITHIN: f64 = 60.0;
/// Meta's codes run to here.
const CODES_END: i32 = 140_000;

/// Codes that pause: a message which met one waits for the end of the pause and for nothing else.
static PAUSING_CODES: LazyLock<Vec<i32>> = LazyLock::new(|| {
    let pauses = |code: &i32| {
        matches!(
            classify(*code, false),
            ErrorClass::NumberHold
                | ErrorClass::NumberFatal
                | ErrorClass::TenantHold
                | ErrorClass::TenantFatal
                | ErrorClass::TemplateHold
                | ErrorClass::TemplateFatal
        )
    };
    (0..CODES_END).filter(pauses).collect()
});

/// Pauses those of the campaigns that run. Answers with how many.
pub(super) async fn pause(
    transaction: &mut Transaction,
    campaigns: &[Uuid],
    reason: PauseReason,
    actor: Actor,
    evidence: &str,
) -> Result<u64, StorageError> {
    if campaigns.is_empty() {
        return Ok(0);
    }
    because(transaction, actor, evidence).await?;
    transaction
        .execute(
            "UPDATE campaigns SET state = 'paused', reason = $2 WHERE id = ANY ($1) AND state = 'running'",
            &[&campaigns, &reason.as_str()],
        )
        .await
}

/// Lets those of the campaigns go on that are paused for this very reason. Answers with how many. What was put off because of it is
/// due now.
pub(super) async fn resume(
    transaction: &mut Transaction,
    campaigns: &[Uuid],
    over: PauseReason,
    actor: Actor,
    evidence: &str,
) -> Result<u64, StorageError> {
    let paused = Standing {
        state: CampaignState::Paused,
        reason: Some(over),
    };
    let next = paused.resume_after(over);
    if campaigns.is_empty() || next == paused {
        return Ok(0);
    }
    because(transaction, actor, evidence).await?;
    let resumed = transaction
        .execute(
            "UPDATE campaigns SET state = $3, reason = NULL WHERE id = ANY ($1) AND state = 'paused' AND reason = $2",
            &[&campaigns, &over.as_str(), &next.state.as_str()],
        )
        .await?;
    bring_forward(transaction, campaigns).await?;
    Ok(resumed)
}

/// Makes messages due now that waited for the end of a pause: those given back untried, and those that met its cause. Retries and
/// throttles keep their time.
pub async fn bring_forward(transaction: &mut Transaction, campaigns: &[Uuid]) -> Result<(), StorageError> {
    transaction
        .execute(
            "WITH waiting AS (SELECT tenant_id, id FROM messages
                 WHERE campaign_id = ANY ($1) AND due_at > now() AND due_at <= now() + $2 * interval '1 second'
                     AND (error_code IS NULL OR error_code = ANY ($3))
                 LIMIT $4 FOR UPDATE SKIP LOCKED)
             UPDATE messages m SET due_at = now(), updated_at = now()
             FROM waiting w WHERE m.tenant_id = w.tenant_id AND m.id = w.id",
            &[&campaigns, &FORWARD_WITHIN, &*PAUSING_CODES, &FORWARD_MOST],
        )
        .await?;
    Ok(())
}
