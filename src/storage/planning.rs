//! What the planner reads and moves: due rows into the queue, forgotten ones back, campaigns to their beginning and end.
//! Any number of planners may run at once: rows are taken with `SKIP LOCKED`.

use std::time::Duration;

use domain::campaign::CampaignState;
use domain::canary::CanaryState;
use domain::ids::{CampaignId, MessageId, SenderId, TenantId};
use domain::local_window::LocalWindow;
use domain::message::{Lane, MessageState};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::campaign_events::{Actor, because};
use super::count_changes::{CountChanges, Writer};
use super::{Database, StorageError, Transaction, sending_windows};

/// Rows of a cancelled campaign that one transaction moves.
const SWEEP_MOST: i64 = 2_000;
/// Cancelled campaigns that one round looks at, any of them: one that waits for its last calls never hides the others.
const SWEPT_AT_ONCE: i64 = 16;
/// Forgotten rows that one transaction gives back.
const FORGOTTEN_MOST: i64 = 2_000;

/// Something that has messages to send: a running campaign, or the single messages of a sender.
#[derive(Clone, Debug)]
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
    /// Only the campaign's canary may leave.
    pub only_canary: bool,
    /// When its recipients may be written to; none means always.
    pub window: Option<LocalWindow>,
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
    /// Their campaign, if they are of one.
    pub campaign: Option<CampaignId>,
    /// Which messages.
    pub messages: Vec<MessageId>,
    /// Since when the oldest of them was due, where that is not a matter of the number's rate.
    pub due_at: Option<Timestamp>,
}

const SOURCES: &str = "SELECT w.tenant_id, w.sender_id, w.campaign_id, s.messages_per_second, coalesce(q.queued, 0)::integer AS queued,
        k.state AS canary, w.sending_window, CASE WHEN w.sending_window IS NOT NULL THEN t.timezone END AS timezone
    FROM (SELECT tenant_id, sender_id, id AS campaign_id, sending_window FROM campaigns WHERE state = 'running'
        UNION ALL
        SELECT single.tenant_id, single.sender_id, NULL::uuid, NULL::json FROM (SELECT DISTINCT tenant_id, sender_id FROM messages
            WHERE due_at <= now() AND due_at IS NOT NULL AND campaign_id IS NULL) single) w
    JOIN senders s ON s.id = w.sender_id
    JOIN tenants t ON t.id = w.tenant_id AND t.quarantined_at IS NULL
    LEFT JOIN campaign_canaries k ON k.campaign_id = w.campaign_id
    LEFT JOIN (SELECT sender_id, count(*) AS queued FROM messages WHERE queued_at IS NOT NULL GROUP BY sender_id) q
        ON q.sender_id = w.sender_id
    ORDER BY w.sender_id, w.campaign_id";

/// The time at which a campaign that starts by itself is called late, in seconds.
const LATE_AFTER: f64 = 60.0;

/// Lists what may send now: not a campaign whose canary is still being drawn, nor one whose window is closed for everybody. Those of a
/// tenant in quarantine wait where they are.
///
/// # Errors
/// What the database says.
pub async fn sources(database: &Database) -> Result<Vec<Source>, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection.query(SOURCES, &[]).await?;
    let now = Timestamp::now();
    let sources = rows.iter().filter_map(|row| source(row, now).transpose());
    sources.collect()
}

fn source(row: &Row, now: Timestamp) -> Result<Option<Source>, StorageError> {
    let canary = row.try_get::<_, Option<&str>>("canary")?;
    let canary: Option<CanaryState> = canary
        .map(str::parse)
        .transpose()
        .map_err(StorageError::nonsense)?;
    let stored = row.try_get::<_, Option<serde_json::Value>>("sending_window")?;
    let window = match sending_windows::read(stored.as_ref())? {
        Some(window) => {
            let local = LocalWindow::new(window, row.try_get("timezone")?);
            Some(local.map_err(StorageError::nonsense)?)
        }
        None => None,
    };
    let closed = window
        .as_ref()
        .is_some_and(|window| window.closed_for_all_until(now).is_some());
    if closed || canary == Some(CanaryState::Choosing) {
        return Ok(None);
    }
    Ok(Some(Source {
        tenant: TenantId(row.try_get("tenant_id")?),
        sender: SenderId(row.try_get("sender_id")?),
        campaign: row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId),
        messages_per_second: number(row, "messages_per_second")?,
        queued: number(row, "queued")?,
        only_canary: canary.is_some_and(CanaryState::is_open),
        window,
    }))
}

fn number(row: &Row, column: &str) -> Result<u32, StorageError> {
    u32::try_from(row.try_get::<_, i32>(column)?).map_err(StorageError::nonsense)
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
    start_scheduled(&mut transaction).await?;
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
        because(&mut transaction, Actor::Planner, "nothing is left to send").await?;
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

/// Starts what is due. What nobody started in time, because no planner ran, starts all the same, and says so.
async fn start_scheduled(transaction: &mut Transaction) -> Result<(), StorageError> {
    let due = transaction
        .query(
            "SELECT id, extract(epoch FROM now() - schedule_at)::float8 AS late FROM campaigns
             WHERE state = 'scheduled' AND schedule_at <= now() ORDER BY id FOR UPDATE SKIP LOCKED",
            &[],
        )
        .await?;
    for row in &due {
        let (campaign, late): (Uuid, f64) = (row.try_get("id")?, row.try_get("late")?);
        let evidence = if late > LATE_AFTER {
            tracing::warn!(campaign.id = %campaign, late_seconds = late, "a scheduled campaign starts late");
            format!("its time came {late:.0} seconds ago, when no planner was running")
        } else {
            "its time has come".to_owned()
        };
        because(transaction, Actor::Planner, &evidence).await?;
        transaction
            .execute(
                "UPDATE campaigns SET state = 'running', launched_at = now() WHERE id = $1",
                &[&campaign],
            )
            .await?;
    }
    Ok(())
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
