//! What the checks of the books found, kept with its state: open, explained by somebody, or gone by itself. Nothing here touches the books.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::audit::Report;
use super::{Connection, Database, StorageError};

/// A finding with its state.
#[derive(Clone, Debug, Serialize)]
pub struct KeptFinding {
    /// Its id.
    pub id: Uuid,
    /// Whose books.
    pub tenant_id: Uuid,
    /// Which invariant is broken.
    pub invariant: String,
    /// What was found.
    pub found: String,
    /// By which job.
    pub job: String,
    /// `open`, `explained` or `gone`.
    pub state: String,
    /// Who explained it, and how.
    pub note: Option<String>,
    /// When it was found first.
    pub first_seen_at: Timestamp,
    /// When it was found last.
    pub last_seen_at: Timestamp,
}

/// How a job ran.
#[derive(Clone, Copy, Debug)]
pub struct Ran<'a> {
    /// Its name.
    pub job: &'a str,
    /// When it began.
    pub began_at: Timestamp,
    /// By what its sample was drawn.
    pub seed: Option<i64>,
    /// Whether it looked at everything: only then what it did not find is gone.
    pub is_whole: bool,
}

const RUN: &str = "INSERT INTO book_checks (id, job, seed, attempts, began_at, ledger_rows, findings)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const KEEP: &str = "INSERT INTO book_findings AS kept (id, tenant_id, invariant, found, job, first_seen_at, last_seen_at)
    SELECT DISTINCT ON (w.tenant_id, w.invariant, w.found) w.id, w.tenant_id, w.invariant, w.found, $5, $6::timestamptz, $6
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS w (id, tenant_id, invariant, found)
    ON CONFLICT (tenant_id, invariant, found) DO UPDATE SET last_seen_at = excluded.last_seen_at, job = excluded.job,
        state = CASE kept.state WHEN 'gone' THEN 'open' ELSE kept.state END,
        changed_at = CASE kept.state WHEN 'gone' THEN now() ELSE kept.changed_at END";
const GONE: &str = "UPDATE book_findings SET state = 'gone', changed_at = now()
    WHERE job = $1 AND state <> 'gone' AND last_seen_at < $2";
const OPEN: &str = "SELECT count(*) FROM book_findings WHERE job = $1 AND state = 'open'";

/// Keeps what a run found, and tells how many findings of the job nobody has explained.
///
/// # Errors
/// What the database says; then nothing was kept.
pub async fn keep(database: &Database, ran: Ran<'_>, report: &Report) -> Result<usize, StorageError> {
    let found = &report.findings;
    let ids: Vec<Uuid> = found.iter().map(|_| Uuid::now_v7()).collect();
    let tenants: Vec<Uuid> = found.iter().map(|finding| finding.tenant.0).collect();
    let invariants: Vec<&str> = found.iter().map(|finding| finding.invariant.id).collect();
    let texts: Vec<&str> = found.iter().map(|finding| finding.found.as_str()).collect();
    let many = i64::try_from(found.len()).map_err(StorageError::nonsense)?;
    let attempts = ran.seed.map(|_| &report.attempts);
    let mut transaction = database.begin().await?;
    transaction
        .execute(
            RUN,
            &[
                &Uuid::now_v7(),
                &ran.job,
                &ran.seed,
                &attempts,
                &ran.began_at,
                &report.rows,
                &many,
            ],
        )
        .await?;
    transaction
        .execute(
            KEEP,
            &[&ids, &tenants, &invariants, &texts, &ran.job, &ran.began_at],
        )
        .await?;
    if ran.is_whole {
        transaction.execute(GONE, &[&ran.job, &ran.began_at]).await?;
    }
    let open: i64 = transaction.query_one(OPEN, &[&ran.job]).await?.try_get(0)?;
    transaction.commit().await?;
    usize::try_from(open).map_err(StorageError::nonsense)
}

/// Lists findings, the newest first: those that are not gone, or all.
///
/// # Errors
/// What the database says.
pub async fn list(connection: &mut Connection, all: bool) -> Result<Vec<KeptFinding>, StorageError> {
    let rows = connection
        .query(
            "SELECT id, tenant_id, invariant, found, job, state, note, first_seen_at, last_seen_at FROM book_findings
             WHERE $1 OR state <> 'gone' ORDER BY last_seen_at DESC, id DESC",
            &[&all],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Notes what a finding comes from; it counts no longer. False if there is none that is not gone.
///
/// # Errors
/// What the database says.
pub async fn explain(connection: &mut Connection, id: Uuid, note: &str) -> Result<bool, StorageError> {
    let explained = connection
        .execute(
            "UPDATE book_findings SET state = 'explained', note = $2, changed_at = now() WHERE id = $1 AND state <> 'gone'",
            &[&id, &note],
        )
        .await?;
    Ok(explained == 1)
}

fn read(row: &Row) -> Result<KeptFinding, StorageError> {
    Ok(KeptFinding {
        id: row.try_get("id")?,
        tenant_id: row.try_get("tenant_id")?,
        invariant: row.try_get("invariant")?,
        found: row.try_get("found")?,
        job: row.try_get("job")?,
        state: row.try_get("state")?,
        note: row.try_get("note")?,
        first_seen_at: row.try_get("first_seen_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
    })
}
