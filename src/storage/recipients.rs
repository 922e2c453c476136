//! A campaign's recipients on their way in (uploads) and out (cancellations), a few thousand rows at a time.

use domain::campaign::CampaignState;
use domain::ids::{CampaignId, TenantId};
use domain::message::MessageState;
use jiff::Timestamp;
use uuid::Uuid;

use super::count_changes::{CountChanges, Writer};
use super::{Database, StorageError, Transaction};

/// How many rows one transaction writes: large enough to be quick, small enough to hold no lock for long.
pub const CHUNK_ROWS: usize = 2_000;

/// Recipients to add, by column as PostgreSQL takes them.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    recipients: Vec<String>,
    parameters: Vec<Option<String>>,
}

impl Chunk {
    /// Adds a recipient in canonical spelling, with the JSON of its values.
    pub fn push(&mut self, recipient: String, parameters: Option<String>) {
        self.recipients.push(recipient);
        self.parameters.push(parameters);
    }

    /// Tells how many there are.
    pub const fn len(&self) -> usize {
        self.recipients.len()
    }

    /// Tells whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.recipients.is_empty()
    }

    /// Tells whether it is as large as a transaction should be.
    pub const fn is_full(&self) -> bool {
        self.len() >= CHUNK_ROWS
    }
}

/// What became of the recipients of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// New, and `planned`.
    pub accepted: i64,
    /// New, and on the suppression list.
    pub suppressed: i64,
    /// In the campaign already, or repeated.
    pub duplicates: i64,
}

/// Whether a chunk could be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddOutcome {
    /// It was.
    Added(Added),
    /// The campaign takes no more recipients. Nothing was added.
    NotDraft(CampaignState),
    /// There is no such campaign.
    Unknown,
}

/// Adds a chunk to a draft, all or nothing. Adding it again adds nothing: it counts as duplicates.
///
/// # Errors
/// What the database says.
pub async fn add(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    chunk: &Chunk,
) -> Result<AddOutcome, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT state FROM campaigns WHERE id = $1 AND tenant_id = $2 FOR SHARE",
            &[&campaign.0, &tenant.0],
        )
        .await?;
    let Some(row) = row else {
        return Ok(AddOutcome::Unknown);
    };
    let state: CampaignState = row
        .try_get::<_, &str>("state")?
        .parse()
        .map_err(StorageError::nonsense)?;
    if state != CampaignState::Draft {
        return Ok(AddOutcome::NotDraft(state));
    }
    insert(transaction, tenant, campaign, chunk)
        .await
        .map(AddOutcome::Added)
}

async fn insert(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    chunk: &Chunk,
) -> Result<Added, StorageError> {
    let ids: Vec<Uuid> = chunk.recipients.iter().map(|_| Uuid::now_v7()).collect();
    let row = transaction
        .query_one(
            "WITH inserted AS (
                 INSERT INTO messages (tenant_id, id, campaign_id, sender_id, recipient, category, parameters, state, due_at)
                 SELECT c.tenant_id, g.id, c.id, c.sender_id, g.recipient, c.category, g.parameters::json,
                     CASE WHEN s.recipient IS NULL THEN 'planned' ELSE 'suppressed' END,
                     CASE WHEN s.recipient IS NULL THEN now() END
                 FROM unnest($3::uuid[], $4::text[], $5::text[]) AS g (id, recipient, parameters)
                 JOIN campaigns c ON c.id = $2 AND c.tenant_id = $1
                 LEFT JOIN suppressions s ON s.tenant_id = $1 AND s.recipient = g.recipient
                 ON CONFLICT (tenant_id, campaign_id, recipient) WHERE campaign_id IS NOT NULL DO NOTHING
                 RETURNING state)
             SELECT count(*) FILTER (WHERE state = 'planned') AS accepted,
                 count(*) FILTER (WHERE state = 'suppressed') AS suppressed FROM inserted",
            &[&tenant.0, &campaign.0, &ids, &chunk.recipients, &chunk.parameters],
        )
        .await?;
    let (accepted, suppressed): (i64, i64) = (row.try_get("accepted")?, row.try_get("suppressed")?);
    let mut changes = CountChanges::default();
    changes.added(tenant, campaign, MessageState::Planned, accepted);
    changes.added(tenant, campaign, MessageState::Suppressed, suppressed);
    changes.write(transaction, Writer::Api).await?;
    let given = i64::try_from(chunk.len()).map_err(StorageError::nonsense)?;
    Ok(Added {
        accepted,
        suppressed,
        duplicates: given - accepted - suppressed,
    })
}

/// Moves a cancelled campaign's rows that nobody claimed to `cancelled`, chunk by chunk, each in a transaction of its
/// own. Safe to repeat and to interrupt: rows that are locked just now are left to the next sweep. Answers how many moved.
///
/// # Errors
/// What the database says; what was moved until then stays moved.
pub async fn cancel_rows(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<i64, StorageError> {
    let (mut moved, mut since) = (0, None);
    loop {
        let mut transaction = database.begin_for(tenant).await?;
        let chunk = cancel_chunk(&mut transaction, tenant, campaign, since).await?;
        transaction.commit().await?;
        if chunk.moved == 0 && since.is_none() {
            return Ok(moved);
        }
        moved += chunk.moved;
        // From where the last chunk ended: before it the index holds only what is moved and not yet vacuumed. A last
        // round from the beginning finds what was locked or put back meanwhile.
        since = chunk.last_due;
    }
}

struct CancelledChunk {
    moved: i64,
    last_due: Option<Timestamp>,
}

async fn cancel_chunk(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    since: Option<Timestamp>,
) -> Result<CancelledChunk, StorageError> {
    let cancelled = transaction
        .query_opt(
            "SELECT sender_id FROM campaigns WHERE id = $1 AND tenant_id = $2 AND state = 'cancelled'",
            &[&campaign.0, &tenant.0],
        )
        .await?;
    let Some(cancelled) = cancelled else {
        return Ok(CancelledChunk {
            moved: 0,
            last_due: None,
        });
    };
    let sender: Uuid = cancelled.try_get("sender_id")?;
    let most = i64::try_from(CHUNK_ROWS).map_err(StorageError::nonsense)?;
    let row = transaction
        .query_one(
            "WITH planned AS (
                 SELECT id, due_at FROM messages
                 WHERE tenant_id = $1 AND campaign_id = $2 AND due_at IS NOT NULL
                     AND due_at >= coalesce($5::timestamptz, '-infinity')
                 ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED),
             queued AS (
                 SELECT id, due_at FROM messages
                 WHERE tenant_id = $1 AND campaign_id = $2 AND sender_id = $3 AND queued_at IS NOT NULL
                 LIMIT $4 FOR UPDATE SKIP LOCKED),
             chosen AS (SELECT * FROM planned UNION ALL SELECT * FROM queued),
             moved AS (
                 UPDATE messages m SET state = 'cancelled', due_at = NULL, queued_at = NULL, updated_at = now()
                 FROM chosen c WHERE m.tenant_id = $1 AND m.id = c.id RETURNING c.due_at)
             SELECT count(*) AS moved, count(due_at) AS planned, max(due_at) AS last_due FROM moved",
            &[&tenant.0, &campaign.0, &sender, &most, &since],
        )
        .await?;
    let (moved, planned): (i64, i64) = (row.try_get("moved")?, row.try_get("planned")?);
    let mut changes = CountChanges::default();
    changes.added(tenant, campaign, MessageState::Planned, -planned);
    changes.added(tenant, campaign, MessageState::Queued, planned - moved);
    changes.added(tenant, campaign, MessageState::Cancelled, moved);
    changes.write(transaction, Writer::Api).await?;
    Ok(CancelledChunk {
        moved,
        last_due: row.try_get("last_due")?,
    })
}
