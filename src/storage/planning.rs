//! What the planner reads and moves: due rows into the queue, forgotten ones back, campaigns to their beginning and end.
//! Any number of planners may run at once: rows are taken with `SKIP LOCKED`.

use std::time::Duration;

use domain::campaign::CampaignState;
use domain::ids::{CampaignId, EventId, MessageId, SenderId, TenantId};
use domain::message::{Lane, MessageState};
use tokio_postgres::Row;
use uuid::Uuid;

use super::count_changes::{CountChanges, Writer};
use super::{Database, StorageError, Transaction};

/// Rows of a cancelled campaign that one transaction moves.
const SWEEP_MOST: i64 = 2_000;
/// Cancelled campaigns that one round looks at, any of them: one that waits for its last calls never hides the others.
const SWEPT_AT_ONCE: i64 = 16;
/// Forgotten rows that one transaction gives back.
const FORGOTTEN_MOST: i64 = 2_000;
/// Unapplied events that are published again at once.
const UNAPPLIED_MOST: i64 = 10_000;

/// Something that has messages to send: a running campaign, or the single messages of a sender.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Whose.
    pub tenant: TenantId,
    /// The number they leave from.
    pub sender: SenderId,
    /// The campaign; none for single messages.
    pub campaign: Option<CampaignId>,
    /// The number's rate.
    pub messages_per_second: u32,
    /// How many of the sender's messages are queued already.
    pub queued: u32,
}

/// Messages of one source that are queued now, to be published.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Whose.
    pub tenant: TenantId,
    /// The number they leave from.
    pub sender: SenderId,
    /// Which lane they take.
    pub lane: Lane,
    /// Their campaign; none for single messages.
    pub campaign: Option<CampaignId>,
    /// Which messages.
    pub messages: Vec<MessageId>,
}

const SOURCES: &str = "SELECT w.tenant_id, w.sender_id, w.campaign_id, s.messages_per_second, coalesce(q.queued, 0)::integer AS queued
    FROM (SELECT tenant_id, sender_id, id AS campaign_id FROM campaigns WHERE state = 'running'
        UNION ALL
        SELECT DISTINCT tenant_id, sender_id, NULL::uuid FROM messages
        WHERE due_at <= now() AND due_at IS NOT NULL AND campaign_id IS NULL) w
    JOIN senders s ON s.id = w.sender_id
    LEFT JOIN (SELECT sender_id, count(*) AS queued FROM messages WHERE queued_at IS NOT NULL GROUP BY sender_id) q
        ON q.sender_id = w.sender_id
    ORDER BY w.sender_id, w.campaign_id";

/// Lists what has messages to send.
///
/// # Errors
/// What the database says.
pub async fn sources(database: &Database) -> Result<Vec<Source>, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection.query(SOURCES, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Source {
                tenant: TenantId(row.try_get("tenant_id")?),
                sender: SenderId(row.try_get("sender_id")?),
                campaign: row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId),
                messages_per_second: number(row, "messages_per_second")?,
                queued: number(row, "queued")?,
            })
        })
        .collect()
}

fn number(row: &Row, column: &str) -> Result<u32, StorageError> {
    u32::try_from(row.try_get::<_, i32>(column)?).map_err(StorageError::nonsense)
}

const OF_CAMPAIGN: &str = "WITH due AS (SELECT tenant_id, id FROM messages
        WHERE campaign_id = $1 AND due_at IS NOT NULL AND due_at <= now() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    UPDATE messages m SET state = 'queued', queued_at = now(), due_at = NULL, updated_at = now()
    FROM due WHERE m.tenant_id = due.tenant_id AND m.id = due.id RETURNING m.id";
const OF_SENDER: &str = "WITH due AS (SELECT tenant_id, id FROM messages
        WHERE due_at IS NOT NULL AND due_at <= now() AND campaign_id IS NULL AND sender_id = $1
        ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    UPDATE messages m SET state = 'queued', queued_at = now(), due_at = NULL, updated_at = now()
    FROM due WHERE m.tenant_id = due.tenant_id AND m.id = due.id RETURNING m.id";

/// Moves due messages of sources to `queued`, each up to its share, in one transaction.
///
/// # Errors
/// What the database says.
pub async fn take(database: &Database, wanted: &[(Source, u32)]) -> Result<Vec<Taken>, StorageError> {
    let mut transaction = database.begin().await?;
    let (mut taken, mut changes) = (Vec::new(), CountChanges::default());
    for (source, share) in wanted {
        let messages = take_from(&mut transaction, source, i64::from(*share)).await?;
        if messages.is_empty() {
            continue;
        }
        for _ in &messages {
            changes.moved(
                source.tenant,
                source.campaign,
                MessageState::Planned,
                MessageState::Queued,
            );
        }
        let lane = source.campaign.map_or(Lane::Fast, |_| Lane::Bulk);
        taken.push(Taken {
            tenant: source.tenant,
            sender: source.sender,
            lane,
            campaign: source.campaign,
            messages,
        });
    }
    changes.write(&mut transaction, Writer::Planner).await?;
    transaction.commit().await?;
    Ok(taken)
}

async fn take_from(
    transaction: &mut Transaction,
    source: &Source,
    most: i64,
) -> Result<Vec<MessageId>, StorageError> {
    let rows = match source.campaign {
        Some(campaign) => transaction.query(OF_CAMPAIGN, &[&campaign.0, &most]).await?,
        None => transaction.query(OF_SENDER, &[&source.sender.0, &most]).await?,
    };
    Ok(rows.iter().map(|row| MessageId(row.get(0))).collect())
}

/// Gives messages back to `planned` that have been `queued` for too long: whoever should have claimed them is gone.
///
/// # Errors
/// What the database says.
pub async fn give_back_forgotten(database: &Database, queued_for: Duration) -> Result<usize, StorageError> {
    let mut transaction = database.begin().await?;
    let rows = transaction
        .query(
            "WITH forgotten AS (SELECT tenant_id, id FROM messages WHERE queued_at IS NOT NULL
                AND queued_at < now() - $1 * interval '1 second' LIMIT $2 FOR UPDATE SKIP LOCKED)
             UPDATE messages m SET state = 'planned', queued_at = NULL, due_at = now(), updated_at = now()
             FROM forgotten f WHERE m.tenant_id = f.tenant_id AND m.id = f.id RETURNING m.tenant_id, m.campaign_id",
            &[&queued_for.as_secs_f64(), &FORGOTTEN_MOST],
        )
        .await?;
    let changes = moves(&rows, MessageState::Queued, MessageState::Planned);
    changes.write(&mut transaction, Writer::Planner).await?;
    transaction.commit().await?;
    Ok(rows.len())
}

fn moves(rows: &[Row], from: MessageState, to: MessageState) -> CountChanges {
    let mut changes = CountChanges::default();
    for row in rows {
        changes.moved(
            TenantId(row.get(0)),
            row.get::<_, Option<Uuid>>(1).map(CampaignId),
            from,
            to,
        );
    }
    changes
}

/// Launches scheduled campaigns whose time has come, and finishes running ones that have nothing left to send.
///
/// # Errors
/// What the database says.
pub async fn turn_campaigns(database: &Database) -> Result<(), StorageError> {
    let mut transaction = database.begin().await?;
    transaction
        .execute(
            "UPDATE campaigns SET state = 'running', launched_at = now() WHERE state = 'scheduled' AND schedule_at <= now()",
            &[],
        )
        .await?;
    // Whoever gives an ended message something to do again locks the campaign first: those are left alone, and what is
    // counted below, under the lock, stays true until the end of this transaction.
    let rows = transaction
        .query(
            "SELECT id FROM campaigns c WHERE state = 'running' AND 0 = (SELECT coalesce(sum(planned + queued + sending), 0)
                FROM campaign_counts k WHERE k.campaign_id = c.id) ORDER BY id FOR UPDATE SKIP LOCKED",
            &[],
        )
        .await?;
    let done: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    if !done.is_empty() {
        transaction
            .execute(
                "UPDATE campaigns c SET state = 'finished', finished_at = now() WHERE id = ANY($1) AND state = 'running'
                    AND 0 = (SELECT coalesce(sum(planned + queued + sending), 0) FROM campaign_counts k
                        WHERE k.campaign_id = c.id)",
                &[&done],
            )
            .await?;
    }
    transaction.commit().await
}

/// Moves what cancelled campaigns had still to send to `cancelled`, a bounded number of rows at a time. Tells how many.
///
/// # Errors
/// What the database says.
pub async fn sweep_cancelled(database: &Database) -> Result<usize, StorageError> {
    let state = CampaignState::Cancelled.as_str();
    let campaigns = database
        .get()
        .await?
        .query(
            "SELECT id FROM campaigns WHERE state = $1 AND finished_at IS NULL ORDER BY random() LIMIT $2",
            &[&state, &SWEPT_AT_ONCE],
        )
        .await?;
    let mut moved = 0;
    for campaign in campaigns {
        moved += sweep_campaign(database, campaign.try_get(0)?).await?;
    }
    Ok(moved)
}

async fn sweep_campaign(database: &Database, campaign: Uuid) -> Result<usize, StorageError> {
    let mut transaction = database.begin().await?;
    let rows = transaction
        .query(
            "WITH left_over AS (SELECT tenant_id, id FROM messages WHERE campaign_id = $1 AND due_at IS NOT NULL
                LIMIT $2 FOR UPDATE SKIP LOCKED)
             UPDATE messages m SET state = 'cancelled', due_at = NULL, updated_at = now()
             FROM left_over l WHERE m.tenant_id = l.tenant_id AND m.id = l.id RETURNING m.tenant_id",
            &[&campaign, &SWEEP_MOST],
        )
        .await?;
    let mut changes = CountChanges::default();
    for row in &rows {
        let tenant = TenantId(row.get(0));
        changes.moved(
            tenant,
            Some(CampaignId(campaign)),
            MessageState::Planned,
            MessageState::Cancelled,
        );
    }
    changes.write(&mut transaction, Writer::Planner).await?;
    transaction
        .execute(
            "UPDATE campaigns c SET finished_at = now() WHERE id = $1 AND 0 = (
                SELECT coalesce(sum(planned + queued + sending), 0) FROM campaign_counts k WHERE k.campaign_id = c.id)",
            &[&campaign],
        )
        .await?;
    transaction.commit().await?;
    Ok(rows.len())
}

/// Lists stored events that nobody applied for a while, by tenant.
///
/// # Errors
/// What the database says.
pub async fn unapplied_events(
    database: &Database,
    unapplied_for: Duration,
) -> Result<Vec<(TenantId, Vec<EventId>)>, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "SELECT tenant_id, array_agg(id) FROM (SELECT tenant_id, id FROM events e WHERE applied_at IS NULL
                AND received_at < now() - $1 * interval '1 second' AND NOT EXISTS (
                    SELECT FROM dead_letters d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.id
                        AND d.resolution IS DISTINCT FROM 'replayed')
                ORDER BY received_at LIMIT $2) late GROUP BY tenant_id",
            &[&unapplied_for.as_secs_f64(), &UNAPPLIED_MOST],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let ids: Vec<Uuid> = row.get(1);
            (TenantId(row.get(0)), ids.into_iter().map(EventId).collect())
        })
        .collect())
}
