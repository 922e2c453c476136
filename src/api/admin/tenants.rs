//! `/admin/v1/tenants`: customers of the installation.

use domain::ids::TenantId;
use domain::period::time_zone;
use domain::unknown::{POLICY_AFTER_LEAST, POLICY_AFTER_LONGEST, UnknownPolicy};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::api::authentication::operator;
use crate::api::billing::preview::change_of;
use crate::api::body::{self, Json};
use crate::api::call;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::idempotency::{self, Once};
use crate::api::query::{no_query, query};
use crate::api::reply::{self, Answer, finish};
use crate::api::senders::PageQuery;
use crate::storage::tenants::{self, StoredTenant, TenantChange};
use crate::storage::{Connection, Transaction, plans};

/// A tenant to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct TenantBody {
    /// Its name.
    name: String,
    /// The code of its plan; its newest version is taken.
    plan: String,
    /// IANA name of the zone in which its periods begin and end, such as `Europe/Lisbon`.
    timezone: String,
}

/// What may change of a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct TenantPatch {
    /// Its name.
    #[serde(default)]
    name: Option<String>,
    /// Its time zone, from the next period on.
    #[serde(default)]
    timezone: Option<String>,
    /// `active` lets a suspended tenant in again.
    #[serde(default)]
    state: Option<String>,
    /// What becomes of messages of which it stays unknown whether Meta took them: `keep` (the tenant decides), `resend` (they may
    /// arrive twice) or `fail` (they may have arrived).
    #[serde(default)]
    unknown_policy: Option<String>,
    /// After how many seconds: 5 to 2,592,000; 0 for never.
    #[serde(default)]
    unknown_after_seconds: Option<i32>,
}

/// A move to another plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PlanChange {
    /// The plan's code; its newest version is taken.
    plan: String,
    /// `now` or `period_end`.
    effective: String,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TenantView {
    /// Its id.
    id: Uuid,
    /// Its name.
    name: String,
    /// The code of its plan.
    plan: Option<String>,
    /// The version of its plan.
    plan_version: Option<i32>,
    /// The code of the plan that it moves to next.
    next_plan: Option<String>,
    /// When it moves.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_plan_from: Option<Timestamp>,
    /// Its time zone.
    timezone: String,
    /// `active`, `suspended` or `offboarded`.
    state: String,
    /// Since when it is in quarantine.
    #[schema(value_type = Option<String>, format = DateTime)]
    quarantined_at: Option<Timestamp>,
    /// Why it is.
    quarantine_reason: Option<String>,
    /// What becomes of messages that stay unknown: `keep`, `resend` or `fail`.
    unknown_policy: String,
    /// After how many seconds; never if there is none.
    unknown_after_seconds: Option<i32>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<StoredTenant> for TenantView {
    fn from(tenant: StoredTenant) -> Self {
        Self {
            id: tenant.id.0,
            name: tenant.name,
            plan: tenant.plan,
            plan_version: tenant.plan_version,
            next_plan: tenant.next_plan,
            next_plan_from: tenant.next_plan_from,
            timezone: tenant.timezone,
            state: tenant.state,
            quarantined_at: tenant.quarantined_at,
            quarantine_reason: tenant.quarantine_reason,
            unknown_policy: tenant.unknown_policy,
            unknown_after_seconds: tenant.unknown_after_seconds,
            created_at: tenant.created_at,
        }
    }
}

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let all = warp::path!("admin" / "v1" / "tenants");
    let one = warp::path!("admin" / "v1" / "tenants" / Uuid);
    let create = all
        .and(warp::post())
        .and(operator(context))
        .and(idempotency::key())
        .and(body::json())
        .and(with.clone())
        .then(|key, body, context| async move { finish(create(context, key, body).await) })
        .boxed();
    let list = all
        .and(warp::get())
        .and(operator(context))
        .and(query())
        .and(with.clone())
        .then(|query, context| async move { finish(list(context, query).await) })
        .boxed();
    let read = one
        .and(warp::get())
        .and(operator(context))
        .and(no_query())
        .and(with.clone())
        .then(|id, context| async move { finish(read(context, id).await) })
        .boxed();
    let change = one
        .and(warp::patch())
        .and(operator(context))
        .and(body::json())
        .and(with.clone())
        .then(|id, body, context| async move { finish(change(context, id, body).await) })
        .boxed();
    let suspend = warp::path!("admin" / "v1" / "tenants" / Uuid / "suspend")
        .and(warp::post())
        .and(operator(context))
        .and(with.clone())
        .then(|id, context| async move { finish(suspend(context, id).await) })
        .boxed();
    let assign = warp::path!("admin" / "v1" / "tenants" / Uuid / "plan")
        .and(warp::put())
        .and(operator(context))
        .and(body::json())
        .and(with)
        .then(|id, body, context| async move { finish(assign(context, id, body).await) })
        .boxed();
    let some = create.or(list).unify().or(read).unify();
    some.or(change)
        .unify()
        .or(suspend)
        .unify()
        .or(assign)
        .unify()
        .boxed()
}

fn check_unknown_after(seconds: Option<i32>) -> Result<(), ApiError> {
    let (least, most) = (POLICY_AFTER_LEAST.as_secs(), POLICY_AFTER_LONGEST.as_secs());
    let fits = |seconds: i32| u64::try_from(seconds).is_ok_and(|seconds| (least..=most).contains(&seconds));
    match seconds {
        Some(seconds) if seconds != 0 && !fits(seconds) => Err(ApiError::invalid(format!(
            "unknown_after_seconds: {least} to {most}, or 0 for never"
        ))),
        _ => Ok(()),
    }
}

/// Makes a tenant on a plan.
#[utoipa::path(post, path = "/admin/v1/tenants", tag = "operators", request_body = TenantBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeats under the same key have no further effect")),
    responses((status = 201, body = TenantView), (status = 422, description = "No such plan or time zone")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn create(context: Context, key: Option<String>, body: Json<TenantBody>) -> Answer {
    let Json {
        value: wanted,
        sha256,
    } = body;
    let name = super::checked_name(&wanted.name)?;
    time_zone(&wanted.timezone).map_err(|error| ApiError::invalid(format!("timezone: {error}")))?;
    let mut first = match Once::begin_for_operator(&context, key, "POST /admin/v1/tenants", sha256).await? {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    let transaction = &mut first.transaction;
    let Some(plan) = plans::newest(transaction, &wanted.plan).await? else {
        first.transaction.rollback().await?;
        let detail = format!("plan: there is no plan {:?}", wanted.plan);
        return Err(ApiError::invalid(detail));
    };
    let id = TenantId(Uuid::now_v7());
    tenants::insert(transaction, id, name, &wanted.timezone).await?;
    plans::assign(transaction, id, plan.plan.id, Timestamp::now(), "now").await?;
    call::note_made(id.0);
    let view = view(transaction, id).await?;
    first.answer(StatusCode::CREATED, &view).await
}

async fn view(connection: &mut Connection, id: TenantId) -> Result<TenantView, ApiError> {
    let found = tenants::find(connection, id).await?;
    Ok(found.ok_or_else(|| ApiError::not_found("tenant"))?.into())
}

/// Lists tenants, the newest first.
#[utoipa::path(get, path = "/admin/v1/tenants", tag = "operators", params(PageQuery),
    responses((status = 200, body = crate::api::pagination::Listed<TenantView>, description = "A page")), security(("admin_key" = [])))]
pub(in crate::api) async fn list(context: Context, query: PageQuery) -> Answer {
    let page = query.page()?;
    let mut connection = context.app_system.get().await?;
    let found = tenants::list(&mut connection, page.cursor, false, page.one_more()).await?;
    reply::ok(&page.of(found, |tenant| tenant.id.0).map(TenantView::from))
}

/// Reads a tenant.
#[utoipa::path(get, path = "/admin/v1/tenants/{id}", tag = "operators", params(("id" = Uuid, Path)),
    responses((status = 200, body = TenantView), (status = 404, description = "There is no such tenant")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn read(context: Context, id: Uuid) -> Answer {
    let mut connection = context.app_system.get().await?;
    reply::ok(&view(&mut connection, TenantId(id)).await?)
}

/// Changes a tenant's name, time zone or state.
#[utoipa::path(patch, path = "/admin/v1/tenants/{id}", tag = "operators", request_body = TenantPatch,
    params(("id" = Uuid, Path)),
    responses((status = 200, body = TenantView), (status = 404, description = "There is no such tenant")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn change(context: Context, id: Uuid, body: Json<TenantPatch>) -> Answer {
    let patch = body.value;
    let name = patch.name.as_deref().map(super::checked_name).transpose()?;
    if let Some(zone) = &patch.timezone {
        time_zone(zone).map_err(|error| ApiError::invalid(format!("timezone: {error}")))?;
    }
    if patch
        .state
        .as_deref()
        .is_some_and(|state| state != "active" && state != "suspended")
    {
        return Err(ApiError::invalid("state: active or suspended"));
    }
    let policy = patch.unknown_policy.as_deref();
    if policy.is_some_and(|policy| policy.parse::<UnknownPolicy>().is_err()) {
        return Err(ApiError::invalid("unknown_policy: keep, resend or fail"));
    }
    check_unknown_after(patch.unknown_after_seconds)?;
    let change = TenantChange {
        name,
        timezone: patch.timezone.as_deref(),
        state: patch.state.as_deref(),
        unknown_policy: policy,
        unknown_after_seconds: patch.unknown_after_seconds,
    };
    apply(&context, TenantId(id), &change).await
}

/// Suspends a tenant: its keys are refused; what is queued is still sent.
#[utoipa::path(post, path = "/admin/v1/tenants/{id}/suspend", tag = "operators", params(("id" = Uuid, Path)),
    responses((status = 200, body = TenantView), (status = 404, description = "There is no such tenant")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn suspend(context: Context, id: Uuid) -> Answer {
    let change = TenantChange {
        state: Some("suspended"),
        ..TenantChange::default()
    };
    apply(&context, TenantId(id), &change).await
}

async fn apply(context: &Context, id: TenantId, change: &TenantChange<'_>) -> Answer {
    let mut connection = context.app_system.get().await?;
    let changed = tenants::change(&mut connection, id, change).await?;
    let view = view(&mut connection, id).await?;
    if changed {
        reply::ok(&view)
    } else {
        Err(ApiError::conflict(
            "this tenant was offboarded; it does not change any more",
        ))
    }
}

/// Moves a tenant to another plan, now or when its period ends.
#[utoipa::path(put, path = "/admin/v1/tenants/{id}/plan", tag = "operators", request_body = PlanChange,
    params(("id" = Uuid, Path)),
    responses((status = 200, body = TenantView), (status = 404, description = "There is no such tenant")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn assign(context: Context, id: Uuid, body: Json<PlanChange>) -> Answer {
    let id = TenantId(id);
    let mut transaction = context.app_system.begin().await?;
    let made = assign_in(&mut transaction, id, &body.value).await;
    match made {
        Ok(()) => transaction.commit().await?,
        Err(error) => {
            transaction.rollback().await?;
            return Err(error);
        }
    }
    let mut connection = context.app_system.get().await?;
    reply::ok(&view(&mut connection, id).await?)
}

async fn assign_in(transaction: &mut Transaction, id: TenantId, wanted: &PlanChange) -> Result<(), ApiError> {
    if tenants::find(transaction, id).await?.is_none() {
        return Err(ApiError::not_found("tenant"));
    }
    let change = change_of(transaction, id, &wanted.plan, &wanted.effective).await?;
    plans::assign(
        transaction,
        id,
        change.plan.plan.id,
        change.from,
        &wanted.effective,
    )
    .await?;
    Ok(())
}
