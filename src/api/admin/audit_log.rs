//! `GET /admin/v1/audit`: who did what to what, when, from where, and how it ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::api::authentication::operator;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::pagination::Page;
use crate::api::query::query;
use crate::api::reply::{self, Answer, finish};
use crate::storage::audit_log::{self, Entry, Wanted};

/// Which rows, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct AuditQuery {
    /// About this tenant only.
    #[param(value_type = Option<Uuid>)]
    tenant_id: Option<Uuid>,
    /// This action only, as `action` names it.
    action: Option<String>,
    /// By this actor only.
    actor: Option<String>,
    /// With this outcome only: `begun`, `done`, `refused` or `failed`.
    #[param(inline)]
    outcome: Option<Outcome>,
    /// From this moment on.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// `next_cursor` of the page before.
    #[param(format = Uuid)]
    cursor: Option<String>,
    /// 1 to 200; 50 if absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
}

/// How an action ended.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It is about to take effect.
    Begun,
    /// It took effect.
    Done,
    /// It was refused.
    Refused,
    /// It failed.
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// A row of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct AuditView {
    /// Its id.
    id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `X-Request-Id` of the answer; an action's rows `begun` and after have the same.
    request_id: Uuid,
    /// `operator`, `api_key` or `unknown`.
    actor_kind: String,
    /// A fingerprint of the operators' key, the id of an API key, or what is no secret of a key that does not exist.
    actor: String,
    /// What was done, such as `POST /admin/v1/tenants/{id}/suspend`.
    action: String,
    /// Whom it concerns.
    tenant_id: Option<Uuid>,
    /// To what: the path as it was called, then the id of what was made.
    target: String,
    /// From which address.
    from_address: String,
    /// `begun`, then `done`, `refused` or `failed`. A row `begun` without another means that the process ended in between.
    outcome: String,
    /// The status of the answer.
    status: Option<i16>,
}

impl From<Entry> for AuditView {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id,
            at: entry.at,
            request_id: entry.request,
            actor_kind: entry.actor_kind,
            actor: entry.actor,
            action: entry.action,
            tenant_id: entry.tenant,
            target: entry.target,
            from_address: entry.from,
            outcome: entry.outcome,
            status: entry.status,
        }
    }
}

/// The route.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    warp::path!("admin" / "v1" / "audit")
        .and(warp::get())
        .and(operator(context))
        .and(query())
        .then(move |query| {
            let context = with.clone();
            async move { finish(list(context, query).await) }
        })
        .boxed()
}

/// Lists the audit log, the newest rows first: what operators did, and wrong keys.
#[utoipa::path(get, path = "/admin/v1/audit", tag = "operators", params(AuditQuery),
    responses((status = 200, body = crate::api::pagination::Listed<AuditView>, description = "A page"),
        (status = 422, description = "A value cannot be taken")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn list(context: Context, query: AuditQuery) -> Answer {
    let page = Page::read(query.cursor.as_deref(), query.limit)?;
    if let (Some(since), Some(until)) = (query.since, query.until)
        && since >= until
    {
        return Err(ApiError::invalid("until: a moment after since"));
    }
    let wanted = Wanted {
        tenant: query.tenant_id,
        action: query.action.as_deref(),
        actor: query.actor.as_deref(),
        outcome: query.outcome.map(Outcome::as_str),
        since: query.since,
        until: query.until,
        before: page.cursor,
    };
    let mut connection = context.app_system.get().await?;
    let found = audit_log::list(&mut connection, &wanted, page.one_more()).await?;
    reply::ok(&page.of(found, |entry| entry.id).map(AuditView::from))
}
