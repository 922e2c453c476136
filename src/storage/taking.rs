//! Taking due messages for the queue: each source up to its share, only the canary while there is one, and nobody outside of their
//! sending window, who is put off until it opens.

use domain::ids::{CampaignId, MessageId};
use domain::local_window::LocalWindow;
use domain::message::{Lane, MessageState};
use domain::sending_window::Opening;
use jiff::Timestamp;
use uuid::Uuid;

use super::count_changes::{CountChanges, Writer};
use super::planning::{Source, Taken};
use super::{Database, StorageError, Transaction};

/// Messages of one source that one round puts off until their window opens. A campaign of a million whose window is closed
/// everywhere is put off in a minute, and each row once.
const PUT_OFF_MOST: i64 = 1_000;
/// Looks at one source in a round.
const LOOKS_MOST: usize = 3;

const OF_CAMPAIGN: &str = "WITH due AS (SELECT tenant_id, id FROM messages
        WHERE campaign_id = $1 AND due_at IS NOT NULL AND due_at <= now() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    UPDATE messages m SET state = 'queued', queued_at = now(), due_at = NULL, updated_at = now()
    FROM due WHERE m.tenant_id = due.tenant_id AND m.id = due.id RETURNING m.id";
const OF_CANARY: &str = "WITH due AS (SELECT tenant_id, id FROM messages
        WHERE campaign_id = $1 AND is_canary AND due_at IS NOT NULL AND due_at <= now() ORDER BY due_at LIMIT $2
        FOR UPDATE SKIP LOCKED)
    UPDATE messages m SET state = 'queued', queued_at = now(), due_at = NULL, updated_at = now()
    FROM due WHERE m.tenant_id = due.tenant_id AND m.id = due.id RETURNING m.id";
const OF_SENDER: &str = "WITH due AS (SELECT tenant_id, id, due_at FROM messages
        WHERE due_at IS NOT NULL AND due_at <= now() AND campaign_id IS NULL AND sender_id = $1
        ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    UPDATE messages m SET state = 'queued', queued_at = now(), due_at = NULL, updated_at = now()
    FROM due WHERE m.tenant_id = due.tenant_id AND m.id = due.id RETURNING m.id, due.due_at";
const LOOK_AT_CAMPAIGN: &str = "SELECT id, recipient FROM messages
    WHERE campaign_id = $1 AND due_at IS NOT NULL AND due_at <= now() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED";
const LOOK_AT_CANARY: &str = "SELECT id, recipient FROM messages
    WHERE campaign_id = $1 AND is_canary AND due_at IS NOT NULL AND due_at <= now() ORDER BY due_at LIMIT $2
    FOR UPDATE SKIP LOCKED";
const QUEUE: &str =
    "UPDATE messages SET state = 'queued', queued_at = now(), due_at = NULL, updated_at = now()
    WHERE tenant_id = $1 AND id = ANY ($2)";
const PUT_OFF: &str = "UPDATE messages m SET due_at = w.due_at, updated_at = now()
    FROM unnest($2::uuid[], $3::timestamptz[]) AS w (id, due_at) WHERE m.tenant_id = $1 AND m.id = w.id";

/// Moves due messages of sources to `queued`, each up to its share, in one transaction.
///
/// # Errors
/// What the database says.
pub async fn take(database: &Database, wanted: &[(Source, u32)]) -> Result<Vec<Taken>, StorageError> {
    let mut transaction = database.begin().await?;
    let (mut taken, mut changes) = (Vec::new(), CountChanges::default());
    for (source, share) in wanted {
        let (messages, due_at) = take_from(&mut transaction, source, i64::from(*share)).await?;
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
            due_at,
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
) -> Result<(Vec<MessageId>, Option<Timestamp>), StorageError> {
    let rows = match (source.campaign, &source.window) {
        (Some(campaign), Some(window)) => {
            let taken = take_open(transaction, source, campaign, window, most).await?;
            return Ok((taken, None));
        }
        (Some(campaign), None) if source.only_canary => {
            transaction.query(OF_CANARY, &[&campaign.0, &most]).await?
        }
        (Some(campaign), None) => transaction.query(OF_CAMPAIGN, &[&campaign.0, &most]).await?,
        (None, _) => transaction.query(OF_SENDER, &[&source.sender.0, &most]).await?,
    };
    // A campaign's messages are due all at once, and wait for their number's rate.
    let due = match source.campaign {
        Some(_) => None,
        None => rows.iter().map(|row| row.get::<_, Timestamp>(1)).min(),
    };
    Ok((rows.iter().map(|row| MessageId(row.get(0))).collect(), due))
}

/// Takes those whose window is open. Where some are found closed, more are looked at, so that a stretch of them never costs its
/// campaign a round.
async fn take_open(
    transaction: &mut Transaction,
    source: &Source,
    campaign: CampaignId,
    window: &LocalWindow,
    most: i64,
) -> Result<Vec<MessageId>, StorageError> {
    let statement = if source.only_canary {
        LOOK_AT_CANARY
    } else {
        LOOK_AT_CAMPAIGN
    };
    let (now, mut taken, mut look) = (Timestamp::now(), Vec::<Uuid>::new(), most);
    for _ in 0..LOOKS_MOST {
        let rows = transaction.query(statement, &[&campaign.0, &look]).await?;
        let (mut open, mut closed, mut openings) = (Vec::new(), Vec::new(), Vec::new());
        for row in &rows {
            let id: Uuid = row.try_get("id")?;
            match window.at(now, row.try_get("recipient")?) {
                Opening::Open(_) => open.push(id),
                Opening::ClosedUntil(at) => {
                    closed.push(id);
                    openings.push(at);
                }
            }
        }
        open.truncate(usize::try_from(most).unwrap_or(0).saturating_sub(taken.len()));
        transaction.execute(QUEUE, &[&source.tenant.0, &open]).await?;
        taken.append(&mut open);
        if closed.is_empty() {
            break;
        }
        transaction
            .execute(PUT_OFF, &[&source.tenant.0, &closed, &openings])
            .await?;
        if taken.len() as i64 >= most || (rows.len() as i64) < look {
            break;
        }
        look = PUT_OFF_MOST;
    }
    Ok(taken.into_iter().map(MessageId).collect())
}
