//! `/v1/dead-letters`: shapes and routes.

use domain::ids::{CampaignId, MessageId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::api::authentication::{Scope, tenant};
use crate::api::body::{self, Json};
use crate::api::context::Context;
use crate::api::idempotency::{self, Once};
use crate::api::messages::MessageView;
use crate::api::pagination::Page;
use crate::api::query::query;
use crate::api::refused::{Refused, undo};
use crate::api::reply::{self, Answer, finish};
use crate::storage::Database;
use crate::storage::dead_letters::{self, Burial, DeadFilter};

/// Messages that one request may name.
const MOST_IDS: usize = 10_000;

/// Which dead messages to replay; all of them if nothing is said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayBody {
    /// Of this campaign only.
    #[serde(default)]
    pub campaign_id: Option<Uuid>,
    /// These only.
    #[serde(default)]
    pub ids: Option<Vec<Uuid>>,
    /// Also those whose last error says that a repetition cannot help or may harm.
    #[serde(default)]
    pub force: bool,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Replayed {
    /// Messages that will be tried again.
    pub replayed: i64,
    /// Messages that stay dead: not safe to repeat, their campaign was cancelled, or no dead message of that id.
    pub skipped: i64,
}

/// Which dead messages to give up on. Something must be said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeBody {
    /// Of this campaign only.
    #[serde(default)]
    pub campaign_id: Option<Uuid>,
    /// These only.
    #[serde(default)]
    pub ids: Option<Vec<Uuid>>,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Purged {
    /// Messages that are `failed` now.
    pub purged: i64,
}

/// Which dead messages to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct DeadQuery {
    /// Of this campaign only.
    campaign_id: Option<Uuid>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200; 50 if absent.
    limit: Option<i64>,
}

/// The routes of this room.
pub(in crate::api) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let list = warp::path!("v1" / "dead-letters")
        .and(warp::get())
        .and(tenant(context, Scope::Messages))
        .and(query())
        .and(with.clone())
        .then(|tenant, query, context| async move { finish(list(context, tenant, query).await) });
    let replay = warp::path!("v1" / "dead-letters" / "replay")
        .and(warp::post())
        .and(tenant(context, Scope::Messages))
        .and(idempotency::key())
        .and(body::json())
        .and(with.clone())
        .then(|tenant, key, body, context| async move { finish(replay(context, tenant, key, body).await) });
    let purge = warp::path!("v1" / "dead-letters" / "purge")
        .and(warp::post())
        .and(tenant(context, Scope::Messages))
        .and(body::json())
        .and(with)
        .then(|tenant, body, context| async move { finish(purge(context, tenant, body).await) });
    list.or(replay).unify().or(purge).unify().boxed()
}

/// Lists dead messages, the newest first.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead letters", params(DeadQuery),
    responses((status = 200, body = [MessageView], description = "`{items, next_cursor}`")), security(("api_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: TenantId, query: DeadQuery) -> Answer {
    let page = Page::read(query.cursor.as_deref(), query.limit)?;
    let (campaign, before) = (query.campaign_id.map(CampaignId), page.cursor.map(MessageId));
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let found = dead_letters::list(&mut transaction, tenant, campaign, before, page.one_more()).await?;
    transaction.commit().await?;
    reply::ok(&page.of(found, |message| message.id.0).map(MessageView::from))
}

/// Tries dead messages again, with all attempts before them. A finished campaign runs again.
#[utoipa::path(post, path = "/v1/dead-letters/replay", tag = "dead letters", request_body = ReplayBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeats under the same key have no further effect")),
    responses((status = 200, body = Replayed), (status = 422, description = "A value cannot be taken")),
    security(("api_key" = [])))]
pub(in crate::api) async fn replay(
    context: Context,
    tenant: TenantId,
    key: Option<String>,
    body: Json<ReplayBody>,
) -> Answer {
    let Json { value, sha256 } = body;
    let first = match Once::begin(&context, tenant, key, "POST /v1/dead-letters/replay", sha256).await? {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    // Moved in transactions of their own, which repeat harmlessly should the answer's own not come to its end.
    match replay_all(&context.app_rw, tenant, value).await {
        Ok(replayed) => first.answer(StatusCode::OK, &replayed).await,
        Err(refused) => Err(undo(first.transaction, refused).await.into()),
    }
}

/// Gives up on dead messages: they become `failed`.
#[utoipa::path(post, path = "/v1/dead-letters/purge", tag = "dead letters", request_body = PurgeBody,
    responses((status = 200, body = Purged), (status = 422, description = "Nothing was said, or too many were named")),
    security(("api_key" = [])))]
pub(in crate::api) async fn purge(context: Context, tenant: TenantId, body: Json<PurgeBody>) -> Answer {
    reply::ok(&purge_all(&context.app_rw, tenant, body.value).await?)
}

async fn replay_all(database: &Database, tenant: TenantId, body: ReplayBody) -> Result<Replayed, Refused> {
    let filter = filter(body.campaign_id, body.ids)?;
    let asked = filter.ids.as_ref().map_or(0, Vec::len);
    let what = Burial::Replay { force: body.force };
    let done = dead_letters::bury(database, tenant, &filter, what).await?;
    let asked = i64::try_from(asked).unwrap_or(i64::MAX);
    Ok(Replayed {
        replayed: done.moved,
        skipped: done.skipped.max(asked - done.moved),
    })
}

async fn purge_all(database: &Database, tenant: TenantId, body: PurgeBody) -> Result<Purged, Refused> {
    if body.campaign_id.is_none() && body.ids.is_none() {
        return Err(Refused::invalid("ids", "say which: ids, or a campaign_id"));
    }
    let filter = filter(body.campaign_id, body.ids)?;
    let done = dead_letters::bury(database, tenant, &filter, Burial::Purge).await?;
    Ok(Purged { purged: done.moved })
}

fn filter(campaign: Option<Uuid>, ids: Option<Vec<Uuid>>) -> Result<DeadFilter, Refused> {
    let ids = ids.map(|mut ids| {
        ids.sort_unstable();
        ids.dedup();
        ids
    });
    if ids.as_ref().is_some_and(|ids| ids.len() > MOST_IDS) {
        return Err(Refused::invalid("ids", format!("at most {MOST_IDS}")));
    }
    Ok(DeadFilter {
        campaign: campaign.map(CampaignId),
        ids: ids.map(|ids| ids.into_iter().map(MessageId).collect()),
    })
}
