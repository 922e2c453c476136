//! Invoices of closed periods. A row never changes once it is final.

use std::collections::BTreeMap;

use domain::ids::{InvoiceId, TenantId};
use domain::invoice::{Invoice, RATING_VERSION};
use domain::money::Currency;
use domain::rating::{InvoiceLine, LineKind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Connection, StorageError, Transaction};

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
    /// The last ledger row that counts.
    pub cut_seq: i64,
    /// The chain's hash at that row.
    pub cut_hash: Vec<u8>,
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
        cut_seq: row.try_get("cut_seq")?,
        cut_hash: row.try_get("cut_hash")?,
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

/// Finds the invoice of a period.
///
/// # Errors
/// What the database says.
pub async fn of_period(
    connection: &mut Connection,
    tenant: TenantId,
    period: i32,
) -> Result<Option<StoredInvoice>, StorageError> {
    let row = connection
        .query_opt(
            "SELECT i.*, i.lines::text AS line_text, p.starts_at, p.ends_at FROM invoices i
             JOIN billing_periods p ON p.tenant_id = i.tenant_id AND p.number = i.period
             WHERE i.tenant_id = $1 AND i.period = $2",
            &[&tenant.0, &period],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Stores an invoice that is final: no row of it changes any more.
///
/// # Errors
/// What the database says; `Duplicate` when the period has one.
pub async fn insert(
    connection: &mut Connection,
    id: InvoiceId,
    tenant: TenantId,
    invoice: &Invoice,
) -> Result<(), StorageError> {
    connection
        .execute(
            "INSERT INTO invoices (id, tenant_id, period, state, currency, total_minor, lines, cut_seq, cut_hash, rating_version)
             VALUES ($1, $2, $3, 'final', $4, $5, $6::text::json, $7, $8, $9)",
            &[
                &id.0,
                &tenant.0,
                &invoice.period,
                &invoice.currency.code,
                &invoice.total.0,
                &lines_text(invoice)?,
                &invoice.cut_seq,
                &invoice.cut_hash.as_slice(),
                &RATING_VERSION,
            ],
        )
        .await?;
    Ok(())
}

/// Writes the lines of an invoice as they are stored, to the last byte.
///
/// # Errors
/// Never with lines of ours.
pub fn lines_text(invoice: &Invoice) -> Result<String, StorageError> {
    let shapes: Vec<LineShape> = invoice
        .lines
        .iter()
        .map(|line| LineShape::of(line, &invoice.currency))
        .collect();
    serde_json::to_string(&shapes).map_err(StorageError::nonsense)
}

/// Sums what the invoices before a period's charged for use, by the period that their lines are about. Corrections by hand are not among
/// them: the next invoice would take them back.
///
/// # Errors
/// What the database says.
pub async fn charged_before(
    connection: &mut Connection,
    tenant: TenantId,
    period: i32,
) -> Result<BTreeMap<i32, i64>, StorageError> {
    let rows = connection
        .query(
            "SELECT period, lines::text FROM invoices WHERE tenant_id = $1 AND period < $2",
            &[&tenant.0, &period],
        )
        .await?;
    let mut charged = BTreeMap::new();
    for row in &rows {
        let own: i32 = row.try_get(0)?;
        let lines: Vec<LineShape> = serde_json::from_str(row.try_get(1)?).map_err(StorageError::nonsense)?;
        let for_use = lines
            .into_iter()
            .filter(|line| line.kind != LineKind::Correction.as_str());
        for line in for_use {
            *charged.entry(line.service_period.unwrap_or(own)).or_default() += line.amount_minor;
        }
    }
    Ok(charged)
}

/// An invoice as it is checked.
#[derive(Clone, Debug)]
pub struct StoredCut {
    /// The number of its period.
    pub period: i32,
    /// The sum of its lines.
    pub total_minor: i64,
    /// Its lines, as JSON.
    pub lines: String,
    /// The last ledger row that counts.
    pub cut_seq: i64,
    /// The chain's hash at that row.
    pub cut_hash: Vec<u8>,
}

/// Lists all invoices of a tenant, the oldest first, with what they were drawn up from.
///
/// # Errors
/// What the database says.
pub async fn all(connection: &mut Connection, tenant: TenantId) -> Result<Vec<StoredCut>, StorageError> {
    let rows = connection
        .query(
            "SELECT period, total_minor, lines::text, cut_seq, cut_hash FROM invoices WHERE tenant_id = $1 ORDER BY period",
            &[&tenant.0],
        )
        .await?;
    let read = rows.iter().map(|row| {
        Ok(StoredCut {
            period: row.try_get(0)?,
            total_minor: row.try_get(1)?,
            lines: row.try_get(2)?,
            cut_seq: row.try_get(3)?,
            cut_hash: row.try_get(4)?,
        })
    });
    read.collect()
}

/// A line as it is stored and shown: quantity times unit price, rounded half to even once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineShape {
    /// `fee`, `fee_credit` and `fee_charge` (the plan changed within the period), `allowance`, `overage`, `adjustment` (what became
    /// known of an earlier period after its invoice), or `correction` (what somebody set right by hand, for the reason in the description).
    pub kind: String,
    /// The pool whose units it is about.
    #[serde(default)]
    pub pool: Option<String>,
    /// The number of the earlier period that it is about; the invoice's own if there is none.
    #[serde(default)]
    pub service_period: Option<i32>,
    /// For people.
    pub description: String,
    /// How many.
    pub quantity: i64,
    /// The exact price of one.
    pub unit_price: String,
    /// What is charged, in the currency's smallest unit.
    pub amount_minor: i64,
    /// The same for people.
    pub amount: String,
}

impl LineShape {
    /// Shows a line with its arithmetic.
    pub fn of(line: &InvoiceLine, currency: &Currency) -> Self {
        let description = match line.kind {
            LineKind::Fee => "Fee of the period",
            LineKind::FeeCredit => "Fee of the plan before, for the days left",
            LineKind::FeeCharge => "Fee of the new plan, for the days left",
            LineKind::Allowance => "Messages included in the fee",
            LineKind::Overage => "Messages beyond the allowance",
            LineKind::Adjustment => "What became known after the period's invoice",
            LineKind::Correction => "Correction",
        };
        let description = match &line.reason {
            Some(reason) => format!("{description}: {reason}"),
            None => description.to_owned(),
        };
        Self {
            kind: line.kind.as_str().to_owned(),
            pool: line.pool.clone(),
            service_period: line.service_period,
            description,
            quantity: line.quantity,
            unit_price: line.unit_price.to_string(),
            amount_minor: line.amount.0,
            amount: currency.format(line.amount),
        }
    }
}
