//! What tenants may read of their billing besides their present period: warnings, the ledger.

use domain::ids::TenantId;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{StorageError, Transaction};

/// A share of an allowance that was reached.
#[derive(Clone, Debug)]
pub struct UsageWarning {
    /// Of which pool.
    pub pool: String,
    /// `reserved` (reserved and used units) or `used`.
    pub measure: String,
    /// The share, in percent.
    pub percent: i16,
    /// When it was reached.
    pub at: Timestamp,
}

/// Lists the shares of allowances that were reached in a period, the newest first.
///
/// # Errors
/// What the database says.
pub async fn warnings(
    transaction: &mut Transaction,
    tenant: TenantId,
    period: i32,
) -> Result<Vec<UsageWarning>, StorageError> {
    let rows = transaction
        .query(
            "SELECT pool, measure, percent, at FROM usage_warnings WHERE tenant_id = $1 AND period = $2
             ORDER BY at DESC, pool, measure, percent DESC",
            &[&tenant.0, &period],
        )
        .await?;
    let read = rows.iter().map(|row| {
        Ok(UsageWarning {
            pool: row.try_get(0)?,
            measure: row.try_get(1)?,
            percent: row.try_get(2)?,
            at: row.try_get(3)?,
        })
    });
    read.collect()
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
    pub micros: i64,
    pub currency: String,
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
            "SELECT seq, kind, attempt_id, period, category, debit, credit, units, micros, currency, evidence_id, at, hash
             FROM ledger
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
        micros: row.try_get(8)?,
        currency: row.try_get(9)?,
        evidence: row.try_get(10)?,
        at: row.try_get(11)?,
        hash: row.try_get(12)?,
    })
}
