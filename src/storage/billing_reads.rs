//! What tenants may read of their billing: usage of the open period, invoices, the ledger.

use domain::ids::TenantId;
use domain::ledger::CounterChange;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::plans::StoredPlan;
use super::{StorageError, Transaction};

/// A period with what was used in it.
#[derive(Clone, Debug)]
pub struct PeriodUse {
    /// Its number, from 1.
    pub number: i32,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
    /// The plan of its last segment.
    pub plan: StoredPlan,
    /// Units by what became of them.
    pub units: CounterChange,
}

const NEWEST: &str = "SELECT p.number, p.starts_at, p.ends_at, pl.*, coalesce(c.held, 0)::bigint AS held,
        coalesce(c.captured, 0)::bigint AS captured, coalesce(c.free, 0)::bigint AS free,
        coalesce(c.voided, 0)::bigint AS voided, coalesce(c.expired, 0)::bigint AS expired,
        coalesce(c.forced, 0)::bigint AS forced
    FROM billing_periods p
    JOIN LATERAL (SELECT plan_id FROM period_segments s WHERE s.tenant_id = p.tenant_id AND s.period = p.number
        ORDER BY s.number DESC LIMIT 1) s ON true
    JOIN plans pl ON pl.id = s.plan_id
    LEFT JOIN LATERAL (SELECT sum(held) AS held, sum(captured) AS captured, sum(free) AS free, sum(voided) AS voided,
        sum(expired) AS expired, sum(forced) AS forced FROM pool_counters k
        WHERE k.tenant_id = p.tenant_id AND k.period = p.number) c ON true
    WHERE p.tenant_id = $1 ORDER BY p.number DESC LIMIT 1";

/// Reads the newest period, which may have ended; none before the tenant's first message.
///
/// # Errors
/// What the database says.
pub async fn newest_period(
    transaction: &mut Transaction,
    tenant: TenantId,
) -> Result<Option<PeriodUse>, StorageError> {
    let row = transaction.query_opt(NEWEST, &[&tenant.0]).await?;
    row.map(|row| {
        Ok(PeriodUse {
            number: row.try_get("number")?,
            starts_at: row.try_get("starts_at")?,
            ends_at: row.try_get("ends_at")?,
            plan: StoredPlan::read(&row)?,
            units: CounterChange {
                held: row.try_get("held")?,
                captured: row.try_get("captured")?,
                free: row.try_get("free")?,
                voided: row.try_get("voided")?,
                expired: row.try_get("expired")?,
                forced: row.try_get("forced")?,
            },
        })
    })
    .transpose()
}

/// Reads the plan that a tenant is on now.
///
/// # Errors
/// What the database says.
pub async fn present_plan(
    transaction: &mut Transaction,
    tenant: TenantId,
) -> Result<Option<StoredPlan>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT p.* FROM plan_assignments a JOIN plans p ON p.id = a.plan_id
             WHERE a.tenant_id = $1 AND a.effective_from <= now() ORDER BY a.effective_from DESC, a.created_at DESC LIMIT 1",
            &[&tenant.0],
        )
        .await?;
    row.as_ref().map(StoredPlan::read).transpose()
}

/// A row of the ledger.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "domain::audit_chain::LedgerRow explains each")]
pub struct LedgerEntry {
    pub seq: i64,
    pub kind: String,
    pub attempt: Option<Uuid>,
    pub period: i32,
    pub category: String,
    pub debit: String,
    pub credit: String,
    pub units: i64,
    pub evidence: Option<Uuid>,
    pub at: Timestamp,
    pub hash: Vec<u8>,
}

/// Lists ledger rows, the newest first, those before `before`.
///
/// # Errors
/// What the database says.
pub async fn ledger(
    transaction: &mut Transaction,
    tenant: TenantId,
    before: Option<i64>,
    most: i64,
) -> Result<Vec<LedgerEntry>, StorageError> {
    let before = before.unwrap_or(i64::MAX);
    let rows = transaction
        .query(
            "SELECT seq, kind, attempt_id, period, category, debit, credit, units, evidence_id, at, hash FROM ledger
             WHERE tenant_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3",
            &[&tenant.0, &before, &most],
        )
        .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<LedgerEntry, StorageError> {
    Ok(LedgerEntry {
        seq: row.try_get(0)?,
        kind: row.try_get(1)?,
        attempt: row.try_get(2)?,
        period: row.try_get(3)?,
        category: row.try_get(4)?,
        debit: row.try_get(5)?,
        credit: row.try_get(6)?,
        units: row.try_get(7)?,
        evidence: row.try_get(8)?,
        at: row.try_get(9)?,
        hash: row.try_get(10)?,
    })
}

/// Reads the zone in which a tenant's periods begin and end.
///
/// # Errors
/// What the database says.
pub async fn time_zone_of(transaction: &mut Transaction, tenant: TenantId) -> Result<String, StorageError> {
    let row = transaction
        .query_one("SELECT timezone FROM tenants WHERE id = $1", &[&tenant.0])
        .await?;
    Ok(row.try_get(0)?)
}
