//! Tenants, as operators make and change them.

use domain::audit_chain::genesis;
use domain::ids::TenantId;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Connection, StorageError, Transaction};

/// A tenant, and the plan it is on now.
#[derive(Clone, Debug)]
pub struct StoredTenant {
    /// Its id.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// IANA name of the zone in which its periods begin and end.
    pub timezone: String,
    /// `active`, `suspended` or `offboarded`.
    pub state: String,
    /// The code of its plan.
    pub plan: Option<String>,
    /// The version of its plan.
    pub plan_version: Option<i32>,
    /// The code of the plan that it moves to next.
    pub next_plan: Option<String>,
    /// When it moves.
    pub next_plan_from: Option<Timestamp>,
    /// Since when it is in quarantine.
    pub quarantined_at: Option<Timestamp>,
    /// Why.
    pub quarantine_reason: Option<String>,
    /// What becomes of messages that stay unknown: `keep`, `resend` or `fail`.
    pub unknown_policy: String,
    /// After how many seconds; never if there is none.
    pub unknown_after_seconds: Option<i32>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What changes of a tenant; the rest stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct TenantChange<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// Its time zone, from the next period on.
    pub timezone: Option<&'a str>,
    /// Its state.
    pub state: Option<&'a str>,
    /// What becomes of messages that stay unknown.
    pub unknown_policy: Option<&'a str>,
    /// After how many seconds; 0 for never.
    pub unknown_after_seconds: Option<i32>,
}

const SELECT: &str = "SELECT t.*, p.code AS plan, p.version AS plan_version, n.code AS next_plan, n.effective_from AS next_plan_from
    FROM tenants t
    LEFT JOIN LATERAL (SELECT plan_id FROM plan_assignments a WHERE a.tenant_id = t.id AND a.effective_from <= now()
        ORDER BY a.effective_from DESC, a.created_at DESC LIMIT 1) a ON true
    LEFT JOIN plans p ON p.id = a.plan_id
    LEFT JOIN LATERAL (SELECT q.id, q.code, f.effective_from FROM plan_assignments f JOIN plans q ON q.id = f.plan_id
        WHERE f.tenant_id = t.id AND f.effective_from > now() ORDER BY f.effective_from, f.created_at DESC LIMIT 1) n ON n.id <> a.plan_id
    WHERE ($1::uuid IS NULL OR t.id = $1) AND ($2::uuid IS NULL OR t.id < $2) AND (NOT $3 OR t.quarantined_at IS NOT NULL)
    ORDER BY t.id DESC LIMIT $4";

fn read(row: &Row) -> Result<StoredTenant, StorageError> {
    Ok(StoredTenant {
        id: TenantId(row.try_get("id")?),
        name: row.try_get("name")?,
        timezone: row.try_get("timezone")?,
        state: row.try_get("state")?,
        plan: row.try_get("plan")?,
        plan_version: row.try_get("plan_version")?,
        next_plan: row.try_get("next_plan")?,
        next_plan_from: row.try_get("next_plan_from")?,
        quarantined_at: row.try_get("quarantined_at")?,
        quarantine_reason: row.try_get("quarantine_reason")?,
        unknown_policy: row.try_get("unknown_policy")?,
        unknown_after_seconds: row.try_get("unknown_after_seconds")?,
        created_at: row.try_get("created_at")?,
    })
}

/// Makes a tenant with an empty ledger.
///
/// # Errors
/// What the database says.
pub async fn insert(
    transaction: &mut Transaction,
    id: TenantId,
    name: &str,
    timezone: &str,
) -> Result<(), StorageError> {
    transaction
        .execute(
            "INSERT INTO tenants (id, name, timezone) VALUES ($1, $2, $3)",
            &[&id.0, &name, &timezone],
        )
        .await?;
    let head: &[u8] = &genesis(id);
    transaction
        .execute(
            "INSERT INTO billing_head (tenant_id, head_hash) VALUES ($1, $2)",
            &[&id.0, &head],
        )
        .await?;
    Ok(())
}

/// Finds a tenant.
///
/// # Errors
/// What the database says.
pub async fn find(connection: &mut Connection, id: TenantId) -> Result<Option<StoredTenant>, StorageError> {
    let row = connection
        .query_opt(SELECT, &[&Some(id.0), &None::<Uuid>, &false, &1_i64])
        .await?;
    row.as_ref().map(read).transpose()
}

/// To whom a statement is written.
#[derive(Clone, Debug)]
pub struct Addressee {
    /// The tenant's name.
    pub name: String,
    /// Where it reads its clock.
    pub zone: TimeZone,
}

/// Gives to whom a tenant's statements are written.
///
/// # Errors
/// What the database says, or when the zone is none that we know.
pub async fn addressee(connection: &mut Connection, id: TenantId) -> Result<Option<Addressee>, StorageError> {
    let row = connection
        .query_opt("SELECT name, timezone FROM tenants WHERE id = $1", &[&id.0])
        .await?;
    row.map(|row| {
        Ok(Addressee {
            name: row.try_get("name")?,
            zone: TimeZone::get(row.try_get("timezone")?).map_err(StorageError::nonsense)?,
        })
    })
    .transpose()
}

/// Lists tenants, newest first, those older than `before`; those in quarantine only, if asked.
///
/// # Errors
/// What the database says.
pub async fn list(
    connection: &mut Connection,
    before: Option<Uuid>,
    quarantined: bool,
    most: i64,
) -> Result<Vec<StoredTenant>, StorageError> {
    let rows = connection
        .query(SELECT, &[&None::<Uuid>, &before, &quarantined, &most])
        .await?;
    rows.iter().map(read).collect()
}

/// Changes a tenant. Tells whether there is one that has not left.
///
/// # Errors
/// What the database says.
pub async fn change(
    connection: &mut Connection,
    id: TenantId,
    change: &TenantChange<'_>,
) -> Result<bool, StorageError> {
    let touched = connection
        .execute(
            "UPDATE tenants SET name = coalesce($2, name), timezone = coalesce($3, timezone), state = coalesce($4, state),
                unknown_policy = coalesce($5, unknown_policy),
                unknown_after_seconds = CASE WHEN $6::integer = 0 THEN NULL ELSE coalesce($6, unknown_after_seconds) END
             WHERE id = $1 AND state <> 'offboarded'",
            &[
                &id.0,
                &change.name,
                &change.timezone,
                &change.state,
                &change.unknown_policy,
                &change.unknown_after_seconds,
            ],
        )
        .await?;
    Ok(touched > 0)
}
