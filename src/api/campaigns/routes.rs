//! `/v1/campaigns`: the routes whose requests and answers are JSON.

use domain::ids::{CampaignId, TenantId};
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::preflight::preflight as forecast;
use super::shapes::{CampaignBody, CampaignView, PreflightView};
use super::{commands, streams};

// What the OpenAPI document reads of the routes that stream.
pub(in crate::api) use super::streams::{__path_events, __path_upload};
use crate::api::authentication::{Scope, tenant};
use crate::api::body::{self, Json};
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::idempotency::{self, Once};
use crate::api::query::query;
use crate::api::refused::undo;
use crate::api::reply::{self, Answer, finish};
use crate::api::senders::PageQuery;

/// The routes of this room.
pub(in crate::api) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let create = warp::path!("v1" / "campaigns")
        .and(warp::post())
        .and(tenant(context, Scope::Campaigns))
        .and(idempotency::key())
        .and(body::json())
        .and(with.clone())
        .then(|tenant, key, body, context| async move { finish(create(context, tenant, key, body).await) });
    let list = warp::path!("v1" / "campaigns")
        .and(warp::get())
        .and(tenant(context, Scope::Campaigns))
        .and(query())
        .and(with.clone())
        .then(|tenant, query, context| async move { finish(list(context, tenant, query).await) });
    let read = warp::path!("v1" / "campaigns" / Uuid)
        .and(warp::get())
        .and(tenant(context, Scope::Campaigns))
        .and(with.clone())
        .then(|id, tenant, context| async move { finish(read(context, tenant, id).await) });
    let preflight = warp::path!("v1" / "campaigns" / Uuid / "preflight")
        .and(warp::get())
        .and(tenant(context, Scope::Campaigns))
        .and(with.clone())
        .then(|id, tenant, context| async move { finish(preflight(context, tenant, id).await) });
    let change =
        warp::path!("v1" / "campaigns" / Uuid / String)
            .and(warp::post())
            .and(tenant(context, Scope::Campaigns))
            .and(with)
            .then(|id, verb: String, tenant, context| async move {
                finish(change(context, tenant, id, &verb).await)
            });
    streams::routes(context)
        .or(create)
        .unify()
        .or(list)
        .unify()
        .or(read)
        .unify()
        .or(preflight)
        .unify()
        .or(change)
        .unify()
        .boxed()
}

async fn change(context: Context, tenant: TenantId, id: Uuid, verb: &str) -> Answer {
    match verb {
        "launch" => launch(context, tenant, id).await,
        "pause" => pause(context, tenant, id).await,
        "resume" => resume(context, tenant, id).await,
        "cancel" => cancel(context, tenant, id).await,
        _ => Err(ApiError::not_found("path; /docs lists all of them")),
    }
}

/// Creates a campaign as a draft, with its first recipients if there are any.
#[utoipa::path(post, path = "/v1/campaigns", tag = "campaigns", request_body = CampaignBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeats under the same key have no further effect")),
    responses((status = 201, body = CampaignView), (status = 422, description = "A value cannot be taken")),
    security(("api_key" = [])))]
pub(in crate::api) async fn create(
    context: Context,
    tenant: TenantId,
    key: Option<String>,
    body: Json<CampaignBody>,
) -> Answer {
    let Json { value, sha256 } = body;
    let mut first = match Once::begin(&context, tenant, key, "POST /v1/campaigns", sha256).await? {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    match commands::create(&mut first.transaction, tenant, value).await {
        Ok(view) => first.answer(StatusCode::CREATED, &view).await,
        Err(refused) => Err(undo(first.transaction, refused).await.into()),
    }
}

/// Lists campaigns, the newest first.
#[utoipa::path(get, path = "/v1/campaigns", tag = "campaigns", params(PageQuery),
    responses((status = 200, body = [CampaignView], description = "`{items, next_cursor}`")), security(("api_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: TenantId, query: PageQuery) -> Answer {
    let page = query.page()?;
    let before = page.cursor.map(CampaignId);
    let found = commands::list(&context.app_rw, tenant, before, page.one_more()).await?;
    reply::ok(&page.of(found, |campaign| campaign.id))
}

/// Reads a campaign with its counts.
#[utoipa::path(get, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignView), (status = 404, description = "There is no such campaign")),
    security(("api_key" = [])))]
pub(in crate::api) async fn read(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    reply::ok(&commands::read(&context.app_rw, tenant, CampaignId(id)).await?)
}

/// Tells what launching would do: what it costs, whether the plan blocks it, when it would finish.
#[utoipa::path(get, path = "/v1/campaigns/{id}/preflight", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = PreflightView), (status = 404, description = "There is no such campaign")),
    security(("api_key" = [])))]
pub(in crate::api) async fn preflight(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    reply::ok(&forecast(&context.app_rw, tenant, CampaignId(id)).await?)
}

/// Launches a campaign: at once, or at its `schedule_at` if that is still to come. Repeating it has no further effect.
#[utoipa::path(post, path = "/v1/campaigns/{id}/launch", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignView), (status = 404, description = "There is no such campaign"),
        (status = 409, description = "It has no recipients, is paused or is over")), security(("api_key" = [])))]
pub(in crate::api) async fn launch(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    reply::ok(&commands::launch(&context.app_rw, tenant, CampaignId(id)).await?)
}

/// Pauses a running campaign: what is not claimed yet waits. Repeating it has no further effect.
#[utoipa::path(post, path = "/v1/campaigns/{id}/pause", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignView), (status = 404, description = "There is no such campaign"),
        (status = 409, description = "It does not run")), security(("api_key" = [])))]
pub(in crate::api) async fn pause(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    reply::ok(&commands::pause(&context.app_rw, tenant, CampaignId(id)).await?)
}

/// Lets a paused campaign go on, whatever paused it. Repeating it has no further effect.
#[utoipa::path(post, path = "/v1/campaigns/{id}/resume", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignView), (status = 404, description = "There is no such campaign"),
        (status = 409, description = "It is not paused")), security(("api_key" = [])))]
pub(in crate::api) async fn resume(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    reply::ok(&commands::resume(&context.app_rw, tenant, CampaignId(id)).await?)
}

/// Ends a campaign early: what is not claimed yet becomes `cancelled`. Of a large campaign the rows move behind the answer;
/// its counts show how far they are. Repeating it has no further effect.
#[utoipa::path(post, path = "/v1/campaigns/{id}/cancel", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignView), (status = 404, description = "There is no such campaign"),
        (status = 409, description = "It has finished")), security(("api_key" = [])))]
pub(in crate::api) async fn cancel(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    reply::ok(&commands::cancel(&context.app_rw, tenant, CampaignId(id)).await?)
}
