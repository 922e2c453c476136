//! What a tenant's owner does to its message rows outside of the ledger: give back, expire, pause. Each is safe to repeat.

use actors::ports::{PauseScope, Poison};
use domain::campaign::PauseReason;
use domain::ids::{AttemptId, CampaignId, MessageId, TenantId};
use domain::message::MessageState;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::campaign_events::Actor;
use super::count_changes::{CountChanges, Writer};
use super::{Database, StorageError, Transaction, number_holds, standings};

/// What is said of an attempt whose owner was gone before it stored an outcome.
const OWNER_GONE: &str = "the sender stopped before it knew whether Meta took the message";

/// Gives queued messages back to `planned`, due at `due_at`.
///
/// # Errors
/// What the database says.
pub async fn give_back(
    database: &Database,
    tenant: TenantId,
    messages: &[MessageId],
    due_at: Timestamp,
) -> Result<(), StorageError> {
    let messages: Vec<Uuid> = messages.iter().map(|message| message.0).collect();
    let mut transaction = database.begin().await?;
    let rows = transaction
        .query(
            "WITH mine AS (SELECT tenant_id, id FROM messages WHERE tenant_id = $1 AND id = ANY($2) AND state = 'queued'
                ORDER BY id FOR UPDATE)
             UPDATE messages m SET state = 'planned', queued_at = NULL, due_at = $3, updated_at = now()
             FROM mine WHERE m.tenant_id = mine.tenant_id AND m.id = mine.id RETURNING m.campaign_id",
            &[&tenant.0, &messages, &due_at],
        )
        .await?;
    let changes = moves(tenant, &rows, MessageState::Queued, MessageState::Planned);
    changes.write(&mut transaction, Writer::Committer).await?;
    transaction.commit().await
}

/// Makes poison dead letters: queued messages become `dead`, events are set aside until somebody replays them.
///
/// # Errors
/// What the database says.
pub async fn bury(database: &Database, poison: &Poison) -> Result<(), StorageError> {
    let messages: Vec<Uuid> = poison.messages.iter().map(|message| message.0).collect();
    let events: Vec<Uuid> = poison.events.iter().map(|event| event.0).collect();
    let letters: Vec<Uuid> = events.iter().map(|_| Uuid::now_v7()).collect();
    let mut transaction = database.begin().await?;
    let rows = transaction
        .query(
            "WITH mine AS (SELECT tenant_id, id FROM messages WHERE tenant_id = $1 AND id = ANY($2) AND state = 'queued'
                ORDER BY id FOR UPDATE)
             UPDATE messages m SET state = 'dead', dead_kind = 'poison', queued_at = NULL, error_code = NULL,
                 error_reason = $3, updated_at = now()
             FROM mine WHERE m.tenant_id = mine.tenant_id AND m.id = mine.id RETURNING m.campaign_id",
            &[&poison.tenant.0, &messages, &poison.reason],
        )
        .await?;
    transaction
        .execute(
            "INSERT INTO dead_letters (id, tenant_id, kind, queue, payload, error, event_id)
             SELECT letter, $1, 'poison', '', '', $4, event FROM unnest($2::uuid[], $3::uuid[]) AS w (letter, event)
             ON CONFLICT DO NOTHING",
            &[&poison.tenant.0, &letters, &events, &poison.reason],
        )
        .await?;
    let changes = moves(poison.tenant, &rows, MessageState::Queued, MessageState::Dead);
    changes.write(&mut transaction, Writer::Committer).await?;
    transaction.commit().await
}

/// Turns `sending` messages that are past their deadline, and whose attempt is not `live`, into `unknown`.
///
/// # Errors
/// What the database says.
pub async fn expire_sending(
    database: &Database,
    tenant: TenantId,
    live: &[AttemptId],
) -> Result<usize, StorageError> {
    let live: Vec<Uuid> = live.iter().map(|attempt| attempt.0).collect();
    let mut transaction = database.begin().await?;
    let rows = transaction
        .query(
            "WITH late AS (SELECT tenant_id, id FROM messages WHERE tenant_id = $1 AND deadline < now()
                AND NOT attempt_id = ANY($2) ORDER BY id FOR UPDATE)
             UPDATE messages m SET state = 'unknown', deadline = NULL, unknown_since = now(), updated_at = now(), error_reason = $3
             FROM late WHERE m.tenant_id = late.tenant_id AND m.id = late.id
             RETURNING m.campaign_id, m.attempt_id, m.id, m.attempt_number",
            &[&tenant.0, &live, &OWNER_GONE],
        )
        .await?;
    note_unknown(&mut transaction, tenant, &rows).await?;
    let changes = moves(tenant, &rows, MessageState::Sending, MessageState::Unknown);
    changes.write(&mut transaction, Writer::Committer).await?;
    transaction.commit().await?;
    Ok(rows.len())
}

/// Keeps for the timeline that nobody knew how these attempts had ended.
async fn note_unknown(
    transaction: &mut Transaction,
    tenant: TenantId,
    rows: &[Row],
) -> Result<(), StorageError> {
    let attempts: Vec<Uuid> = rows.iter().map(|row| row.get(1)).collect();
    let messages: Vec<Uuid> = rows.iter().map(|row| row.get(2)).collect();
    let numbers: Vec<i32> = rows.iter().map(|row| row.get(3)).collect();
    transaction
        .execute(
            "INSERT INTO message_attempts (tenant_id, attempt_id, message_id, attempt_number, outcome, reason)
             SELECT $1, w.attempt_id, w.message_id, w.number, 'unknown', $5
             FROM unnest($2::uuid[], $3::uuid[], $4::integer[]) AS w (attempt_id, message_id, number)
             ON CONFLICT DO NOTHING",
            &[&tenant.0, &attempts, &messages, &numbers, &OWNER_GONE],
        )
        .await?;
    Ok(())
}

fn moves(tenant: TenantId, rows: &[Row], from: MessageState, to: MessageState) -> CountChanges {
    let mut changes = CountChanges::default();
    for row in rows {
        let campaign = row.get::<_, Option<Uuid>>(0).map(CampaignId);
        changes.moved(tenant, campaign, from, to);
    }
    changes
}

/// Pauses running campaigns, with a reason that tells the tenant what to do. A number that Meta restricts rests meanwhile.
///
/// # Errors
/// What the database says.
pub async fn pause(
    database: &Database,
    tenant: TenantId,
    scope: PauseScope,
    reason: PauseReason,
    evidence: &str,
) -> Result<(), StorageError> {
    let (sender, campaign) = match scope {
        PauseScope::Tenant => (None, None),
        PauseScope::Sender(sender) => (Some(sender), None),
        PauseScope::Campaign(campaign) => (None, Some(campaign.0)),
    };
    let mut transaction = database.begin().await?;
    if reason == PauseReason::NumberHold {
        number_holds::refused(&mut transaction, tenant, sender, evidence).await?;
        return transaction.commit().await;
    }
    let rows = transaction
        .query(
            "SELECT id FROM campaigns WHERE tenant_id = $1 AND state = 'running'
                AND ($2::uuid IS NULL OR sender_id = $2) AND ($3::uuid IS NULL OR id = $3) ORDER BY id FOR UPDATE",
            &[&tenant.0, &sender.map(|sender| sender.0), &campaign],
        )
        .await?;
    let campaigns: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    standings::pause(&mut transaction, &campaigns, reason, Actor::Worker, evidence).await?;
    transaction.commit().await
}
