//! `GET /v1/invoices`: the open period as it would be charged now, with its arithmetic.

use domain::ids::TenantId;
use domain::money::{Currency, Micros};
use domain::rating::{InvoiceLine, LineKind, invoice_lines, total};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::usage::open_or_first;
use crate::api::context::Context;
use crate::api::pagination::Listed;
use crate::api::reply::{self, Answer};
use crate::storage::StorageError;
use crate::storage::billing_reads::PeriodUse;

/// An invoice.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct InvoiceView {
    /// The number of its period.
    period: i32,
    /// `draft` while the period is open.
    state: &'static str,
    /// When the period begins.
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    /// When the period ends.
    #[schema(value_type = String, format = DateTime)]
    ends_at: Timestamp,
    /// ISO 4217.
    currency: String,
    /// The sum of the lines, in the currency's smallest unit.
    total_minor: i64,
    /// The same for people.
    total: String,
    /// What is charged.
    lines: Vec<LineView>,
}

/// A line: quantity times unit price, rounded half to even once.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct LineView {
    /// `fee`, `allowance` or `overage`.
    kind: &'static str,
    /// For people.
    description: String,
    /// How many.
    quantity: i64,
    /// The exact price of one.
    unit_price: String,
    /// What is charged, in the currency's smallest unit.
    amount_minor: i64,
    /// The same for people.
    amount: String,
}

/// Lists invoices: now the open period's draft.
#[utoipa::path(get, path = "/v1/invoices", tag = "billing",
    responses((status = 200, body = [InvoiceView], description = "`{items, next_cursor}`")), security(("api_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: TenantId) -> Answer {
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let period = open_or_first(&mut transaction, tenant).await?;
    transaction.commit().await?;
    let items = period.as_ref().map(draft).transpose()?;
    reply::ok(&Listed::whole(items.into_iter().collect()))
}

fn draft(period: &PeriodUse) -> Result<InvoiceView, StorageError> {
    let plan = period.plan.plan()?;
    let lines = invoice_lines(&plan, period.units.captured).map_err(StorageError::nonsense)?;
    let sum = total(&lines).map_err(StorageError::nonsense)?;
    Ok(InvoiceView {
        period: period.number,
        state: "draft",
        starts_at: period.starts_at,
        ends_at: period.ends_at,
        total_minor: sum.0,
        total: plan.currency.format(sum),
        lines: lines.iter().map(|line| line_view(line, &plan.currency)).collect(),
        currency: plan.currency.code,
    })
}

fn line_view(line: &InvoiceLine, currency: &Currency) -> LineView {
    let description = match line.kind {
        LineKind::Fee => "Fee of the period",
        LineKind::Allowance => "Messages included in the fee",
        LineKind::Overage => "Messages beyond the allowance",
    };
    LineView {
        kind: line.kind.as_str(),
        description: description.to_owned(),
        quantity: line.quantity,
        unit_price: exact(line.unit_price),
        amount_minor: line.amount.0,
        amount: currency.format(line.amount),
    }
}

/// Writes a price with all its digits, and no more zeros than two.
fn exact(price: Micros) -> String {
    let text = format!("{}.{:06}", price.0 / 1_000_000, price.0 % 1_000_000);
    let kept = text.trim_end_matches('0').len().max(text.len() - 4);
    text[..kept].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_keep_their_digits() {
        assert_eq!(exact(Micros(50_000)), "0.05");
        assert_eq!(exact(Micros(1_234_567)), "1.234567");
        assert_eq!(exact(Micros(29_000_000)), "29.00");
    }
}
