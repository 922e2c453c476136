//! Replaying dead messages, and giving up on them for good.

use domain::campaign::{CampaignState, Standing};
use domain::dead_letter::{LetterKind, Replay, replay_of};
use domain::ids::{CampaignId, MessageId, TenantId};
use domain::message::MessageState;
use tokio_postgres::Row;
use uuid::Uuid;

use super::reading::codes_of;
use super::{Action, CHUNK, Done, LetterFilter, Order, record};
use crate::storage::campaigns::{self, Moved};
use crate::storage::count_changes::{CountChanges, Writer};
use crate::storage::named::named;
use crate::storage::{Database, StorageError, Transaction};

struct Dead {
    id: MessageId,
    campaign: Option<CampaignId>,
    kind: LetterKind,
    error_code: Option<i32>,
}

/// What is to be done with a chunk.
#[derive(Default)]
struct Sorted {
    chosen: Vec<Uuid>,
    done: Done,
}

/// Gives the tenants that have dead messages, for `app_system`.
///
/// # Errors
/// What the database says.
pub async fn tenants_with_dead(database: &Database) -> Result<Vec<TenantId>, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "SELECT DISTINCT tenant_id FROM messages WHERE dead_at IS NOT NULL ORDER BY tenant_id",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| TenantId(row.get(0))).collect())
}

/// Replays or purges the dead messages of a tenant that a filter means, chunk by chunk, each with its record in a transaction of
/// its own. Safe to repeat and to interrupt: what moved is no dead message any more. Tells `progress` what was done so far.
///
/// # Errors
/// What the database says; what was moved until then stays moved.
pub async fn act(
    database: &Database,
    tenant: TenantId,
    filter: &LetterFilter,
    order: &Order,
    progress: &mut (dyn FnMut(&Done) + Send),
) -> Result<Done, StorageError> {
    let (mut sum, mut after) = (Done::default(), Uuid::nil());
    loop {
        let mut transaction = database.begin_for(tenant).await?;
        let found = dead_after(&mut transaction, tenant, filter, after).await?;
        let Some(last) = found.last() else {
            transaction.rollback().await?;
            return Ok(sum);
        };
        after = last.id.0;
        let cancelled = reopen(&mut transaction, tenant, &found, order.action).await?;
        let sorted = sort(&found, &cancelled, order.action);
        sum.add(move_chosen(&mut transaction, tenant, sorted, order).await?);
        transaction.commit().await?;
        progress(&sum);
    }
}

/// Tells what [`act`] would do now, and does nothing.
///
/// # Errors
/// What the database says.
pub async fn weigh(
    database: &Database,
    tenant: TenantId,
    filter: &LetterFilter,
    action: Action,
) -> Result<Done, StorageError> {
    let (mut sum, mut after) = (Done::default(), Uuid::nil());
    loop {
        let mut transaction = database.begin_for(tenant).await?;
        let found = dead_after(&mut transaction, tenant, filter, after).await?;
        let cancelled = cancelled_among(&mut transaction, tenant, &found).await?;
        transaction.rollback().await?;
        let Some(last) = found.last() else { return Ok(sum) };
        after = last.id.0;
        let mut sorted = sort(&found, &cancelled, action);
        sorted.done.moved = i64::try_from(sorted.chosen.len()).map_err(StorageError::nonsense)?;
        sum.add(sorted.done);
    }
}

async fn dead_after(
    transaction: &mut Transaction,
    tenant: TenantId,
    filter: &LetterFilter,
    after: Uuid,
) -> Result<Vec<Dead>, StorageError> {
    let (codes, none) = codes_of(transaction, Some(tenant), filter.class).await?;
    let rows = transaction
        .query(
            "SELECT id, campaign_id, dead_kind, error_code FROM messages
             WHERE tenant_id = $1 AND dead_at IS NOT NULL AND id > $2 AND ($3::uuid IS NULL OR campaign_id = $3)
                 AND ($4::uuid[] IS NULL OR id = ANY ($4)) AND ($5::text IS NULL OR dead_kind = $5)
                 AND ($6::integer[] IS NULL OR dead_kind = 'attempts_exhausted'
                     AND (error_code = ANY ($6) OR $7 AND error_code IS NULL))
             ORDER BY id LIMIT $8",
            &[
                &tenant.0,
                &after,
                &filter.campaign.map(|campaign| campaign.0),
                &filter.ids,
                &filter.kind.map(LetterKind::as_str),
                &codes,
                &none,
                &CHUNK,
            ],
        )
        .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &Row) -> Result<Dead, StorageError> {
    Ok(Dead {
        id: MessageId(row.try_get("id")?),
        campaign: row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId),
        kind: named(row, "dead_kind")?,
        error_code: row.try_get("error_code")?,
    })
}

/// Lets finished campaigns run again whose messages are replayed, and gives those that may not. They are locked before their
/// messages, in the order of their ids, as everywhere.
async fn reopen(
    transaction: &mut Transaction,
    tenant: TenantId,
    found: &[Dead],
    action: Action,
) -> Result<Vec<CampaignId>, StorageError> {
    let mut refused = Vec::new();
    if action == Action::Purge {
        return Ok(refused);
    }
    let wanted = found.iter().filter(|dead| is_allowed(dead, action));
    let mut wanted: Vec<CampaignId> = wanted.filter_map(|dead| dead.campaign).collect();
    wanted.sort_unstable();
    wanted.dedup();
    for campaign in wanted {
        let moved = campaigns::change(transaction, tenant, campaign, Standing::reopen).await?;
        if !matches!(moved, Moved::To { .. }) {
            refused.push(campaign);
        }
    }
    Ok(refused)
}

async fn cancelled_among(
    transaction: &mut Transaction,
    tenant: TenantId,
    found: &[Dead],
) -> Result<Vec<CampaignId>, StorageError> {
    let campaigns: Vec<Uuid> = found
        .iter()
        .filter_map(|dead| dead.campaign.map(|id| id.0))
        .collect();
    let rows = transaction
        .query(
            "SELECT id FROM campaigns WHERE tenant_id = $1 AND id = ANY ($2) AND state = $3",
            &[&tenant.0, &campaigns, &CampaignState::Cancelled.as_str()],
        )
        .await?;
    Ok(rows.iter().map(|row| CampaignId(row.get(0))).collect())
}

fn is_allowed(dead: &Dead, action: Action) -> bool {
    match action {
        Action::Purge | Action::Replay { force: true } => true,
        Action::Replay { force: false } => replay_of(dead.kind, dead.error_code) == Replay::Safe,
    }
}

fn sort(found: &[Dead], cancelled: &[CampaignId], action: Action) -> Sorted {
    let mut sorted = Sorted::default();
    for dead in found {
        let is_cancelled = dead
            .campaign
            .is_some_and(|campaign| cancelled.contains(&campaign));
        if !is_allowed(dead, action) {
            sorted.done.unsafe_to_replay += 1;
        } else if is_cancelled && action != Action::Purge {
            sorted.done.campaign_cancelled += 1;
        } else {
            sorted.chosen.push(dead.id.0);
        }
    }
    sorted
}

/// Moves what is still dead. A message that was replayed by somebody else meanwhile is not touched: never two for one.
async fn move_chosen(
    transaction: &mut Transaction,
    tenant: TenantId,
    sorted: Sorted,
    order: &Order,
) -> Result<Done, StorageError> {
    let Sorted { chosen, mut done } = sorted;
    let (statement, next) = match order.action {
        Action::Replay { .. } => (
            "UPDATE messages SET state = 'planned', due_at = now(), counted_attempts = 0, updated_at = now()
             WHERE tenant_id = $1 AND id = ANY ($2) AND state = 'dead' RETURNING id, campaign_id",
            MessageState::Planned,
        ),
        Action::Purge => (
            "UPDATE messages SET state = 'failed', updated_at = now()
             WHERE tenant_id = $1 AND id = ANY ($2) AND state = 'dead' RETURNING id, campaign_id",
            MessageState::Failed,
        ),
    };
    let rows = transaction.query(statement, &[&tenant.0, &chosen]).await?;
    let (mut changes, mut moved) = (CountChanges::default(), Vec::with_capacity(rows.len()));
    for row in &rows {
        moved.push(row.try_get::<_, Uuid>("id")?);
        let campaign = row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId);
        changes.moved(tenant, campaign, MessageState::Dead, next);
    }
    changes.write(transaction, Writer::Api).await?;
    done.moved = i64::try_from(moved.len()).map_err(StorageError::nonsense)?;
    done.gone = i64::try_from(chosen.len() - moved.len()).map_err(StorageError::nonsense)?;
    record(transaction, Some(tenant), order, &moved, done.skipped()).await?;
    Ok(done)
}
