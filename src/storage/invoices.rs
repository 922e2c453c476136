//! Invoices of closed periods. A row never changes once it is final.

use domain::ids::{InvoiceId, TenantId};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{StorageError, Transaction};

/// An invoice.
#[derive(Clone, Debug)]
pub struct StoredInvoice {
    /// Its id.
    pub id: InvoiceId,
    /// The number of its period.
    pub period: i32,
    /// When the period began.
    pub starts_at: Timestamp,
    /// When the period ended.
    pub ends_at: Timestamp,
    /// `draft` or `final`.
    pub state: String,
    /// ISO 4217.
    pub currency: String,
    /// The sum of its lines, in the currency's smallest unit.
    pub total_minor: i64,
    /// Its lines, as JSON.
    pub lines: String,
    /// When it was issued.
    pub issued_at: Timestamp,
}

fn read(row: &Row) -> Result<StoredInvoice, StorageError> {
    Ok(StoredInvoice {
        id: InvoiceId(row.try_get("id")?),
        period: row.try_get("period")?,
        starts_at: row.try_get("starts_at")?,
        ends_at: row.try_get("ends_at")?,
        state: row.try_get("state")?,
        currency: row.try_get("currency")?,
        total_minor: row.try_get("total_minor")?,
        lines: row.try_get("line_text")?,
        issued_at: row.try_get("issued_at")?,
    })
}

/// Lists invoices, newest first, those older than `before`.
///
/// # Errors
/// What the database says.
pub async fn list(
    transaction: &mut Transaction,
    tenant: TenantId,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<StoredInvoice>, StorageError> {
    let before = before.unwrap_or(Uuid::max());
    let rows = transaction
        .query(
            "SELECT i.*, i.lines::text AS line_text, p.starts_at, p.ends_at FROM invoices i
             JOIN billing_periods p ON p.tenant_id = i.tenant_id AND p.number = i.period
             WHERE i.tenant_id = $1 AND i.id < $2 ORDER BY i.id DESC LIMIT $3",
            &[&tenant.0, &before, &most],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Finds an invoice.
///
/// # Errors
/// What the database says.
pub async fn find(
    transaction: &mut Transaction,
    tenant: TenantId,
    id: InvoiceId,
) -> Result<Option<StoredInvoice>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT i.*, i.lines::text AS line_text, p.starts_at, p.ends_at FROM invoices i
             JOIN billing_periods p ON p.tenant_id = i.tenant_id AND p.number = i.period
             WHERE i.tenant_id = $1 AND i.id = $2",
            &[&tenant.0, &id.0],
        )
        .await?;
    row.as_ref().map(read).transpose()
}
