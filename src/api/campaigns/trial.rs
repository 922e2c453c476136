//! `POST /v1/campaigns/{id}/test`: a campaign's message to one recipient, before it is launched.

use domain::ids::{CampaignId, MessageId, SenderId, TenantId};
use domain::message::{Lane, MessageState};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::commands::found;
use crate::api::authentication::{Scope, tenant};
use crate::api::body::{self, Json};
use crate::api::context::Context;
use crate::api::idempotency::{self, Once};
use crate::api::messages::{AcceptedMessage, follow};
use crate::api::refused::{Refused, undo};
use crate::api::reply::{Answer, finish};
use crate::api::upload::RowReader;
use crate::broker::Envelope;
use crate::content::Template;
use crate::storage::Transaction;
use crate::storage::messages::{self, NewMessage};

/// Who tries a campaign's message, with the values that its template asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct TestBody {
    /// E.164, or Meta's business-scoped user id.
    to: String,
    /// A value for each `{{column}}` of the template.
    #[serde(default)]
    #[schema(value_type = Object)]
    values: Map<String, Value>,
}

/// The route.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    warp::path!("v1" / "campaigns" / Uuid / "test")
        .and(warp::post())
        .and(tenant(context, Scope::Campaigns))
        .and(idempotency::key())
        .and(body::json())
        .and(with)
        .then(|id, tenant, key, body, context| async move { finish(test(context, tenant, id, key, body).await) })
        .boxed()
}

/// Sends the campaign's message to one recipient as a single message: it is billed, and is not counted in the campaign.
#[utoipa::path(post, path = "/v1/campaigns/{id}/test", tag = "campaigns", request_body = TestBody,
    params(("id" = Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Repeats under the same key have no further effect")),
    responses((status = 202, body = AcceptedMessage), (status = 404, description = "There is no such campaign"),
        (status = 422, description = "A value is missing or cannot be taken")), security(("api_key" = [])))]
pub(in crate::api) async fn test(
    context: Context,
    tenant: TenantId,
    id: Uuid,
    key: Option<String>,
    body: Json<TestBody>,
) -> Answer {
    let Json { value, sha256 } = body;
    let route = format!("POST /v1/campaigns/{id}/test");
    let mut first = match Once::begin(&context, tenant, key, &route, sha256).await? {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    let (sender, accepted) = match store(&mut first.transaction, tenant, CampaignId(id), value).await {
        Ok(stored) => stored,
        Err(refused) => return Err(undo(first.transaction, refused).await.into()),
    };
    let answer = first.answer(StatusCode::ACCEPTED, &accepted).await?;
    follow(tenant, &accepted);
    if accepted.state == MessageState::Queued {
        // Only a hint: if it is lost, the planner takes the message up again.
        context.publisher.publish_soon(Envelope::Send {
            tenant,
            sender,
            lane: Lane::Fast,
            campaign: None,
            messages: vec![MessageId(accepted.id)],
        });
    }
    Ok(answer)
}

async fn store(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    body: TestBody,
) -> Result<(SenderId, AcceptedMessage), Refused> {
    let campaign = found(transaction, tenant, campaign).await?;
    let template = Template::from_stored(&campaign.template)?;
    let recipient = body.to.parse().map_err(|error| Refused::invalid("to", error))?;
    let mut row = body.values;
    row.insert("recipient".to_owned(), Value::String(body.to));
    let read = RowReader::new(template.clone()).read_object(&row);
    let row = read.map_err(|refused| Refused::invalid("values", refused))?;
    let new = NewMessage {
        id: MessageId(Uuid::now_v7()),
        sender: campaign.sender,
        recipient: &recipient,
        body: template.json(),
        parameters: row.parameters.as_deref(),
        template: Some((template.name(), template.language())),
        category: Some(campaign.category),
    };
    let state = messages::insert_single(transaction, tenant, &new).await?;
    let state = state.ok_or(Refused::NotFound("sender"))?;
    Ok((campaign.sender, AcceptedMessage { id: new.id.0, state }))
}
