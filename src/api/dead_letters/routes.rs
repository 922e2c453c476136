//! `/v1/dead-letters`: the routes.

use domain::campaign::CampaignState;
use domain::dead_letter::{Replay, replay_of};
use domain::ids::{MessageId, TenantId};
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::shapes::{
    DeadQuery, LetterStory, LetterView, PurgeBody, Purged, ReplayBody, Replayed, filter_of, reason_of,
    reasons,
};
use crate::api::authentication::{Caller, Scope, caller, tenant};
use crate::api::body::{self, Json};
use crate::api::context::Context;
use crate::api::idempotency::{self, Once};
use crate::api::messages::HappeningView;
use crate::api::pagination::Page;
use crate::api::query::query;
use crate::api::refused::{Refused, end, undo};
use crate::api::reply::{self, Answer, finish};
use crate::dead_letters::{self as all_letters, ActionFailed};
use crate::storage::dead_letters::{self, Action, Done, Letter, LetterFilter, Order};
use crate::storage::{StorageError, Transaction, campaigns, messages};

/// The routes of this room.
pub(in crate::api) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let list = warp::path!("v1" / "dead-letters")
        .and(warp::get())
        .and(tenant(context, Scope::Messages))
        .and(query())
        .and(with.clone())
        .then(|tenant, query, context| async move { finish(list(context, tenant, query).await) })
        .boxed();
    let read = warp::path!("v1" / "dead-letters" / Uuid)
        .and(warp::get())
        .and(tenant(context, Scope::Messages))
        .and(with.clone())
        .then(|id, tenant, context| async move { finish(read(context, tenant, id).await) })
        .boxed();
    let replay = warp::path!("v1" / "dead-letters" / "replay")
        .and(warp::post())
        .and(caller(context, Scope::Messages))
        .and(idempotency::key())
        .and(body::json())
        .and(with.clone())
        .then(|caller, key, body, context| async move { finish(replay(context, caller, key, body).await) })
        .boxed();
    let purge = warp::path!("v1" / "dead-letters" / "purge")
        .and(warp::post())
        .and(caller(context, Scope::Messages))
        .and(body::json())
        .and(with)
        .then(|caller, body, context| async move { finish(purge(context, caller, body).await) })
        .boxed();
    list.or(replay).unify().or(purge).unify().or(read).unify().boxed()
}

/// Lists dead letters, the newest first.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead letters", params(DeadQuery),
    responses((status = 200, body = crate::api::pagination::Listed<LetterView>, description = "A page")), security(("api_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: TenantId, query: DeadQuery) -> Answer {
    let page = Page::read(query.cursor.as_deref(), query.limit)?;
    let filter = filter_of(
        tenant,
        query.campaign_id,
        None,
        query.class.as_deref(),
        query.kind.as_deref(),
    )?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let found = dead_letters::list(&mut transaction, &filter, page.cursor, page.one_more()).await?;
    transaction.commit().await?;
    reply::ok(&page.of(found, |letter| letter.id).map(LetterView::from))
}

/// Reads one dead letter whole: what happened to it, what was done about it, and what a replay would do now.
#[utoipa::path(get, path = "/v1/dead-letters/{id}", tag = "dead letters", params(("id" = Uuid, Path)),
    responses((status = 200, body = LetterStory), (status = 404, description = "No dead letter of that id, or no longer")),
    security(("api_key" = [])))]
pub(in crate::api) async fn read(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let story = story(&mut transaction, tenant, id).await;
    reply::ok(&end(transaction, story).await?)
}

async fn story(transaction: &mut Transaction, tenant: TenantId, id: Uuid) -> Result<LetterStory, Refused> {
    let letter = dead_letters::find(transaction, Some(tenant), id).await?;
    let letter = letter.ok_or(Refused::NotFound("dead letter"))?;
    let timeline = messages::timeline(transaction, tenant, MessageId(id)).await?;
    let actions = dead_letters::actions_on(transaction, &letter).await?;
    let campaign = match letter.campaign {
        Some(campaign) => campaigns::find(transaction, tenant, campaign).await?,
        None => None,
    };
    Ok(LetterStory {
        replay_would: replay_would(&letter, campaign.map(|campaign| campaign.standing.state)),
        letter: letter.into(),
        timeline: timeline.into_iter().map(HappeningView::from).collect(),
        actions: actions.into_iter().map(Into::into).collect(),
    })
}

/// Says what a replay of a letter would do now.
fn replay_would(letter: &Letter, campaign: Option<CampaignState>) -> &'static str {
    let is_forced = matches!(replay_of(letter.kind, letter.error_code), Replay::Forced(_));
    match campaign {
        Some(CampaignState::Cancelled) => "be refused: the campaign was cancelled",
        _ if is_forced => "leave it as it is, unless it is forced",
        _ if letter.event.is_some() => "apply the event again",
        Some(CampaignState::Paused) => "plan it again; it goes out once the campaign is resumed",
        Some(CampaignState::Finished) => {
            "plan it again at once, and let the campaign run until it is through"
        }
        _ => "plan it again at once, with all attempts before it",
    }
}

/// Tries dead letters again, with all attempts before them. A finished campaign runs again. Only what is safe to repeat, unless
/// forced; `dry_run` tells what would happen.
#[utoipa::path(post, path = "/v1/dead-letters/replay", tag = "dead letters", request_body = ReplayBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeats under the same key have no further effect")),
    responses((status = 200, body = Replayed), (status = 404, description = "There is no such campaign"),
        (status = 409, description = "The campaign was cancelled"), (status = 422, description = "A value cannot be taken")),
    security(("api_key" = [])))]
pub(in crate::api) async fn replay(
    context: Context,
    caller: Caller,
    key: Option<String>,
    body: Json<ReplayBody>,
) -> Answer {
    let Json { value, sha256 } = body;
    let first = match Once::begin(
        &context,
        caller.tenant,
        key,
        "POST /v1/dead-letters/replay",
        sha256,
    )
    .await?
    {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    // Moved in transactions of their own, which repeat harmlessly should the answer's own not come to its end.
    match replay_all(&context, &caller, value).await {
        Ok(replayed) => first.answer(StatusCode::OK, &replayed).await,
        Err(refused) => Err(undo(first.transaction, refused).await.into()),
    }
}

/// Gives up on dead letters for good, with a reason that is kept: messages become `failed`.
#[utoipa::path(post, path = "/v1/dead-letters/purge", tag = "dead letters", request_body = PurgeBody,
    responses((status = 200, body = Purged),
        (status = 422, description = "No reason was given, nothing was named, or too many were")),
    security(("api_key" = [])))]
pub(in crate::api) async fn purge(context: Context, caller: Caller, body: Json<PurgeBody>) -> Answer {
    reply::ok(&purge_all(&context, &caller, body.value).await?)
}

async fn replay_all(context: &Context, caller: &Caller, body: ReplayBody) -> Result<Replayed, Refused> {
    let action = Action::Replay { force: body.force };
    let (class, kind) = (body.class.as_deref(), body.kind.as_deref());
    let filter = filter_of(caller.tenant, body.campaign_id, body.ids, class, kind)?;
    refuse_cancelled(context, &filter).await?;
    let reason = reason_of(body.reason, action)?;
    let done = run(context, caller, &filter, action, reason, body.dry_run).await?;
    Ok(Replayed {
        replayed: done.moved,
        skipped: done.skipped(),
        reasons: reasons(&done),
        dry_run: body.dry_run,
    })
}

async fn purge_all(context: &Context, caller: &Caller, body: PurgeBody) -> Result<Purged, Refused> {
    let says_which =
        body.campaign_id.is_some() || body.ids.is_some() || body.class.is_some() || body.kind.is_some();
    if !says_which {
        return Err(Refused::invalid(
            "ids",
            "say which: ids, a campaign_id, a class or a kind",
        ));
    }
    let (class, kind) = (body.class.as_deref(), body.kind.as_deref());
    let filter = filter_of(caller.tenant, body.campaign_id, body.ids, class, kind)?;
    let reason = reason_of(body.reason, Action::Purge)?;
    let done = run(context, caller, &filter, Action::Purge, reason, body.dry_run).await?;
    Ok(Purged {
        purged: done.moved,
        skipped: done.skipped(),
        dry_run: body.dry_run,
    })
}

/// A cancelled campaign's letters stay dead, whatever their errors: say so at once.
async fn refuse_cancelled(context: &Context, filter: &LetterFilter) -> Result<(), Refused> {
    let (Some(tenant), Some(campaign)) = (filter.tenant, filter.campaign) else {
        return Ok(());
    };
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let found = campaigns::find(&mut transaction, tenant, campaign).await?;
    transaction.rollback().await?;
    match found.map(|campaign| campaign.standing.reopen()) {
        None => Err(Refused::NotFound("campaign")),
        Some(Err(refused)) => Err(refused.into()),
        Some(Ok(_)) => Ok(()),
    }
}

async fn run(
    context: &Context,
    caller: &Caller,
    filter: &LetterFilter,
    action: Action,
    reason: String,
    dry_run: bool,
) -> Result<Done, Refused> {
    let mut done = if dry_run {
        all_letters::weigh(&context.app_rw, filter, action).await?
    } else {
        let order = Order {
            operation: Uuid::now_v7(),
            action,
            by: format!("API key {}", caller.key),
            reason,
        };
        // A tenant's letters are messages and events; the broker's deliveries are the operators'.
        all_letters::act(&context.app_rw, None, filter, &order, &mut |_| {})
            .await
            .map_err(|error| match error {
                ActionFailed::Storage(error) => error,
                ActionFailed::Broker(error) => StorageError::Unavailable(error.to_string()),
            })?
    };
    let asked = filter.ids.as_ref().map_or(0, Vec::len);
    let asked = i64::try_from(asked).unwrap_or(i64::MAX);
    done.gone += (asked - done.moved - done.skipped()).max(0);
    Ok(done)
}
