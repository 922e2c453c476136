//! The ledger's rows of a period, each with its message and the stored event that proves it.

use domain::ids::TenantId;
use domain::money::Micros;
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Connection, StorageError};

/// Rows of a page.
pub const PAGE_ROWS: i64 = 2_000;

/// A row: units, or money, that moved from one account to another, and why.
#[derive(Clone, Debug, Serialize)]
#[allow(
    missing_docs,
    reason = "domain::audit_chain::LedgerRow explains each, and the API's document those of Meta"
)]
pub struct LedgerLine {
    pub seq: i64,
    pub at: Timestamp,
    pub kind: String,
    pub period: i32,
    pub segment: i32,
    pub pool: String,
    pub category: String,
    pub units: i64,
    pub debit: String,
    pub credit: String,
    pub attempt_id: Option<Uuid>,
    pub message_id: Option<Uuid>,
    pub campaign_id: Option<Uuid>,
    pub wamid: Option<String>,
    pub evidence_id: Option<Uuid>,
    pub status: Option<String>,
    pub status_at: Option<Timestamp>,
    pub pricing_type: Option<String>,
    pub pricing_category: Option<String>,
    pub hash: String,
    pub amount: Option<String>,
    pub currency: String,
}

const PAGE: &str =
    "SELECT l.seq, l.at, l.kind, l.period, l.segment, l.pool, l.category, l.units, l.debit, l.credit, l.attempt_id,
        coalesce(own.id, earlier.id) AS message_id, coalesce(own.campaign_id, earlier.campaign_id) AS campaign_id,
        coalesce(e.wamid, own.wamid) AS wamid, l.evidence_id, e.status, e.occurred_at, e.pricing_type, e.pricing_category,
        encode(l.hash, 'hex') AS hash, l.micros, l.currency
    FROM ledger l
    LEFT JOIN messages own ON own.tenant_id = $1 AND own.attempt_id = l.attempt_id
    LEFT JOIN message_attempts a ON a.tenant_id = $1 AND a.attempt_id = l.attempt_id
    LEFT JOIN messages earlier ON earlier.tenant_id = $1 AND earlier.id = a.message_id
    LEFT JOIN events e ON e.tenant_id = $1 AND e.id = l.evidence_id
    WHERE l.tenant_id = $1 AND l.period = $2 AND l.seq > $3 ORDER BY l.seq LIMIT $4";

/// Reads the rows of a period that follow `after`, at most [`PAGE_ROWS`].
///
/// # Errors
/// What the database says.
pub async fn page(
    connection: &mut Connection,
    tenant: TenantId,
    period: i32,
    after: i64,
) -> Result<Vec<LedgerLine>, StorageError> {
    let rows = connection
        .query(PAGE, &[&tenant.0, &period, &after, &PAGE_ROWS])
        .await?;
    rows.iter().map(read).collect()
}

/// Tells whether a tenant has such a period.
///
/// # Errors
/// What the database says.
pub async fn has_period(
    connection: &mut Connection,
    tenant: TenantId,
    period: i32,
) -> Result<bool, StorageError> {
    let statement = "SELECT FROM billing_periods WHERE tenant_id = $1 AND number = $2";
    Ok(connection
        .query_opt(statement, &[&tenant.0, &period])
        .await?
        .is_some())
}

fn read(row: &Row) -> Result<LedgerLine, StorageError> {
    let micros: i64 = row.try_get("micros")?;
    Ok(LedgerLine {
        seq: row.try_get("seq")?,
        at: row.try_get("at")?,
        kind: row.try_get("kind")?,
        period: row.try_get("period")?,
        segment: row.try_get("segment")?,
        pool: row.try_get("pool")?,
        category: row.try_get("category")?,
        units: row.try_get("units")?,
        debit: row.try_get("debit")?,
        credit: row.try_get("credit")?,
        attempt_id: row.try_get("attempt_id")?,
        message_id: row.try_get("message_id")?,
        campaign_id: row.try_get("campaign_id")?,
        wamid: row.try_get("wamid")?,
        evidence_id: row.try_get("evidence_id")?,
        status: row.try_get("status")?,
        status_at: row.try_get("occurred_at")?,
        pricing_type: row.try_get("pricing_type")?,
        pricing_category: row.try_get("pricing_category")?,
        hash: row.try_get("hash")?,
        amount: (micros != 0).then(|| Micros(micros).to_string()),
        currency: row.try_get("currency")?,
    })
}
