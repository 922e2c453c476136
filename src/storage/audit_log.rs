//! The audit log: who did what to what, when, from where, and how it ended. Rows are added and never changed.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Connection, StorageError};

/// A row to add.
#[derive(Clone, Debug)]
pub struct NewEntry<'a> {
    /// Binds the rows of one request.
    pub request: Uuid,
    /// `operator`, `api_key` or `unknown`.
    pub actor_kind: &'static str,
    /// Which: a fingerprint of the operators' key, a key's id, or what a stranger showed.
    pub actor: &'a str,
    /// What was done.
    pub action: &'a str,
    /// Whose it concerns.
    pub tenant: Option<Uuid>,
    /// To what.
    pub target: &'a str,
    /// From where.
    pub from: &'a str,
    /// `begun`, `done`, `refused` or `failed`.
    pub outcome: &'static str,
    /// The status of the answer.
    pub status: Option<u16>,
}

/// A row.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "NewEntry explains each")]
pub struct Entry {
    pub id: Uuid,
    pub at: Timestamp,
    pub request: Uuid,
    pub actor_kind: String,
    pub actor: String,
    pub action: String,
    pub tenant: Option<Uuid>,
    pub target: String,
    pub from: String,
    pub outcome: String,
    pub status: Option<i16>,
}

/// Which rows to list; what is absent does not matter.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// Of this tenant.
    pub tenant: Option<Uuid>,
    /// Of this action.
    pub action: Option<&'a str>,
    /// By this actor.
    pub actor: Option<&'a str>,
    /// With this outcome.
    pub outcome: Option<&'a str>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Before this row.
    pub before: Option<Uuid>,
}

/// Adds a row.
///
/// # Errors
/// What the database says.
pub async fn add(connection: &mut Connection, entry: &NewEntry<'_>) -> Result<(), StorageError> {
    let status = entry.status.map(|status| i16::try_from(status).unwrap_or(0));
    connection
        .execute(
            "INSERT INTO audit_log (id, request_id, actor_kind, actor, action, tenant_id, target, from_address, outcome, status)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                &Uuid::now_v7(),
                &entry.request,
                &entry.actor_kind,
                &entry.actor,
                &entry.action,
                &entry.tenant,
                &entry.target,
                &entry.from,
                &entry.outcome,
                &status,
            ],
        )
        .await?;
    Ok(())
}

/// Lists rows, the newest first.
///
/// # Errors
/// What the database says.
pub async fn list(
    connection: &mut Connection,
    wanted: &Wanted<'_>,
    limit: i64,
) -> Result<Vec<Entry>, StorageError> {
    let rows = connection
        .query(
            "SELECT id, at, request_id, actor_kind, actor, action, tenant_id, target, from_address, outcome, status
             FROM audit_log
             WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR action = $2)
                AND ($3::text IS NULL OR actor = $3) AND ($4::text IS NULL OR outcome = $4)
                AND ($5::timestamptz IS NULL OR at >= $5) AND ($6::timestamptz IS NULL OR at < $6)
                AND ($7::uuid IS NULL OR id < $7)
             ORDER BY id DESC LIMIT $8",
            &[
                &wanted.tenant,
                &wanted.action,
                &wanted.actor,
                &wanted.outcome,
                &wanted.since,
                &wanted.until,
                &wanted.before,
                &limit,
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Entry {
                id: row.try_get(0)?,
                at: row.try_get(1)?,
                request: row.try_get(2)?,
                actor_kind: row.try_get(3)?,
                actor: row.try_get(4)?,
                action: row.try_get(5)?,
                tenant: row.try_get(6)?,
                target: row.try_get(7)?,
                from: row.try_get(8)?,
                outcome: row.try_get(9)?,
                status: row.try_get(10)?,
            })
        })
        .collect()
}
