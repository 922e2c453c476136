//! `/admin/v1/plans`: published versions; a version never changes, publishing again makes the next one.

use domain::category::Category;
use domain::ids::PlanId;
use domain::invoice::RATING_VERSION;
use domain::money::{Currency, Micros, Minor};
use domain::plan::{ONLY_POOL, Plan, Policy, Pool, THRESHOLDS, Tier};
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
use crate::storage::plans::{self, NewPlan, PoolShape, StoredPlan};

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
    /// What is counted together: each category in exactly one pool. One message that is delivered and billed by Meta is one unit.
    /// Without it there is one pool of all categories, as the next four values say.
    #[serde(default)]
    pools: Option<Vec<PoolShape>>,
    /// Without `pools`: units included in the fee.
    #[serde(default)]
    allowance_units: Option<i64>,
    /// Without `pools`: what happens beyond them: `hard` (nothing more is sent), `overage` (more is sent and charged), `soft` (as
    /// `overage`, never blocked).
    #[serde(default)]
    policy: Option<String>,
    /// Without `pools`, with `overage`: units beyond the allowance at which it blocks after all; no end if absent.
    #[serde(default)]
    overage_cap_units: Option<i64>,
    /// Without `pools`: the price of a unit beyond the allowance, in millionths of the currency's main unit.
    #[serde(default)]
    overage_price_micros: i64,
    /// Shares of a pool's allowance, in percent, at which the tenant is warned: 50, 80, 90 and 100 if absent.
    #[serde(default)]
    warning_percents: Option<Vec<u8>>,
    /// The day of the month on which periods begin, 1 to 31, or the last one of a shorter month; 1 if absent.
    #[serde(default)]
    anchor_day: Option<i8>,
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
    pools: Vec<PoolShape>,
    allowance_units: i64,
    warning_percents: Vec<u8>,
    anchor_day: i8,
    messages_per_second: Option<u32>,
    #[schema(value_type = String, format = DateTime)]
    published_at: Timestamp,
}

impl From<StoredPlan> for PlanView {
    fn from(stored: StoredPlan) -> Self {
        let plan = stored.plan;
        Self {
            id: plan.id.0,
            code: stored.code,
            version: stored.version,
            name: stored.name,
            fee_minor: plan.fee.0,
            pools: plan.pools.iter().map(PoolShape::from).collect(),
            allowance_units: plan.allowance_units(),
            currency: plan.currency.code,
            warning_percents: plan.thresholds,
            anchor_day: plan.anchor_day,
            messages_per_second: plan.messages_per_second,
            published_at: stored.published_at,
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
    let Json {
        value: wanted,
        sha256,
    } = body;
    check_code(&wanted.code)?;
    let plan = wanted.plan()?;
    let new = NewPlan {
        code: &wanted.code,
        name: super::checked_name(&wanted.name)?,
        plan: &plan,
    };
    let mut first = match Once::begin_for_operator(&context, key, "POST /admin/v1/plans", sha256).await? {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    let stored = plans::publish(&mut first.transaction, &new).await?;
    call::note_made(stored.plan.id.0);
    first.answer(StatusCode::CREATED, &PlanView::from(stored)).await
}

fn check_code(code: &str) -> Result<(), ApiError> {
    let spelled = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if code.is_empty() || code.len() > 64 || !code.bytes().all(spelled) {
        return Err(ApiError::invalid(
            "code: 1 to 64 lower-case letters, digits and dashes",
        ));
    }
    Ok(())
}

impl PlanBody {
    /// Gives the plan as the rules know it.
    fn plan(&self) -> Result<Plan, ApiError> {
        let rate = self.messages_per_second.map(u32::try_from).transpose();
        let plan = Plan {
            id: PlanId(Uuid::now_v7()),
            currency: Currency::from_code(&self.currency).map_err(ApiError::invalid)?,
            fee: Minor(self.fee_minor),
            pools: self.pools()?,
            thresholds: self.warning_percents.clone().unwrap_or(THRESHOLDS.to_vec()),
            anchor_day: self.anchor_day.unwrap_or(1),
            messages_per_second: rate.map_err(|_| ApiError::invalid("messages_per_second: 1 or more"))?,
            rating_version: RATING_VERSION,
        };
        plan.check().map_err(ApiError::invalid)?;
        check_amounts(&plan)?;
        Ok(plan)
    }

    fn pools(&self) -> Result<Vec<Pool>, ApiError> {
        let Some(shapes) = &self.pools else {
            return Ok(vec![self.only_pool()?]);
        };
        if self.allowance_units.is_some() || self.policy.is_some() || self.overage_cap_units.is_some() {
            return Err(ApiError::invalid(
                "pools: each has an allowance and a policy of its own",
            ));
        }
        if shapes.is_empty() || shapes.len() > Category::ALL.len() {
            return Err(ApiError::invalid("pools: 1 to 4"));
        }
        let pools = shapes.iter().map(|shape| {
            check_code(&shape.name).map_err(|_| ApiError::invalid("pools: a name is as a code is"))?;
            Pool::try_from(shape).map_err(ApiError::invalid)
        });
        pools.collect()
    }

    fn only_pool(&self) -> Result<Pool, ApiError> {
        let policy = self.policy.as_deref().unwrap_or_default();
        if self.overage_cap_units.is_some() && policy != "overage" {
            return Err(ApiError::invalid(
                "overage_cap_units: only with the policy overage",
            ));
        }
        let policy = Policy::from_parts(policy, self.overage_cap_units, None);
        let allowance = self.allowance_units;
        Ok(Pool {
            name: ONLY_POOL.to_owned(),
            categories: Category::ALL.to_vec(),
            allowance_units: allowance.ok_or_else(|| ApiError::invalid("allowance_units: is missing"))?,
            policy: policy.ok_or_else(|| ApiError::invalid("policy: hard, overage or soft"))?,
            tiers: vec![Tier {
                up_to: None,
                price: Micros(self.overage_price_micros),
            }],
        })
    }
}

/// Amounts are bounded, so that no invoice of theirs can leave 64 bits.
fn check_amounts(plan: &Plan) -> Result<(), ApiError> {
    let mut amounts = vec![("fee_minor", plan.fee.0)];
    for pool in &plan.pools {
        amounts.push(("allowance_units", pool.allowance_units));
        amounts.extend(
            pool.tiers
                .iter()
                .map(|tier| ("the price of a unit", tier.price.0)),
        );
        if let Policy::Overage { cap_units, cap_money } = pool.policy {
            amounts.push(("overage_cap_units", cap_units.unwrap_or(0)));
            amounts.push(("overage_cap_micros", cap_money.map_or(0, |money| money.0)));
        }
    }
    let taken = 0..=PLAN_AMOUNT_MOST;
    match amounts.iter().find(|(_, amount)| !taken.contains(amount)) {
        Some((field, _)) => Err(ApiError::invalid(format!("{field}: 0 to {PLAN_AMOUNT_MOST}"))),
        None if plan.messages_per_second == Some(0) => {
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
    reply::ok(&page.of(found, |stored| stored.plan.id.0).map(PlanView::from))
}
