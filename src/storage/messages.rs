//! Messages as the API shows them, and single messages on their way in.

use domain::category::Category;
use domain::ids::{AttemptId, CampaignId, EventId, MessageId, SenderId, TenantId};
use domain::message::MessageState;
use domain::recipient::Recipient;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{StorageError, Transaction};

/// A message as it stands.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its campaign; none for a single message.
    pub campaign: Option<CampaignId>,
    /// The number it leaves from.
    pub sender: SenderId,
    /// Who it goes to, in canonical spelling.
    pub recipient: String,
    /// What it is billed as.
    pub category: Category,
    /// Where it is.
    pub state: MessageState,
    /// When a planned message is due.
    pub due_at: Option<Timestamp>,
    /// The attempt under way, or the last one.
    pub attempt: Option<AttemptId>,
    /// How many attempts there were.
    pub attempt_number: i32,
    /// Meta's id.
    pub wamid: Option<String>,
    /// Meta's last error code.
    pub error_code: Option<i32>,
    /// What went wrong last.
    pub error_reason: Option<String>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Something that happened to a message.
#[derive(Clone, Debug)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// `meta`: a status from Meta; `history`: Meta's message history; `send`: a refused call; `policy`, `hand`: what was decided about an
    /// unknown message; `attempt`: an attempt that ended.
    pub source: String,
    /// The status, or the outcome of the attempt.
    pub status: String,
    /// Of which attempt.
    pub attempt: AttemptId,
    /// Meta's error code.
    pub error_code: Option<i32>,
    /// What went wrong, or by what it was settled.
    pub reason: Option<String>,
    /// The event that is the evidence.
    pub event: Option<EventId>,
}

/// A single message to store.
#[derive(Clone, Debug)]
pub struct NewMessage<'a> {
    /// Its id.
    pub id: MessageId,
    /// The number it leaves from.
    pub sender: SenderId,
    /// Who it goes to.
    pub recipient: &'a Recipient,
    /// The JSON of its template or text.
    pub body: &'a str,
    /// The JSON of its values, where the template has columns.
    pub parameters: Option<&'a str>,
    /// Its template's name and language at Meta; none for text.
    pub template: Option<(&'a str, &'a str)>,
    /// What it is billed as, where the tenant says; Meta's category of a synchronised template goes first.
    pub category: Option<Category>,
}

/// Stores a single message: `queued` from the first, since whoever stores it wakes its owner at once, or `suppressed`.
/// None when the sender is not the tenant's; then nothing was stored.
///
/// # Errors
/// What the database says.
pub async fn insert_single(
    transaction: &mut Transaction,
    tenant: TenantId,
    new: &NewMessage<'_>,
) -> Result<Option<MessageState>, StorageError> {
    let (name, language) = new.template.unzip();
    let otherwise = match (new.category, new.template) {
        (Some(category), _) => category,
        (None, Some(_)) => Category::Marketing,
        (None, None) => Category::Service,
    };
    let row = transaction
        .query_opt(
            "INSERT INTO messages (tenant_id, id, sender_id, recipient, category, body, parameters, state, queued_at)
             SELECT s.tenant_id, $2, s.id, $4, coalesce(t.category, $8), $5::text::json, $9::text::json,
                 CASE WHEN x.recipient IS NULL THEN 'queued' ELSE 'suppressed' END,
                 CASE WHEN x.recipient IS NULL THEN now() END
             FROM senders s
             LEFT JOIN templates t ON t.tenant_id = s.tenant_id AND t.waba_id = s.waba_id AND t.name = $6 AND t.language = $7
             LEFT JOIN suppressions x ON x.tenant_id = s.tenant_id AND x.recipient = $4
             WHERE s.id = $3 AND s.tenant_id = $1
             RETURNING state",
            &[
                &tenant.0,
                &new.id.0,
                &new.sender.0,
                &new.recipient.canonical(),
                &new.body,
                &name,
                &language,
                &otherwise.as_str(),
                &new.parameters,
            ],
        )
        .await?;
    row.map(|row| state_of(&row)).transpose()
}

/// Which messages to list.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    /// Of this campaign only. Then the list is in the order of recipients, else newest first.
    pub campaign: Option<CampaignId>,
    /// In this state only.
    pub state: Option<MessageState>,
    /// To this recipient only.
    pub recipient: Option<Recipient>,
}

/// Lists messages that follow `after`, which is the last message of the page before.
///
/// # Errors
/// What the database says.
pub async fn list(
    transaction: &mut Transaction,
    tenant: TenantId,
    filter: &MessageFilter,
    after: Option<MessageId>,
    most: i64,
) -> Result<Vec<Message>, StorageError> {
    let recipient = filter.recipient.as_ref().map(Recipient::canonical);
    let rows = match (filter.campaign, recipient) {
        (Some(campaign), recipient) => {
            list_of_campaign(
                transaction,
                tenant,
                campaign,
                filter.state,
                recipient,
                after,
                most,
            )
            .await?
        }
        (None, Some(recipient)) => {
            list_of_recipient(transaction, tenant, &recipient, filter.state, after, most).await?
        }
        (None, None) => list_newest(transaction, tenant, filter.state, after, most).await?,
    };
    rows.iter().map(from_row).collect()
}

/// Walks the index of the campaign's recipients, so that a page of an old campaign costs what one of a new campaign costs.
async fn list_of_campaign(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    state: Option<MessageState>,
    recipient: Option<String>,
    after: Option<MessageId>,
    most: i64,
) -> Result<Vec<Row>, StorageError> {
    transaction
        .query(
            "SELECT id, campaign_id, sender_id, recipient, category, state, due_at, attempt_id, attempt_number, wamid,
                 error_code, error_reason, created_at, updated_at
             FROM messages
             WHERE tenant_id = $1 AND campaign_id = $2
                 AND recipient > coalesce((SELECT recipient FROM messages WHERE tenant_id = $1 AND id = $5), '')
                 AND ($3::text IS NULL OR state = $3) AND ($4::text IS NULL OR recipient = $4)
             ORDER BY recipient LIMIT $6",
            &[
                &tenant.0,
                &campaign.0,
                &state.map(MessageState::as_str),
                &recipient,
                &after.map(Uuid::from),
                &most,
            ],
        )
        .await
}

/// Looks the recipient up in each campaign and among the single messages: each is one probe of an index.
async fn list_of_recipient(
    transaction: &mut Transaction,
    tenant: TenantId,
    recipient: &str,
    state: Option<MessageState>,
    after: Option<MessageId>,
    most: i64,
) -> Result<Vec<Row>, StorageError> {
    transaction
        .query(
            "SELECT id, campaign_id, sender_id, recipient, category, state, due_at, attempt_id, attempt_number, wamid,
                 error_code, error_reason, created_at, updated_at
             FROM (
                 SELECT m.* FROM campaigns c
                 JOIN messages m ON m.tenant_id = $1 AND m.campaign_id = c.id AND m.recipient = $2
                 WHERE c.tenant_id = $1
                 UNION ALL
                 SELECT * FROM messages WHERE tenant_id = $1 AND recipient = $2 AND campaign_id IS NULL) AS found
             WHERE ($3::text IS NULL OR state = $3) AND id < $4
             ORDER BY id DESC LIMIT $5",
            &[
                &tenant.0,
                &recipient,
                &state.map(MessageState::as_str),
                &after.map_or(Uuid::max(), Uuid::from),
                &most,
            ],
        )
        .await
}

async fn list_newest(
    transaction: &mut Transaction,
    tenant: TenantId,
    state: Option<MessageState>,
    after: Option<MessageId>,
    most: i64,
) -> Result<Vec<Row>, StorageError> {
    transaction
        .query(
            "SELECT id, campaign_id, sender_id, recipient, category, state, due_at, attempt_id, attempt_number, wamid,
                 error_code, error_reason, created_at, updated_at
             FROM messages
             WHERE tenant_id = $1 AND id < $3 AND ($2::text IS NULL OR state = $2)
             ORDER BY id DESC LIMIT $4",
            &[
                &tenant.0,
                &state.map(MessageState::as_str),
                &after.map_or(Uuid::max(), Uuid::from),
                &most,
            ],
        )
        .await
}

/// Reads one message.
///
/// # Errors
/// What the database says.
pub async fn find(
    transaction: &mut Transaction,
    tenant: TenantId,
    message: MessageId,
) -> Result<Option<Message>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT id, campaign_id, sender_id, recipient, category, state, due_at, attempt_id, attempt_number, wamid,
                 error_code, error_reason, created_at, updated_at
             FROM messages WHERE tenant_id = $1 AND id = $2",
            &[&tenant.0, &message.0],
        )
        .await?;
    row.as_ref().map(from_row).transpose()
}

/// Reads what happened to a message, oldest first: attempts that ended, refusals and Meta's statuses.
///
/// # Errors
/// What the database says.
pub async fn timeline(
    transaction: &mut Transaction,
    tenant: TenantId,
    message: MessageId,
) -> Result<Vec<Happening>, StorageError> {
    let rows = transaction
        .query(
            "WITH attempts AS (
                 SELECT attempt_id FROM messages WHERE tenant_id = $1 AND id = $2 AND attempt_id IS NOT NULL
                 UNION SELECT attempt_id FROM message_attempts WHERE tenant_id = $1 AND message_id = $2)
             SELECT e.occurred_at AS at, e.source, e.status, e.attempt_id, e.error_code,
                 CASE WHEN e.source IN ('policy', 'hand') THEN e.raw ->> 'settled_by' END AS reason, e.id AS event_id
             FROM attempts a JOIN events e ON e.tenant_id = $1 AND e.attempt_id = a.attempt_id
             UNION ALL
             SELECT ended_at, 'attempt', outcome, attempt_id, error_code, reason, NULL::uuid
             FROM message_attempts WHERE tenant_id = $1 AND message_id = $2
             ORDER BY at, status LIMIT 1000",
            &[&tenant.0, &message.0],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Happening {
                at: row.try_get("at")?,
                source: row.try_get("source")?,
                status: row.try_get("status")?,
                attempt: AttemptId(row.try_get("attempt_id")?),
                error_code: row.try_get("error_code")?,
                reason: row.try_get("reason")?,
                event: row.try_get::<_, Option<Uuid>>("event_id")?.map(EventId),
            })
        })
        .collect()
}

fn state_of(row: &Row) -> Result<MessageState, StorageError> {
    row.try_get::<_, &str>("state")?
        .parse()
        .map_err(StorageError::nonsense)
}

pub(super) fn from_row(row: &Row) -> Result<Message, StorageError> {
    Ok(Message {
        id: MessageId(row.try_get("id")?),
        campaign: row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId),
        sender: SenderId(row.try_get("sender_id")?),
        recipient: row.try_get("recipient")?,
        category: row
            .try_get::<_, &str>("category")?
            .parse()
            .map_err(StorageError::nonsense)?,
        state: state_of(row)?,
        due_at: row.try_get("due_at")?,
        attempt: row.try_get::<_, Option<Uuid>>("attempt_id")?.map(AttemptId),
        attempt_number: row.try_get("attempt_number")?,
        wamid: row.try_get("wamid")?,
        error_code: row.try_get("error_code")?,
        error_reason: row.try_get("error_reason")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
