//! `/v1/campaigns`: the routes whose requests and answers are JSON.

use std::str::FromStr;

use domain::ids::{CampaignId, TenantId};
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::launch::LaunchBody;
use super::preflight::preflight as forecast;
use super::shapes::{CampaignBody, CampaignView, PreflightView};
use super::{commands, report, streams, trial};

// What the OpenAPI document reads of the routes in other files.
pub(in crate::api) use super::report::{__path_failures, __path_report};
pub(in crate::api) use super::streams::{__path_events, __path_upload};
pub(in crate::api) use super::trial::__path_test;
use crate::api::authentication::{Scope, tenant};
use crate::api::body::{self, Json};
use crate::api::context::Context;
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
        .then(|tenant, key, body, context| async move { finish(create(context, tenant, key, body).await) })
        .boxed();
    let list = warp::path!("v1" / "campaigns")
        .and(warp::get())
        .and(tenant(context, Scope::Campaigns))
        .and(query())
        .and(with.clone())
        .then(|tenant, query, context| async move { finish(list(context, tenant, query).await) })
        .boxed();
    let read = warp::path!("v1" / "campaigns" / Uuid)
        .and(warp::get())
        .and(tenant(context, Scope::Campaigns))
        .and(with.clone())
        .then(|id, tenant, context| async move { finish(read(context, tenant, id).await) })
        .boxed();
    let preflight = warp::path!("v1" / "campaigns" / Uuid / "preflight")
        .and(warp::get())
        .and(tenant(context, Scope::Campaigns))
        .and(with.clone())
        .then(|id, tenant, context| async move { finish(preflight(context, tenant, id).await) })
        .boxed();
    let launch = warp::path!("v1" / "campaigns" / Uuid / "launch")
        .and(warp::post())
        .and(tenant(context, Scope::Campaigns))
        .and(body::json())
        .and(with.clone())
        .then(|id, tenant, body, context| async move { finish(launch(context, tenant, id, body).await) })
        .boxed();
    let change = warp::path!("v1" / "campaigns" / Uuid / Verb)
        .and(warp::post())
        .and(tenant(context, Scope::Campaigns))
        .and(with)
        .then(|id, verb, tenant, context| async move { finish(change(context, tenant, id, verb).await) })
        .boxed();
    streams::routes(context)
        .or(trial::routes(context))
        .unify()
        .or(create)
        .unify()
        .or(list)
        .unify()
        .or(read)
        .unify()
        .or(preflight)
        .unify()
        .or(launch)
        .unify()
        .or(change)
        .unify()
        .or(report::routes(context))
        .unify()
        .boxed()
}

/// What a path asks to be done with a campaign.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Pause,
    Resume,
    Cancel,
}

impl FromStr for Verb {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "pause" => Ok(Self::Pause),
            "resume" => Ok(Self::Resume),
            "cancel" => Ok(Self::Cancel),
            _ => Err(()),
        }
    }
}

async fn change(context: Context, tenant: TenantId, id: Uuid, verb: Verb) -> Answer {
    match verb {
        Verb::Pause => pause(context, tenant, id).await,
        Verb::Resume => resume(context, tenant, id).await,
        Verb::Cancel => cancel(context, tenant, id).await,
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
    responses((status = 200, body = crate::api::pagination::Listed<CampaignView>, description = "A page")), security(("api_key" = [])))]
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
    reply::ok(&commands::read(&context.app_rw, &context.redis, tenant, CampaignId(id)).await?)
}

/// Tells what launching would do: what it costs, whether the plan blocks it, when it would finish.
#[utoipa::path(get, path = "/v1/campaigns/{id}/preflight", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = PreflightView), (status = 404, description = "There is no such campaign")),
    security(("api_key" = [])))]
pub(in crate::api) async fn preflight(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    reply::ok(&forecast(&context.app_rw, tenant, CampaignId(id)).await?)
}

/// Launches a campaign: at once, or at its `schedule_at` if that is still to come; whole, or with a canary first. Launched again before
/// it has started, it takes a new time; afterwards repeating it has no further effect. A time more than five minutes ago is refused.
#[utoipa::path(post, path = "/v1/campaigns/{id}/launch", tag = "campaigns", request_body = LaunchBody, params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignView), (status = 404, description = "There is no such campaign"),
        (status = 409, description = "It has no recipients, is paused or is over"),
        (status = 422, description = "Its time is over, or the canary makes no sense")), security(("api_key" = [])))]
pub(in crate::api) async fn launch(
    context: Context,
    tenant: TenantId,
    id: Uuid,
    body: Json<LaunchBody>,
) -> Answer {
    reply::ok(&commands::launch(&context.app_rw, tenant, CampaignId(id), &body.value).await?)
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
