//! What waits, and what was paused, for those who watch the whole: all tenants together, as `app_system`.

use domain::campaign::PauseReason;
use jiff::Timestamp;

use super::named::named;
use super::{Database, StorageError};

/// How long work has waited, in seconds; 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waits {
    /// Stored events that nobody applied, without those that were set aside, or whose tenant is in quarantine.
    pub unapplied: i64,
    /// Since when the oldest of them waits.
    pub oldest_event: f64,
    /// Since when the oldest message waits in its tenant's inbox.
    pub oldest_queued: f64,
}

/// Campaigns that are paused for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    /// For which.
    pub reason: PauseReason,
    /// How many.
    pub count: i64,
    /// How many of them were paused in the span that was asked for.
    pub new: i64,
}

const WAITS: &str = "SELECT count(*) AS unapplied,
        coalesce(extract(epoch FROM now() - min(received_at)), 0)::float8 AS oldest_event,
        (SELECT coalesce(extract(epoch FROM now() - min(queued_at)), 0)::float8 FROM messages WHERE queued_at IS NOT NULL)
            AS oldest_queued
    FROM events e JOIN tenants t ON t.id = e.tenant_id AND t.quarantined_at IS NULL
    WHERE applied_at IS NULL AND NOT EXISTS (
        SELECT FROM dead_letters d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.id
            AND d.resolution IS DISTINCT FROM 'replayed')";
const PAUSED: &str =
    "SELECT reason, count(*) AS count, count(*) FILTER (WHERE paused_at > $1 AND paused_at <= $2) AS new
    FROM campaigns WHERE state = 'paused' AND reason IS NOT NULL GROUP BY reason";

/// Tells how long work has waited.
///
/// # Errors
/// What the database says.
pub async fn waits(database: &Database) -> Result<Waits, StorageError> {
    let row = database.get().await?.query_one(WAITS, &[]).await?;
    Ok(Waits {
        unapplied: row.try_get("unapplied")?,
        oldest_event: row.try_get::<_, f64>("oldest_event")?.max(0.0),
        oldest_queued: row.try_get::<_, f64>("oldest_queued")?.max(0.0),
    })
}

/// Counts paused campaigns by reason, and those of them that were paused after `from`, up to and including `to`. One that went on
/// meanwhile is not seen.
///
/// # Errors
/// What the database says.
pub async fn paused(
    database: &Database,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Paused>, StorageError> {
    let rows = database.get().await?.query(PAUSED, &[&from, &to]).await?;
    rows.iter()
        .map(|row| {
            Ok(Paused {
                reason: named(row, "reason")?,
                count: row.try_get("count")?,
                new: row.try_get("new")?,
            })
        })
        .collect()
}
