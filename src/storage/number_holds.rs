//! Numbers that rest because Meta restricts them: held with a time at which they are tried again, released by good news.

use std::time::Duration;

use domain::campaign::PauseReason;
use domain::ids::{SenderId, TenantId};
use domain::number_hold::rest_after_refusal;
use jiff::Timestamp;
use uuid::Uuid;

use super::campaign_events::Actor;
use super::{Database, StorageError, Transaction, standings};

/// Rests whose end is longer ago than this, in hours, do not count towards the next one.
const FORGOTTEN_AFTER_HOURS: f64 = 24.0;

/// Holds a number, or all of the tenant's where Meta restricts the whole account, because Meta refused a message, and pauses what
/// leaves from it. A number that rests already goes on resting.
pub(super) async fn refused(
    transaction: &mut Transaction,
    tenant: TenantId,
    sender: Option<SenderId>,
    evidence: &str,
) -> Result<(), StorageError> {
    let rows = transaction
        .query(
            "SELECT id, coalesce(state = 'held' AND held_until > now(), false) AS rests,
                 CASE WHEN held_until > now() - $3 * interval '1 hour' THEN holds ELSE 0 END::integer AS holds
             FROM senders WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id = $2) ORDER BY id FOR UPDATE",
            &[&tenant.0, &sender.map(|sender| sender.0), &FORGOTTEN_AFTER_HOURS],
        )
        .await?;
    for row in &rows {
        let sender: Uuid = row.try_get("id")?;
        if !row.try_get::<_, bool>("rests")? {
            let before: i32 = row.try_get("holds")?;
            let until = after(rest_after_refusal(u32::try_from(before).unwrap_or(0)));
            let holds = i16::try_from(before.saturating_add(1)).unwrap_or(i16::MAX);
            set_held(transaction, sender, until, evidence, holds).await?;
        }
        pause_campaigns(transaction, sender, Actor::Worker, evidence).await?;
    }
    Ok(())
}

/// Holds a number until a time because Meta says so, and pauses its campaigns.
pub(super) async fn hold(
    transaction: &mut Transaction,
    sender: Uuid,
    until: Timestamp,
    evidence: &str,
) -> Result<(), StorageError> {
    set_held(transaction, sender, until, evidence, 0).await?;
    pause_campaigns(transaction, sender, Actor::Meta, evidence).await
}

/// Lets a number send again because Meta says so; its campaigns go on.
pub(super) async fn release(
    transaction: &mut Transaction,
    sender: Uuid,
    evidence: &str,
) -> Result<u64, StorageError> {
    transaction
        .execute(
            "UPDATE senders SET state = 'active', held_until = NULL, held_because = NULL, holds = 0, updated_at = now()
             WHERE id = $1 AND state = 'held'",
            &[&sender],
        )
        .await?;
    let campaigns = campaigns_of(transaction, sender, "paused").await?;
    standings::resume(
        transaction,
        &campaigns,
        PauseReason::NumberHold,
        Actor::Meta,
        evidence,
    )
    .await
}

/// Ends the rest of a number by hand: its paused campaigns are tried again with it.
///
/// # Errors
/// What the database says.
pub async fn end_rest(
    transaction: &mut Transaction,
    tenant: TenantId,
    sender: SenderId,
) -> Result<(), StorageError> {
    transaction
        .execute(
            "UPDATE senders SET state = 'active', held_until = now(), updated_at = now()
             WHERE tenant_id = $1 AND id = $2 AND state = 'held'",
            &[&tenant.0, &sender.0],
        )
        .await?;
    Ok(())
}

/// Tries numbers again whose rest is over, and pauses what was launched from a number that rests.
///
/// # Errors
/// What the database says.
pub async fn keep(database: &Database) -> Result<u64, StorageError> {
    let mut transaction = database.begin().await?;
    transaction
        .execute(
            "UPDATE senders SET state = 'active', updated_at = now() WHERE id IN (
                 SELECT id FROM senders WHERE state = 'held' AND held_until <= now() FOR UPDATE SKIP LOCKED)",
            &[],
        )
        .await?;
    let rested = ids(
        &mut transaction,
        "SELECT c.id FROM campaigns c JOIN senders s ON s.id = c.sender_id
         WHERE c.state = 'paused' AND c.reason = 'number_hold' AND (s.state <> 'held' OR s.held_until <= now())
         ORDER BY c.id FOR UPDATE OF c SKIP LOCKED",
    )
    .await?;
    let evidence = "the number has rested and is tried again";
    let resumed = standings::resume(
        &mut transaction,
        &rested,
        PauseReason::NumberHold,
        Actor::Planner,
        evidence,
    )
    .await?;
    let resting = ids(
        &mut transaction,
        "SELECT c.id FROM campaigns c JOIN senders s ON s.id = c.sender_id
         WHERE c.state = 'running' AND s.state = 'held' AND s.held_until > now()
         ORDER BY c.id FOR UPDATE OF c SKIP LOCKED",
    )
    .await?;
    let evidence = "the number rests because Meta restricts it";
    standings::pause(
        &mut transaction,
        &resting,
        PauseReason::NumberHold,
        Actor::Planner,
        evidence,
    )
    .await?;
    transaction.commit().await?;
    Ok(resumed)
}

async fn ids(transaction: &mut Transaction, statement: &'static str) -> Result<Vec<Uuid>, StorageError> {
    let rows = transaction.query(statement, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn set_held(
    transaction: &mut Transaction,
    sender: Uuid,
    until: Timestamp,
    evidence: &str,
    holds: i16,
) -> Result<(), StorageError> {
    transaction
        .execute(
            "UPDATE senders SET state = 'held', held_until = greatest(held_until, $2), held_because = $3,
                 holds = $4, updated_at = now()
             WHERE id = $1",
            &[&sender, &until, &evidence, &holds],
        )
        .await?;
    Ok(())
}

async fn pause_campaigns(
    transaction: &mut Transaction,
    sender: Uuid,
    actor: Actor,
    evidence: &str,
) -> Result<(), StorageError> {
    let campaigns = campaigns_of(transaction, sender, "running").await?;
    standings::pause(transaction, &campaigns, PauseReason::NumberHold, actor, evidence).await?;
    Ok(())
}

async fn campaigns_of(
    transaction: &mut Transaction,
    sender: Uuid,
    state: &str,
) -> Result<Vec<Uuid>, StorageError> {
    let rows = transaction
        .query(
            "SELECT id FROM campaigns WHERE sender_id = $1 AND state = $2 ORDER BY id FOR UPDATE",
            &[&sender, &state],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Gives the time after a rest.
pub(super) fn after(rest: Duration) -> Timestamp {
    Timestamp::now().checked_add(rest).unwrap_or(Timestamp::MAX)
}
