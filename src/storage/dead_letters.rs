//! Messages that used up their attempts: listed, replayed, or given up on for good.

use domain::campaign::Standing;
use domain::ids::{CampaignId, MessageId, TenantId};
use domain::message::MessageState;
use domain::meta_error::classify;
use uuid::Uuid;

use super::campaigns::{self, Moved};
use super::count_changes::{CountChanges, Writer};
use super::messages::{Message, from_row};
use super::{Database, StorageError, Transaction};

/// How many rows one transaction moves.
const CHUNK_ROWS: i64 = 2_000;

/// Which dead messages are meant.
#[derive(Clone, Debug, Default)]
pub struct DeadFilter {
    /// Of this campaign only.
    pub campaign: Option<CampaignId>,
    /// These only.
    pub ids: Option<Vec<MessageId>>,
}

/// What to do with dead messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burial {
    /// Plan them again, due now, with all attempts before them.
    Replay {
        /// Also those whose last error says that a repetition cannot help or may harm.
        force: bool,
    },
    /// Give up: they become `failed`.
    Purge,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buried {
    /// Messages that moved.
    pub moved: i64,
    /// Messages that stayed dead: not safe to repeat, or their campaign was cancelled.
    pub skipped: i64,
}

/// Lists dead messages, newest first, those older than `before`.
///
/// # Errors
/// What the database says.
pub async fn list(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: Option<CampaignId>,
    before: Option<MessageId>,
    most: i64,
) -> Result<Vec<Message>, StorageError> {
    let rows = transaction
        .query(
            "SELECT id, campaign_id, sender_id, recipient, category, state, due_at, attempt_id, attempt_number, wamid,
                 error_code, error_reason, created_at, updated_at
             FROM messages
             WHERE tenant_id = $1 AND state = 'dead' AND id < $3 AND ($2::uuid IS NULL OR campaign_id = $2)
             ORDER BY id DESC LIMIT $4",
            &[
                &tenant.0,
                &campaign.map(Uuid::from),
                &before.map_or(Uuid::max(), Uuid::from),
                &most,
            ],
        )
        .await?;
    rows.iter().map(from_row).collect()
}

/// Replays or purges all dead messages that a filter means, chunk by chunk, each in a transaction of its own. Safe to
/// repeat and to interrupt.
///
/// # Errors
/// What the database says; what was moved until then stays moved.
pub async fn bury(
    database: &Database,
    tenant: TenantId,
    filter: &DeadFilter,
    what: Burial,
) -> Result<Buried, StorageError> {
    let mut sum = Buried::default();
    let mut after = Uuid::nil();
    loop {
        let mut transaction = database.begin_for(tenant).await?;
        let found = dead_after(&mut transaction, tenant, filter, after).await?;
        let Some(last) = found.last() else { return Ok(sum) };
        after = last.id.0;
        let done = bury_chunk(&mut transaction, tenant, &found, what).await?;
        transaction.commit().await?;
        sum.moved += done.moved;
        sum.skipped += done.skipped;
    }
}

struct Dead {
    id: MessageId,
    campaign: Option<CampaignId>,
    error_code: Option<i32>,
}

async fn dead_after(
    transaction: &mut Transaction,
    tenant: TenantId,
    filter: &DeadFilter,
    after: Uuid,
) -> Result<Vec<Dead>, StorageError> {
    let campaign = filter.campaign.map(Uuid::from);
    let rows = if let Some(ids) = &filter.ids {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        transaction
            .query(
                "SELECT id, campaign_id, error_code FROM messages
                 WHERE tenant_id = $1 AND state = 'dead' AND id > $2 AND ($3::uuid IS NULL OR campaign_id = $3)
                     AND id = ANY ($4)
                 ORDER BY id LIMIT $5",
                &[&tenant.0, &after, &campaign, &ids, &CHUNK_ROWS],
            )
            .await?
    } else {
        transaction
            .query(
                "SELECT id, campaign_id, error_code FROM messages
                 WHERE tenant_id = $1 AND state = 'dead' AND id > $2 AND ($3::uuid IS NULL OR campaign_id = $3)
                 ORDER BY id LIMIT $4",
                &[&tenant.0, &after, &campaign, &CHUNK_ROWS],
            )
            .await?
    };
    rows.iter()
        .map(|row| {
            Ok(Dead {
                id: MessageId(row.try_get("id")?),
                campaign: row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId),
                error_code: row.try_get("error_code")?,
            })
        })
        .collect()
}

/// Campaigns are locked before their messages, in the order of their ids, as everywhere.
async fn bury_chunk(
    transaction: &mut Transaction,
    tenant: TenantId,
    found: &[Dead],
    what: Burial,
) -> Result<Buried, StorageError> {
    let allowed = allowed_campaigns(transaction, tenant, found, what).await?;
    let chosen: Vec<Uuid> = found
        .iter()
        .filter(|dead| dead.campaign.is_none_or(|campaign| allowed.contains(&campaign)))
        .filter(|dead| may_move(dead.error_code, what))
        .map(|dead| dead.id.0)
        .collect();
    let (statement, next) = match what {
        Burial::Replay { .. } => (
            "UPDATE messages SET state = 'planned', due_at = now(), counted_attempts = 0, updated_at = now()
             WHERE tenant_id = $1 AND id = ANY ($2) AND state = 'dead' RETURNING campaign_id",
            MessageState::Planned,
        ),
        Burial::Purge => (
            "UPDATE messages SET state = 'failed', updated_at = now()
             WHERE tenant_id = $1 AND id = ANY ($2) AND state = 'dead' RETURNING campaign_id",
            MessageState::Failed,
        ),
    };
    let rows = transaction.query(statement, &[&tenant.0, &chosen]).await?;
    let mut changes = CountChanges::default();
    for row in &rows {
        let campaign = row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId);
        changes.moved(tenant, campaign, MessageState::Dead, next);
    }
    changes.write(transaction, Writer::Api).await?;
    let moved = i64::try_from(rows.len()).map_err(StorageError::nonsense)?;
    let all = i64::try_from(found.len()).map_err(StorageError::nonsense)?;
    Ok(Buried {
        moved,
        skipped: all - moved,
    })
}

/// Gives the campaigns whose messages may move; a replay makes finished ones run again.
async fn allowed_campaigns(
    transaction: &mut Transaction,
    tenant: TenantId,
    found: &[Dead],
    what: Burial,
) -> Result<Vec<CampaignId>, StorageError> {
    let mut campaigns: Vec<CampaignId> = found
        .iter()
        .filter(|dead| may_move(dead.error_code, what))
        .filter_map(|dead| dead.campaign)
        .collect();
    campaigns.sort_unstable();
    campaigns.dedup();
    let mut allowed = Vec::with_capacity(campaigns.len());
    for campaign in campaigns {
        let moves = match what {
            Burial::Purge => true,
            Burial::Replay { .. } => matches!(
                campaigns::change(transaction, tenant, campaign, Standing::reopen).await?,
                Moved::To { .. }
            ),
        };
        if moves {
            allowed.push(campaign);
        }
    }
    Ok(allowed)
}

/// A message dies only of errors that were worth repeating, so a code that means several things is read as transient.
fn may_move(error_code: Option<i32>, what: Burial) -> bool {
    match what {
        Burial::Purge | Burial::Replay { force: true } => true,
        Burial::Replay { force: false } => {
            error_code.is_none_or(|code| classify(code, true).is_safe_to_replay())
        }
    }
}
