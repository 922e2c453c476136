//! Messages that Meta took and of which nothing was heard any more: found by walking each tenant's rows in the order of their ids, a page
//! at a time, and around again later. No index is kept for them, since every message would pay for it.

use std::time::Duration;

use domain::ids::{AttemptId, EventId, SenderId, TenantId};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Database, StorageError};

/// Rows that one look at a tenant reads.
const PAGE: i64 = 2_000;
/// Tenants that one round looks at.
const TENANTS_AT_ONCE: i64 = 4;
/// Messages older than this are not asked about: Meta gives up delivering after 30 days.
const OLDEST: &str = "30 days";

/// A message without news.
#[derive(Clone, Debug)]
pub struct Silent {
    /// Whose.
    pub tenant: TenantId,
    /// The number it left from.
    pub sender: SenderId,
    /// The attempt that Meta took.
    pub attempt: AttemptId,
    /// Meta's id of it.
    pub wamid: String,
}

/// What Meta's history says of a message.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Whose.
    pub tenant: TenantId,
    /// Which attempt.
    pub attempt: AttemptId,
    /// Meta's id of it.
    pub wamid: String,
    /// Its status: sent, delivered, read, failed.
    pub status: &'static str,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What was said, as JSON.
    pub raw: String,
}

/// Takes the next pages of tenants whose turn it is, and gives the messages in them that were silent for so long.
///
/// # Errors
/// What the database says; then nothing was taken.
pub async fn take_silent(database: &Database, silent_for: Duration) -> Result<Vec<Silent>, StorageError> {
    let mut transaction = database.begin().await?;
    transaction
        .execute(
            "INSERT INTO history_scans (tenant_id, after_id, due_at)
             SELECT id, '00000000-0000-0000-0000-000000000000', now() FROM tenants
             WHERE NOT EXISTS (SELECT FROM history_scans s WHERE s.tenant_id = tenants.id) ON CONFLICT DO NOTHING",
            &[],
        )
        .await?;
    let turns = transaction
        .query(
            "SELECT tenant_id, after_id FROM history_scans WHERE due_at <= now() ORDER BY due_at LIMIT $1
             FOR UPDATE SKIP LOCKED",
            &[&TENANTS_AT_ONCE],
        )
        .await?;
    let mut found = Vec::new();
    for turn in &turns {
        let (tenant, after): (Uuid, Uuid) = (turn.try_get(0)?, turn.try_get(1)?);
        let rows = transaction
            .query(
                "SELECT id, sender_id, attempt_id, wamid, state IN ('accepted', 'sent') AND wamid IS NOT NULL
                    AND updated_at < now() - $3 * interval '1 second' AND updated_at > now() - $5::text::interval
                    AND attempt_id IS NOT NULL AS is_silent
                 FROM messages WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $4",
                &[&tenant, &after, &silent_for.as_secs_f64(), &PAGE, &OLDEST],
            )
            .await?;
        for row in &rows {
            if row.try_get("is_silent")? {
                found.push(Silent {
                    tenant: TenantId(tenant),
                    sender: SenderId(row.try_get("sender_id")?),
                    attempt: AttemptId(row.try_get("attempt_id")?),
                    wamid: row.try_get("wamid")?,
                });
            }
        }
        let is_last = i64::try_from(rows.len()).unwrap_or(0) < PAGE;
        let next = match rows.last() {
            Some(row) if !is_last => row.try_get(0)?,
            _ => Uuid::nil(),
        };
        let rest = if is_last { silent_for } else { Duration::ZERO };
        transaction
            .execute(
                "UPDATE history_scans SET after_id = $2, due_at = now() + $3 * interval '1 second' WHERE tenant_id = $1",
                &[&tenant, &next, &rest.as_secs_f64()],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(found)
}

/// Stores what the history said as evidence, and gives what was new.
///
/// # Errors
/// What the database says; then nothing was stored.
pub async fn store(database: &Database, heard: &[Heard]) -> Result<Vec<(TenantId, EventId)>, StorageError> {
    let column = |of: fn(&Heard) -> Uuid| heard.iter().map(of).collect::<Vec<_>>();
    let ids: Vec<Uuid> = heard.iter().map(|_| Uuid::now_v7()).collect();
    let statuses: Vec<&str> = heard.iter().map(|one| one.status).collect();
    let wamids: Vec<&str> = heard.iter().map(|one| one.wamid.as_str()).collect();
    let times: Vec<Timestamp> = heard.iter().map(|one| one.occurred_at).collect();
    let raws: Vec<&str> = heard.iter().map(|one| one.raw.as_str()).collect();
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "INSERT INTO events (tenant_id, id, source, status, attempt_id, wamid, occurred_at, raw)
             SELECT w.tenant_id, w.id, 'history', w.status, w.attempt_id, w.wamid, w.occurred_at, w.raw::json
             FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::text[])
                AS w (tenant_id, id, status, attempt_id, wamid, occurred_at, raw)
             ON CONFLICT DO NOTHING RETURNING tenant_id, id",
            &[
                &column(|one| one.tenant.0),
                &ids,
                &statuses,
                &column(|one| one.attempt.0),
                &wamids,
                &times,
                &raws,
            ],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| (TenantId(row.get(0)), EventId(row.get(1))))
        .collect())
}
