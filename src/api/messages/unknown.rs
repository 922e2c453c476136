//! `/v1/messages/unknown/settle`: the tenant decides about messages of which it is unknown whether Meta took them.

use domain::ids::{CampaignId, MessageId, TenantId};
use domain::unknown::UnknownPolicy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::api::authentication::{Scope, tenant};
use crate::api::body::{self, Json};
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::idempotency::{self, Once};
use crate::api::reply::{Answer, finish};
use crate::broker::Envelope;
use crate::storage::unknown::{self, UnknownFilter};

/// Messages that one request may name.
const MOST_IDS: usize = 10_000;

/// Which unknown messages to settle, and how. Something must be said: ids, or a campaign.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct SettleBody {
    /// Of this campaign only.
    #[serde(default)]
    pub campaign_id: Option<Uuid>,
    /// These only.
    #[serde(default)]
    pub ids: Option<Vec<Uuid>>,
    /// `resend`: send them again, under a new attempt; they may arrive twice. `fail`: give them up; they may have arrived.
    pub action: String,
}

/// How many messages will be settled.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(in crate::api) struct Settling {
    /// Unknown messages that were noted; they follow within seconds, unless a status settles them first.
    pub settling: u64,
}

/// The route of this room.
pub(super) fn route(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    warp::path!("v1" / "messages" / "unknown" / "settle")
        .and(warp::post())
        .and(tenant(context, Scope::Messages))
        .and(idempotency::key())
        .and(body::json())
        .map(move |tenant, key, body| (with.clone(), tenant, key, body))
        .untuple_one()
        .then(|context, tenant, key, body| async move { finish(settle(context, tenant, key, body).await) })
        .boxed()
}

/// Decides about messages of which it is unknown whether Meta took them. Those of a cancelled campaign are never sent again.
#[utoipa::path(post, path = "/v1/messages/unknown/settle", tag = "messages", request_body = SettleBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeats under the same key have no further effect")),
    responses((status = 202, body = Settling), (status = 422, description = "A value cannot be taken")),
    security(("api_key" = [])))]
pub(in crate::api) async fn settle(
    context: Context,
    tenant: TenantId,
    key: Option<String>,
    body: Json<SettleBody>,
) -> Answer {
    let Json { value, sha256 } = body;
    let (filter, wish) = read(value)?;
    let route = "POST /v1/messages/unknown/settle";
    let mut first = match Once::begin(&context, tenant, key, route, sha256).await? {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    let settling = unknown::wish(&mut first.transaction, tenant, &filter, wish).await?;
    let answer = first.answer(StatusCode::ACCEPTED, &Settling { settling }).await?;
    // Wakes the owner, should it sleep; if that is lost, the planner wakes it.
    let events = Vec::new();
    context
        .publisher
        .publish_soon(Envelope::Events { tenant, events });
    Ok(answer)
}

fn read(body: SettleBody) -> Result<(UnknownFilter, UnknownPolicy), ApiError> {
    let wish = match body.action.parse() {
        Ok(wish @ (UnknownPolicy::Resend | UnknownPolicy::Fail)) => wish,
        _ => return Err(ApiError::invalid("action: resend or fail")),
    };
    if body.campaign_id.is_none() && body.ids.is_none() {
        return Err(ApiError::invalid("ids: say which: ids, or a campaign_id"));
    }
    if body.ids.as_ref().is_some_and(|ids| ids.len() > MOST_IDS) {
        return Err(ApiError::invalid(format!("ids: at most {MOST_IDS}")));
    }
    let filter = UnknownFilter {
        campaign: body.campaign_id.map(CampaignId),
        ids: body.ids.map(|ids| ids.into_iter().map(MessageId).collect()),
    };
    Ok((filter, wish))
}
