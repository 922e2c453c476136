//! `/admin/v1/plans`: published versions; a version never changes, publishing again makes the next one.

use domain::ids::PlanId;
use domain::money::Currency;
use domain::plan::Policy;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::api::authentication::operator;
use crate::api::body::{self, Json};
use crate::api::call;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::idempotency::{self, Once};
use crate::api::limits::PLAN_AMOUNT_MOST;
use crate::api::query::query;
use crate::api::reply::{self, Answer, finish};
use crate::api::senders::PageQuery;
use crate::storage::plans::{self, NewPlan, StoredPlan};

/// A plan to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PlanBody {
    /// By which tenants are put on it: 1 to 64 lower-case letters, digits and dashes.
    code: String,
    /// For people.
    name: String,
    /// ISO 4217.
    currency: String,
    /// The fee of a period, in the currency's smallest unit.
    fee_minor: i64,
    /// Units included in the fee. One message that is delivered and billed by Meta is one unit.
    allowance_units: i64,
    /// What happens beyond them: `hard` (nothing more is sent), `overage` (more is sent and charged), `soft` (as `overage`, never blocked).
    policy: String,
    /// With `overage`: units beyond the allowance at which it blocks after all; no end if absent.
    #[serde(default)]
    overage_cap_units: Option<i64>,
    /// The price of a unit beyond the allowance, in millionths of the currency's main unit.
    #[serde(default)]
    overage_price_micros: i64,
    /// The plan's own rate; the number's alone counts if absent.
    #[serde(default)]
    messages_per_second: Option<i32>,
}

/// A published version of a plan.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs, reason = "PlanBody explains each")]
pub(in crate::api) struct PlanView {
    id: Uuid,
    code: String,
    version: i32,
    name: String,
    currency: String,
    fee_minor: i64,
    allowance_units: i64,
    policy: String,
    overage_cap_units: Option<i64>,
    overage_price_micros: i64,
    messages_per_second: Option<i32>,
    #[schema(value_type = String, format = DateTime)]
    published_at: Timestamp,
}

impl From<StoredPlan> for PlanView {
    fn from(plan: StoredPlan) -> Self {
        Self {
            id: plan.id.0,
            code: plan.code,
            version: plan.version,
            name: plan.name,
            currency: plan.currency,
            fee_minor: plan.fee_minor,
            allowance_units: plan.allowance_units,
            policy: plan.policy,
            overage_cap_units: plan.overage_cap_units,
            overage_price_micros: plan.overage_price_micros,
            messages_per_second: plan.messages_per_second,
            published_at: plan.published_at,
        }
    }
}

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let publish = warp::path!("admin" / "v1" / "plans")
        .and(warp::post())
        .and(operator(context))
        .and(idempotency::key())
        .and(body::json())
        .and(with.clone())
        .then(|key, body, context| async move { finish(publish(context, key, body).await) })
        .boxed();
    let list = warp::path!("admin" / "v1" / "plans")
        .and(warp::get())
        .and(operator(context))
        .and(query())
        .and(with)
        .then(|query, context| async move { finish(list(context, query).await) })
        .boxed();
    publish.or(list).unify().boxed()
}

/// Publishes the next version of a plan. Tenants stay on theirs until they are moved.
#[utoipa::path(post, path = "/admin/v1/plans", tag = "operators", request_body = PlanBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeats under the same key have no further effect")),
    responses((status = 201, body = PlanView), (status = 422, description = "A value cannot be taken")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn publish(context: Context, key: Option<String>, body: Json<PlanBody>) -> Answer {
    let Json { value: plan, sha256 } = body;
    check(&plan)?;
    let currency = Currency::from_code(&plan.currency).map_err(ApiError::invalid)?;
    let new = NewPlan {
        id: PlanId(Uuid::now_v7()),
        code: &plan.code,
        name: super::checked_name(&plan.name)?,
        currency: &currency,
        fee_minor: plan.fee_minor,
        allowance_units: plan.allowance_units,
        policy: &plan.policy,
        overage_cap_units: plan.overage_cap_units,
        overage_price_micros: plan.overage_price_micros,
        messages_per_second: plan.messages_per_second,
    };
    let mut first = match Once::begin_for_operator(&context, key, "POST /admin/v1/plans", sha256).await? {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    let stored = plans::publish(&mut first.transaction, &new).await?;
    call::note_made(stored.id.0);
    first.answer(StatusCode::CREATED, &PlanView::from(stored)).await
}

fn check(plan: &PlanBody) -> Result<(), ApiError> {
    let spelled = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if plan.code.is_empty() || plan.code.len() > 64 || !plan.code.bytes().all(spelled) {
        return Err(ApiError::invalid(
            "code: 1 to 64 lower-case letters, digits and dashes",
        ));
    }
    if Policy::from_parts(&plan.policy, plan.overage_cap_units).is_none() {
        return Err(ApiError::invalid("policy: hard, overage or soft"));
    }
    if plan.overage_cap_units.is_some() && plan.policy != "overage" {
        return Err(ApiError::invalid(
            "overage_cap_units: only with the policy overage",
        ));
    }
    let amounts = [
        ("fee_minor", plan.fee_minor),
        ("allowance_units", plan.allowance_units),
        ("overage_price_micros", plan.overage_price_micros),
        ("overage_cap_units", plan.overage_cap_units.unwrap_or(0)),
    ];
    let taken = 0..=PLAN_AMOUNT_MOST;
    match amounts.iter().find(|(_, amount)| !taken.contains(amount)) {
        Some((field, _)) => Err(ApiError::invalid(format!("{field}: 0 to {PLAN_AMOUNT_MOST}"))),
        None if plan.messages_per_second.is_some_and(|rate| rate < 1) => {
            Err(ApiError::invalid("messages_per_second: 1 or more"))
        }
        None => Ok(()),
    }
}

/// Lists published versions, the newest first.
#[utoipa::path(get, path = "/admin/v1/plans", tag = "operators", params(PageQuery),
    responses((status = 200, body = crate::api::pagination::Listed<PlanView>, description = "A page")), security(("admin_key" = [])))]
pub(in crate::api) async fn list(context: Context, query: PageQuery) -> Answer {
    let page = query.page()?;
    let mut connection = context.app_system.get().await?;
    let found = plans::list(&mut connection, page.cursor, page.one_more()).await?;
    reply::ok(&page.of(found, |plan| plan.id.0).map(PlanView::from))
}
