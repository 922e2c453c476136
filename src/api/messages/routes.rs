//! `/v1/messages`: the routes.

use domain::ids::{MessageId, SenderId, TenantId};
use domain::message::{Lane, MessageState};
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::requests::{self, AcceptedMessage, MessageBody, MessageQuery, MessageStory, MessageView};
use crate::api::authentication::{Scope, tenant};
use crate::api::body::{self, Json};
use crate::api::call;
use crate::api::context::Context;
use crate::api::idempotency::{self, Once};
use crate::api::pagination::Page;
use crate::api::query::query;
use crate::api::refused::undo;
use crate::api::reply::{self, Answer, finish};
use crate::broker::Envelope;

/// The routes of this room.
pub(in crate::api) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let send = warp::path!("v1" / "messages")
        .and(warp::post())
        .and(tenant(context, Scope::Messages))
        .and(idempotency::key())
        .and(body::json())
        .and(with.clone())
        .then(|tenant, key, body, context| async move { finish(send(context, tenant, key, body).await) })
        .boxed();
    let list = warp::path!("v1" / "messages")
        .and(warp::get())
        .and(tenant(context, Scope::Messages))
        .and(query())
        .and(with.clone())
        .then(|tenant, query, context| async move { finish(list(context, tenant, query).await) })
        .boxed();
    let read = warp::path!("v1" / "messages" / Uuid)
        .and(warp::get())
        .and(tenant(context, Scope::Messages))
        .and(with)
        .then(|id, tenant, context| async move { finish(read(context, tenant, id).await) })
        .boxed();
    let settle = super::unknown::route(context);
    settle.or(send).unify().or(list).unify().or(read).unify().boxed()
}

/// Accepts one message; its delivery is reported later.
#[utoipa::path(post, path = "/v1/messages", tag = "messages", request_body = MessageBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeats under the same key have no further effect")),
    responses((status = 202, body = AcceptedMessage), (status = 422, description = "A value cannot be taken")),
    security(("api_key" = [])))]
pub(in crate::api) async fn send(
    context: Context,
    tenant: TenantId,
    key: Option<String>,
    body: Json<MessageBody>,
) -> Answer {
    let Json { value, sha256 } = body;
    let mut first = match Once::begin(&context, tenant, key, "POST /v1/messages", sha256).await? {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    let accepted = match requests::store(&mut first.transaction, tenant, &value).await {
        Ok(accepted) => accepted,
        Err(refused) => return Err(undo(first.transaction, refused).await.into()),
    };
    let answer = first.answer(StatusCode::ACCEPTED, &accepted).await?;
    follow(tenant, &accepted);
    if accepted.state == MessageState::Queued {
        // Only a hint: if it is lost, the planner takes the message up again.
        context.publisher.publish_soon(Envelope::Send {
            tenant,
            sender: SenderId(value.sender_id),
            lane: Lane::Fast,
            campaign: None,
            messages: vec![MessageId(accepted.id)],
        });
    }
    Ok(answer)
}

/// Says that a message is stored, to whoever follows it: docs/logging.md.
pub(in crate::api) fn follow(tenant: TenantId, accepted: &AcceptedMessage) {
    let request = call::current().map(|call| tracing::field::display(call.id));
    let message = MessageId(accepted.id);
    tracing::debug!(target: "journey", { trace.id = %message.trace(), tenant.id = %tenant, message.id = %message,
        request.id = request, state = accepted.state.as_str() }, "a message is stored");
}

/// Lists messages: of a campaign in the order of recipients, else the newest first.
#[utoipa::path(get, path = "/v1/messages", tag = "messages", params(MessageQuery),
    responses((status = 200, body = crate::api::pagination::Listed<MessageView>, description = "A page")), security(("api_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: TenantId, query: MessageQuery) -> Answer {
    let page = Page::read(query.cursor.as_deref(), query.limit)?;
    let after = page.cursor.map(MessageId);
    let found = requests::list(&context.app_rw, tenant, &query, after, page.one_more()).await?;
    reply::ok(&page.of(found, |message| message.id))
}

/// Reads a message with its timeline.
#[utoipa::path(get, path = "/v1/messages/{id}", tag = "messages", params(("id" = Uuid, Path)),
    responses((status = 200, body = MessageStory), (status = 404, description = "There is no such message")),
    security(("api_key" = [])))]
pub(in crate::api) async fn read(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    reply::ok(&requests::read(&context.app_rw, tenant, MessageId(id)).await?)
}
