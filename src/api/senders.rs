//! `/v1/senders`: a tenant's numbers at Meta. The access token goes in and never comes out.

use domain::ids::{SenderId, TenantId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::authentication::{Scope, tenant};
use super::body::{self, Json};
use super::context::Context;
use super::error::ApiError;
use super::idempotency::{self, Once};
use super::limits::{ACCESS_TOKEN_LONGEST, META_ID_LONGEST, SENDER_RATE_MOST, SENDER_RATE_USUAL};
use super::pagination::Page;
use super::query::query;
use super::reply::{self, Answer, finish};
use crate::storage::senders::{self, NewSender, SenderChange, StoredSender};
use crate::storage::{StorageError, Transaction};

/// A number to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SenderBody {
    /// Meta's id of the number.
    phone_number_id: String,
    /// Meta's id of its WhatsApp Business Account.
    waba_id: String,
    /// The number as people know it.
    display_phone_number: String,
    /// A token that may send from it. Stored, never shown.
    access_token: String,
    /// Meta's throughput for it: 1 to 1,000; 80 if absent.
    #[serde(default)]
    messages_per_second: Option<i32>,
    /// Meta's id of the business portfolio that it belongs to.
    #[serde(default)]
    portfolio_id: Option<String>,
    /// How many people the portfolio may reach in 24 hours, over all of its numbers; 0 for no limit. Counted from when it is set.
    #[serde(default)]
    messaging_limit: Option<i32>,
}

/// What may change of a number.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SenderPatch {
    /// A renewed token.
    #[serde(default)]
    access_token: Option<String>,
    /// A new throughput.
    #[serde(default)]
    messages_per_second: Option<i32>,
    /// The number as people know it.
    #[serde(default)]
    display_phone_number: Option<String>,
    /// Meta's id of the business portfolio that it belongs to.
    #[serde(default)]
    portfolio_id: Option<String>,
    /// How many people the portfolio may reach in 24 hours, over all of its numbers; 0 for no limit.
    #[serde(default)]
    messaging_limit: Option<i32>,
}

/// A number.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SenderView {
    /// Its id.
    id: Uuid,
    /// Meta's id of it.
    phone_number_id: String,
    /// Meta's id of its account.
    waba_id: String,
    /// The number as people know it.
    display_phone_number: String,
    /// Meta's throughput for it.
    messages_per_second: i32,
    /// Meta's id of its business portfolio, if it is known.
    portfolio_id: Option<String>,
    /// How many people the portfolio may reach in 24 hours, if that is limited.
    messaging_limit: Option<i32>,
    /// `active`, `held` or `token_invalid`.
    state: String,
    /// While it is held: when it is tried again by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    held_until: Option<Timestamp>,
    /// While it is held: what Meta said.
    held_because: Option<String>,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<StoredSender> for SenderView {
    fn from(stored: StoredSender) -> Self {
        Self {
            id: stored.id.0,
            phone_number_id: stored.phone_number_id,
            waba_id: stored.waba_id,
            display_phone_number: stored.display_phone_number,
            messages_per_second: stored.messages_per_second,
            portfolio_id: stored.portfolio_id,
            messaging_limit: stored.messaging_limit,
            held_until: stored.held_until.filter(|_| stored.state == "held"),
            held_because: stored.held_because.filter(|_| stored.state == "held"),
            state: stored.state,
            created_at: stored.created_at,
        }
    }
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
    /// 1 to 200; 50 if absent.
    pub(super) limit: Option<i64>,
}

impl PageQuery {
    /// Reads the page.
    pub(super) fn page(&self) -> Result<Page, ApiError> {
        Page::read(self.cursor.as_deref(), self.limit)
    }
}

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let add = warp::path!("v1" / "senders")
        .and(warp::post())
        .and(tenant(context, Scope::Senders))
        .and(idempotency::key())
        .and(body::json())
        .and(with.clone())
        .then(|tenant, key, body, context| async move { finish(add(context, tenant, key, body).await) })
        .boxed();
    let list = warp::path!("v1" / "senders")
        .and(warp::get())
        .and(tenant(context, Scope::Senders))
        .and(query())
        .and(with.clone())
        .then(|tenant, query, context| async move { finish(list(context, tenant, query).await) })
        .boxed();
    let change = warp::path!("v1" / "senders" / Uuid)
        .and(warp::patch())
        .and(tenant(context, Scope::Senders))
        .and(body::json())
        .and(with)
        .then(|id, tenant, body, context| async move { finish(change(context, tenant, id, body).await) })
        .boxed();
    add.or(list).unify().or(change).unify().boxed()
}

/// Adds a number.
#[utoipa::path(post, path = "/v1/senders", tag = "senders", request_body = SenderBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeats under the same key have no further effect")),
    responses((status = 201, body = SenderView), (status = 409, description = "Another tenant has this number or portfolio"),
        (status = 422, description = "A value cannot be taken")), security(("api_key" = [])))]
pub(super) async fn add(
    context: Context,
    tenant: TenantId,
    key: Option<String>,
    body: Json<SenderBody>,
) -> Answer {
    let Json { value, sha256 } = body;
    let rate = value.messages_per_second.unwrap_or(SENDER_RATE_USUAL);
    check_rate(rate)?;
    check_text("phone_number_id", &value.phone_number_id, META_ID_LONGEST)?;
    check_text("waba_id", &value.waba_id, META_ID_LONGEST)?;
    check_text(
        "display_phone_number",
        &value.display_phone_number,
        META_ID_LONGEST,
    )?;
    check_text("access_token", &value.access_token, ACCESS_TOKEN_LONGEST)?;
    check_portfolio(value.portfolio_id.as_deref(), value.messaging_limit)?;
    if value.messaging_limit.is_some() && value.portfolio_id.is_none() {
        return Err(ApiError::invalid(
            "messaging_limit: name the portfolio_id that it limits",
        ));
    }
    let mut first = match Once::begin(&context, tenant, key, "POST /v1/senders", sha256).await? {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    let new = NewSender {
        id: SenderId(Uuid::now_v7()),
        phone_number_id: &value.phone_number_id,
        waba_id: &value.waba_id,
        display_phone_number: &value.display_phone_number,
        access_token: &value.access_token,
        messages_per_second: rate,
        portfolio_id: value.portfolio_id.as_deref(),
    };
    if let Some(portfolio) = &value.portfolio_id
        && !senders::keep_portfolio(&mut first.transaction, tenant, portfolio, value.messaging_limit).await?
    {
        first.transaction.rollback().await?;
        return Err(foreign_portfolio());
    }
    match senders::insert(&mut first.transaction, tenant, &new).await {
        Ok(stored) => first.answer(StatusCode::CREATED, &SenderView::from(stored)).await,
        Err(StorageError::Duplicate { .. }) => {
            first.transaction.rollback().await?;
            let detail = "this phone_number_id has been added already; a number belongs to one tenant";
            Err(ApiError::conflict(detail))
        }
        Err(error) => Err(error.into()),
    }
}

fn check_portfolio(portfolio: Option<&str>, messaging_limit: Option<i32>) -> Result<(), ApiError> {
    portfolio.map_or(Ok(()), |id| check_text("portfolio_id", id, META_ID_LONGEST))?;
    match messaging_limit {
        Some(limit) if limit < 0 => Err(ApiError::invalid(
            "messaging_limit: at least 1, or 0 for no limit",
        )),
        _ => Ok(()),
    }
}

fn foreign_portfolio() -> ApiError {
    ApiError::conflict("this portfolio_id is another tenant's; a portfolio belongs to one tenant")
}

fn check_text(field: &str, text: &str, longest: usize) -> Result<(), ApiError> {
    if text.trim().is_empty() || text.len() > longest {
        return Err(ApiError::invalid(format!("{field}: 1 to {longest} characters")));
    }
    Ok(())
}

fn check_rate(rate: i32) -> Result<(), ApiError> {
    if (1..=SENDER_RATE_MOST).contains(&rate) {
        Ok(())
    } else {
        Err(ApiError::invalid(format!(
            "messages_per_second: 1 to {SENDER_RATE_MOST}"
        )))
    }
}

/// Follows a change of the number's portfolio, or of its limit.
async fn change_portfolio(
    transaction: &mut Transaction,
    tenant: TenantId,
    sender: SenderId,
    patch: &SenderPatch,
) -> Result<(), ApiError> {
    let portfolio = match (&patch.portfolio_id, patch.messaging_limit) {
        (Some(portfolio), _) => portfolio.clone(),
        (None, None) => return Ok(()),
        (None, Some(_)) => senders::portfolio_of(transaction, tenant, sender)
            .await?
            .ok_or_else(|| ApiError::invalid("messaging_limit: name the portfolio_id that it limits"))?,
    };
    if senders::keep_portfolio(transaction, tenant, &portfolio, patch.messaging_limit).await? {
        Ok(())
    } else {
        Err(foreign_portfolio())
    }
}

/// Lists the tenant's numbers, the newest first.
#[utoipa::path(get, path = "/v1/senders", tag = "senders", params(PageQuery),
    responses((status = 200, body = crate::api::pagination::Listed<SenderView>, description = "A page")), security(("api_key" = [])))]
pub(super) async fn list(context: Context, tenant: TenantId, query: PageQuery) -> Answer {
    let page = query.page()?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let found = senders::list(&mut transaction, tenant, page.cursor, page.one_more()).await?;
    transaction.commit().await?;
    reply::ok(&page.of(found, |sender| sender.id.0).map(SenderView::from))
}

/// Changes a number: renews its token, or follows a change of its throughput at Meta.
#[utoipa::path(patch, path = "/v1/senders/{id}", tag = "senders", request_body = SenderPatch,
    params(("id" = Uuid, Path)),
    responses((status = 200, body = SenderView), (status = 404, description = "There is no such sender"),
        (status = 409, description = "Another tenant has this portfolio")),
    security(("api_key" = [])))]
pub(super) async fn change(context: Context, tenant: TenantId, id: Uuid, body: Json<SenderPatch>) -> Answer {
    let patch = body.value;
    patch.messages_per_second.map_or(Ok(()), check_rate)?;
    let check = |field, text: &Option<String>, longest| {
        text.as_deref()
            .map_or(Ok(()), |text| check_text(field, text, longest))
    };
    check("access_token", &patch.access_token, ACCESS_TOKEN_LONGEST)?;
    check(
        "display_phone_number",
        &patch.display_phone_number,
        META_ID_LONGEST,
    )?;
    check_portfolio(patch.portfolio_id.as_deref(), patch.messaging_limit)?;
    let change = SenderChange {
        access_token: patch.access_token.as_deref(),
        messages_per_second: patch.messages_per_second,
        display_phone_number: patch.display_phone_number.as_deref(),
        portfolio_id: patch.portfolio_id.as_deref(),
    };
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    if let Err(refused) = change_portfolio(&mut transaction, tenant, SenderId(id), &patch).await {
        transaction.rollback().await?;
        return Err(refused);
    }
    let stored = senders::change(&mut transaction, tenant, SenderId(id), &change).await?;
    transaction.commit().await?;
    reply::ok(&SenderView::from(
        stored.ok_or_else(|| ApiError::not_found("sender"))?,
    ))
}
