//! Letters as they are listed and inspected.

use domain::dead_letter::{LetterKind, class_of};
use domain::ids::{CampaignId, EventId, TenantId};
use domain::meta_error::ErrorClass;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::LetterFilter;
use crate::storage::named::named;
use crate::storage::{Connection, StorageError};

/// A letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its id: the message's own, or one of a letter's own.
    pub id: Uuid,
    /// Why it gave up.
    pub kind: LetterKind,
    /// Whose it is, if anybody's.
    pub tenant: Option<TenantId>,
    /// The message's campaign.
    pub campaign: Option<CampaignId>,
    /// Who the message was for.
    pub recipient: Option<String>,
    /// Meta's last error code.
    pub error_code: Option<i32>,
    /// What went wrong last.
    pub error: Option<String>,
    /// Attempts of the message.
    pub attempts: i32,
    /// The event that cannot be applied.
    pub event: Option<EventId>,
    /// The queue that the delivery came from.
    pub queue: Option<String>,
    /// Since when it is dead.
    pub dead_since: Timestamp,
}

/// What was done to a letter before.
#[derive(Clone, Debug)]
pub struct PastAction {
    /// When.
    pub at: Timestamp,
    /// `replay` or `purge`.
    pub action: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether it was insisted on.
    pub forced: bool,
}

/// Dead messages and kept letters in one order, with the words that choose the tenant: an index is used only for a plain
/// comparison.
macro_rules! letters_of {
    ($messages:literal, $kept:literal) => {
        concat!(
            "SELECT * FROM (
                (SELECT m.id, m.dead_kind AS kind, m.tenant_id, m.campaign_id, m.recipient, m.error_code, m.error_reason AS error,
                    m.attempt_number AS attempts, NULL::uuid AS event_id, NULL::text AS queue, m.dead_at AS dead_since
                 FROM messages m
                 WHERE ",
            $messages,
            " AND m.dead_at IS NOT NULL AND ($2::uuid IS NULL OR m.campaign_id = $2) AND ($3::uuid[] IS NULL OR m.id = ANY ($3))
                    AND ($4::text IS NULL OR m.dead_kind = $4)
                    AND ($5::integer[] IS NULL OR m.dead_kind = 'attempts_exhausted'
                        AND (m.error_code = ANY ($5) OR $6 AND m.error_code IS NULL))
                    AND m.id < $7
                 ORDER BY m.id DESC LIMIT $8)
                UNION ALL
                (SELECT d.id, d.kind, d.tenant_id, NULL, NULL, NULL, d.error, 0, d.event_id, nullif(d.queue, ''), d.created_at
                 FROM dead_letters d
                 WHERE ",
            $kept,
            " AND d.resolved_at IS NULL AND $2::uuid IS NULL AND ($3::uuid[] IS NULL OR d.id = ANY ($3))
                    AND ($4::text IS NULL OR d.kind = $4) AND $5::integer[] IS NULL AND d.id < $7
                 ORDER BY d.id DESC LIMIT $8)) AS letters
             ORDER BY id DESC LIMIT $8"
        )
    };
}

const OF_TENANT: &str = letters_of!("m.tenant_id = $1", "d.tenant_id = $1");
const OF_ALL: &str = letters_of!(
    "($1::uuid IS NULL OR m.tenant_id = $1)",
    "($1::uuid IS NULL OR d.tenant_id = $1)"
);

/// Lists letters, newest first, those older than `before`.
///
/// # Errors
/// What the database says.
pub async fn list(
    connection: &mut Connection,
    filter: &LetterFilter,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<Letter>, StorageError> {
    let (codes, none) = codes_of(connection, filter.tenant, filter.class).await?;
    let statement = if filter.tenant.is_some() {
        OF_TENANT
    } else {
        OF_ALL
    };
    let rows = connection
        .query(
            statement,
            &[
                &filter.tenant.map(|tenant| tenant.0),
                &filter.campaign.map(|campaign| campaign.0),
                &filter.ids,
                &filter.kind.map(LetterKind::as_str),
                &codes,
                &none,
                &before.unwrap_or_else(Uuid::max),
                &most,
            ],
        )
        .await?;
    rows.iter().map(from_row).collect()
}

/// Reads one letter.
///
/// # Errors
/// What the database says.
pub async fn find(
    connection: &mut Connection,
    tenant: Option<TenantId>,
    letter: Uuid,
) -> Result<Option<Letter>, StorageError> {
    let filter = LetterFilter {
        tenant,
        ids: Some(vec![letter]),
        ..LetterFilter::default()
    };
    Ok(list(connection, &filter, None, 1).await?.pop())
}

/// Tells what was done to a letter before, oldest first.
///
/// # Errors
/// What the database says.
pub async fn actions_on(
    connection: &mut Connection,
    letter: &Letter,
) -> Result<Vec<PastAction>, StorageError> {
    let rows = connection
        .query(
            "SELECT acted_at, action, requested_by, reason, forced FROM dead_letter_actions
             WHERE tenant_id IS NOT DISTINCT FROM $1 AND letters @> ARRAY[$2::uuid] ORDER BY id LIMIT 100",
            &[&letter.tenant.map(|tenant| tenant.0), &letter.id],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(PastAction {
                at: row.try_get(0)?,
                action: row.try_get(1)?,
                by: row.try_get(2)?,
                reason: row.try_get(3)?,
                forced: row.try_get(4)?,
            })
        })
        .collect()
}

/// Gives the codes among the dead that are of a class, and whether having no code is; nothing where no class is asked for.
pub(super) async fn codes_of(
    connection: &mut Connection,
    tenant: Option<TenantId>,
    class: Option<ErrorClass>,
) -> Result<(Option<Vec<i32>>, bool), StorageError> {
    let Some(class) = class else {
        return Ok((None, false));
    };
    let rows = connection
        .query(
            "SELECT DISTINCT error_code FROM messages WHERE dead_at IS NOT NULL AND ($1::uuid IS NULL OR tenant_id = $1)",
            &[&tenant.map(|tenant| tenant.0)],
        )
        .await?;
    let codes = rows.iter().map(|row| row.get::<_, Option<i32>>(0));
    let of_class: Vec<Option<i32>> = codes
        .filter(|code| class_of(LetterKind::AttemptsExhausted, *code) == Some(class))
        .collect();
    let none = of_class.contains(&None);
    Ok((Some(of_class.into_iter().flatten().collect()), none))
}

fn from_row(row: &Row) -> Result<Letter, StorageError> {
    Ok(Letter {
        id: row.try_get("id")?,
        kind: named(row, "kind")?,
        tenant: row.try_get::<_, Option<Uuid>>("tenant_id")?.map(TenantId),
        campaign: row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId),
        recipient: row.try_get("recipient")?,
        error_code: row.try_get("error_code")?,
        error: row.try_get("error")?,
        attempts: row.try_get("attempts")?,
        event: row.try_get::<_, Option<Uuid>>("event_id")?.map(EventId),
        queue: row.try_get("queue")?,
        dead_since: row.try_get("dead_since")?,
    })
}
