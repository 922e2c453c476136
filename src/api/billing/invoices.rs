//! `GET /v1/invoices`: the open period as it would be charged now, and the invoices of the periods before, with their arithmetic.

use domain::ids::{InvoiceId, TenantId};
use domain::invoice::Invoice;
use domain::money::{Currency, Minor};
use domain::period::Period;
use domain::rating::{period_lines, total};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::pagination::Listed;
use crate::api::reply::{self, Answer};
use crate::api::senders::PageQuery;
use crate::storage::StorageError;
use crate::storage::booked::{self, OpenPeriod};
use crate::storage::committer::closing;
use crate::storage::invoices::{self, LineShape, StoredInvoice};

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
    lines: Vec<LineShape>,
    /// When it was issued; null while the period is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    issued_at: Option<Timestamp>,
}

/// Lists invoices: the open period's draft, the draft of one that ended and is not closed yet, then those of the periods before, the
/// newest first.
#[utoipa::path(get, path = "/v1/invoices", tag = "billing", params(PageQuery),
    responses((status = 200, body = crate::api::pagination::Listed<InvoiceView>, description = "A page")), security(("api_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: TenantId, query: PageQuery) -> Answer {
    let page = query.page()?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let (present, ended) = match page.cursor {
        None => (
            booked::present(&mut transaction, tenant, Timestamp::now()).await?,
            closing::ended(&mut transaction, tenant).await?,
        ),
        Some(_) => (None, None),
    };
    let found = invoices::list(&mut transaction, tenant, page.cursor, page.one_more()).await?;
    transaction.commit().await?;
    let mut listed = page.of(found, |invoice| invoice.id.0);
    let draft = present.as_ref().map(draft).transpose()?;
    let ended = ended.map(|(period, invoice)| ended_draft(&period, &invoice));
    let closed = std::mem::take(&mut listed.items).into_iter().map(view);
    let items = draft
        .into_iter()
        .chain(ended)
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

/// A period that has ended and is not closed yet.
fn ended_draft(period: &Period, invoice: &Invoice) -> InvoiceView {
    let lines = invoice
        .lines
        .iter()
        .map(|line| LineShape::of(line, &invoice.currency));
    InvoiceView {
        id: None,
        issued_at: None,
        period: invoice.period,
        state: "draft".to_owned(),
        starts_at: period.starts_at,
        ends_at: period.ends_at,
        total_minor: invoice.total.0,
        total: invoice.currency.format(invoice.total),
        lines: lines.collect(),
        currency: invoice.currency.code.clone(),
    }
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
        lines: lines.iter().map(|line| LineShape::of(line, currency)).collect(),
        currency: currency.code.clone(),
    })
}
