//! `GET /v1/invoices`: the open period as it would be charged now, and the invoices of the periods before, with their arithmetic.

use domain::ids::{InvoiceId, TenantId};
use domain::money::{Currency, Micros, Minor};
use domain::rating::{InvoiceLine, LineKind, period_lines, total};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::pagination::Listed;
use crate::api::reply::{self, Answer};
use crate::api::senders::PageQuery;
use crate::storage::StorageError;
use crate::storage::booked::{self, OpenPeriod};
use crate::storage::invoices::{self, StoredInvoice};

/// An invoice.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct InvoiceView {
    /// Its id; null while the period is open.
    id: Option<Uuid>,
    /// The number of its period.
    period: i32,
    /// `draft` until the period is closed, then `final`.
    state: String,
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
    /// When it was issued; null while the period is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    issued_at: Option<Timestamp>,
}

/// A line: quantity times unit price, rounded half to even once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(in crate::api) struct LineView {
    /// `fee`, `fee_credit` and `fee_charge` (the plan changed within the period), `allowance`, `overage`, or `adjustment` (what became
    /// known of an earlier period after its invoice).
    kind: String,
    /// The pool whose units it is about.
    #[serde(default)]
    pool: Option<String>,
    /// The number of the earlier period that it is about; the invoice's own if there is none.
    #[serde(default)]
    service_period: Option<i32>,
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

/// Lists invoices: the open period's draft, then those of the periods before, the newest first.
#[utoipa::path(get, path = "/v1/invoices", tag = "billing", params(PageQuery),
    responses((status = 200, body = crate::api::pagination::Listed<InvoiceView>, description = "A page")), security(("api_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: TenantId, query: PageQuery) -> Answer {
    let page = query.page()?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let period = match page.cursor {
        None => booked::present(&mut transaction, tenant, Timestamp::now()).await?,
        Some(_) => None,
    };
    let found = invoices::list(&mut transaction, tenant, page.cursor, page.one_more()).await?;
    transaction.commit().await?;
    let mut listed = page.of(found, |invoice| invoice.id.0);
    let draft = period.as_ref().map(draft).transpose()?;
    let closed = std::mem::take(&mut listed.items).into_iter().map(view);
    let items = draft
        .into_iter()
        .map(Ok)
        .chain(closed)
        .collect::<Result<_, _>>()?;
    reply::ok(&Listed::<InvoiceView> {
        items,
        next_cursor: listed.next_cursor,
    })
}

/// Reads an invoice of a closed period.
#[utoipa::path(get, path = "/v1/invoices/{id}", tag = "billing", params(("id" = Uuid, Path)),
    responses((status = 200, body = InvoiceView), (status = 404, description = "There is no such invoice")),
    security(("api_key" = [])))]
pub(in crate::api) async fn read(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let found = invoices::find(&mut transaction, tenant, InvoiceId(id)).await?;
    transaction.commit().await?;
    reply::ok(&view(found.ok_or_else(|| ApiError::not_found("invoice"))?)?)
}

fn view(stored: StoredInvoice) -> Result<InvoiceView, StorageError> {
    let currency = Currency::from_code(&stored.currency).map_err(StorageError::nonsense)?;
    Ok(InvoiceView {
        id: Some(stored.id.0),
        period: stored.period,
        state: stored.state,
        starts_at: stored.starts_at,
        ends_at: stored.ends_at,
        total_minor: stored.total_minor,
        total: currency.format(Minor(stored.total_minor)),
        lines: serde_json::from_str(&stored.lines).map_err(StorageError::nonsense)?,
        currency: stored.currency,
        issued_at: Some(stored.issued_at),
    })
}

fn draft(period: &OpenPeriod) -> Result<InvoiceView, StorageError> {
    let lines = period_lines(&period.used()?).map_err(StorageError::nonsense)?;
    let sum = total(&lines).map_err(StorageError::nonsense)?;
    let currency = &period.plan()?.plan.currency;
    Ok(InvoiceView {
        id: None,
        issued_at: None,
        period: period.booked.number,
        state: "draft".to_owned(),
        starts_at: period.booked.period.starts_at,
        ends_at: period.booked.period.ends_at,
        total_minor: sum.0,
        total: currency.format(sum),
        lines: lines.iter().map(|line| line_view(line, currency)).collect(),
        currency: currency.code.clone(),
    })
}

/// Shows a line with its arithmetic.
pub(in crate::api) fn line_view(line: &InvoiceLine, currency: &Currency) -> LineView {
    let description = match line.kind {
        LineKind::Fee => "Fee of the period",
        LineKind::FeeCredit => "Fee of the plan before, for the days left",
        LineKind::FeeCharge => "Fee of the new plan, for the days left",
        LineKind::Allowance => "Messages included in the fee",
        LineKind::Overage => "Messages beyond the allowance",
        LineKind::Adjustment => "What became known after the period's invoice",
    };
    LineView {
        kind: line.kind.as_str().to_owned(),
        pool: line.pool.clone(),
        service_period: line.service_period,
        description: description.to_owned(),
        quantity: line.quantity,
        unit_price: exact(line.unit_price),
        amount_minor: line.amount.0,
        amount: currency.format(line.amount),
    }
}

/// Writes a price with all its digits, and no more zeros than two.
fn exact(price: Micros) -> String {
    let (sign, micros) = (if price.0 < 0 { "-" } else { "" }, price.0.unsigned_abs());
    let text = format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000);
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
        assert_eq!(exact(Micros(-250_000)), "-0.25");
    }
}
