//! `GET /v1/invoices`: the open period as it would be charged now, and the invoices of the periods before, with their arithmetic.

use domain::ids::{InvoiceId, TenantId};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;
use warp::Reply as _;
use warp::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::pagination::Listed;
use crate::api::reply::{self, Answer};
use crate::api::senders::PageQuery;
use crate::statements::{InvoiceForm, InvoiceView};
use crate::storage::committer::closing;
use crate::storage::{invoices, tenants};

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct FormQuery {
    /// `json`, `csv` (a row per line), or `html` (a page to print); `json` if absent.
    format: Option<String>,
}

/// Lists invoices: the open period's draft, the draft of one that ended and is not closed yet, then those of the periods before, the
/// newest first.
#[utoipa::path(get, path = "/v1/invoices", tag = "billing", params(PageQuery),
    responses((status = 200, body = crate::api::pagination::Listed<InvoiceView>, description = "A page")), security(("api_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: TenantId, query: PageQuery) -> Answer {
    let page = query.page()?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let (open, ended) = match page.cursor {
        None => (
            InvoiceView::open(&mut transaction, tenant, Timestamp::now()).await?,
            closing::ended(&mut transaction, tenant).await?,
        ),
        Some(_) => (None, None),
    };
    let found = invoices::list(&mut transaction, tenant, page.cursor, page.one_more()).await?;
    transaction.commit().await?;
    let mut listed = page.of(found, |invoice| invoice.id.0);
    let ended = ended.map(|(period, invoice)| InvoiceView::of_ended(&period, &invoice));
    let closed = std::mem::take(&mut listed.items)
        .into_iter()
        .map(InvoiceView::of_stored);
    let drafts = open.into_iter().chain(ended).map(Ok);
    let items = drafts.chain(closed).collect::<Result<_, _>>()?;
    reply::ok(&Listed::<InvoiceView> {
        items,
        next_cursor: listed.next_cursor,
    })
}

/// Reads an invoice of a closed period.
#[utoipa::path(get, path = "/v1/invoices/{id}", tag = "billing", params(("id" = Uuid, Path), FormQuery),
    responses((status = 200, content((InvoiceView = "application/json"), (String = "text/csv"), (String = "text/html"))),
        (status = 404, description = "There is no such invoice")),
    security(("api_key" = [])))]
pub(in crate::api) async fn read(context: Context, tenant: TenantId, id: Uuid, query: FormQuery) -> Answer {
    let form = query.format.as_deref().unwrap_or("json").parse::<InvoiceForm>();
    let form = form.map_err(|error| ApiError::invalid(error.to_string()))?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let found = invoices::find(&mut transaction, tenant, InvoiceId(id)).await?;
    let invoice = InvoiceView::of_stored(found.ok_or_else(|| ApiError::not_found("invoice"))?)?;
    let answer = match form {
        InvoiceForm::Json => reply::ok(&invoice)?,
        InvoiceForm::Csv => written(invoice.csv()?, "text/csv; charset=utf-8"),
        InvoiceForm::Html => {
            let whom = tenants::addressee(&mut transaction, tenant).await?;
            let whom = whom.ok_or_else(|| ApiError::not_found("tenant"))?;
            written(invoice.html(&whom), "text/html; charset=utf-8")
        }
    };
    transaction.commit().await?;
    Ok(answer)
}

/// Answers with text that may not run or load anything.
fn written(text: String, media_type: &'static str) -> warp::reply::Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}
