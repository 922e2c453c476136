//! `GET /v1/usage`.

use domain::ids::TenantId;
use domain::plan::reservable;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::reply::{self, Answer};
use crate::storage::StorageError;
use crate::storage::billing_reads::{self, UsageWarning};
use crate::storage::booked::{self, OpenPeriod};

/// What was used in the open period.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct UsageView {
    /// The open period.
    period: PeriodView,
    /// The plan in force.
    plan: PlanName,
    /// Units included in the fees of the period, over all pools; where the plan changed, each plan's allowance counts for its days.
    allowance_units: i64,
    /// Units that may be reserved and used at once; null where there is no end.
    limit: Option<i64>,
    /// Units that could be reserved now; null where there is no end.
    available: Option<i64>,
    /// Units reserved: sent, and their fate not known yet.
    held: i64,
    /// Units used: delivered, and billed by Meta.
    captured: i64,
    /// Units given back: delivered, and not billed by Meta.
    free: i64,
    /// Units given back: never arrived.
    voided: i64,
    /// Units given back: no news in time.
    expired: i64,
    /// Units used after they had been given back.
    forced: i64,
    /// The same for each pool of the plan.
    pools: Vec<PoolView>,
    /// Shares of allowances that were reached in this period, the newest first.
    warnings: Vec<WarningView>,
}

/// What was used of a pool.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PoolView {
    /// Its name.
    name: String,
    /// Which messages take from it.
    categories: Vec<&'static str>,
    /// Units included in the fees of the period.
    allowance_units: i64,
    /// Units that may be reserved and used at once; null where there is no end.
    limit: Option<i64>,
    /// Units that could be reserved now; null where there is no end.
    available: Option<i64>,
    /// Units reserved.
    held: i64,
    /// Units used.
    captured: i64,
}

/// A share of an allowance that was reached; each once for each plan in force.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct WarningView {
    /// Of which pool.
    pool: String,
    /// `reserved` (reserved and used units) or `used`.
    measure: String,
    /// The share, in percent.
    percent: i16,
    /// When it was reached.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl From<UsageWarning> for WarningView {
    fn from(warning: UsageWarning) -> Self {
        Self {
            pool: warning.pool,
            measure: warning.measure,
            percent: warning.percent,
            at: warning.at,
        }
    }
}

/// A period, `[starts_at, ends_at)`.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PeriodView {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    ends_at: Timestamp,
}

/// A published version of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PlanName {
    /// Its code.
    code: String,
    /// Its version.
    version: i32,
}

/// Tells what was used in the open period.
#[utoipa::path(get, path = "/v1/usage", tag = "billing",
    responses((status = 200, body = UsageView), (status = 404, description = "The tenant has no plan")),
    security(("api_key" = [])))]
pub(in crate::api) async fn read(context: Context, tenant: TenantId) -> Answer {
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let period = booked::present(&mut transaction, tenant, Timestamp::now()).await?;
    let period = period.ok_or_else(|| ApiError::not_found("plan"))?;
    let warnings = billing_reads::warnings(&mut transaction, tenant, period.booked.number).await?;
    transaction.commit().await?;
    reply::ok(&view(&period, warnings)?)
}

fn view(period: &OpenPeriod, warnings: Vec<UsageWarning>) -> Result<UsageView, StorageError> {
    let plan = period.plan()?;
    let pools = pools(period)?;
    let sum = |of: fn(&PoolView) -> Option<i64>| pools.iter().map(of).sum::<Option<i64>>();
    let units = period.units_of(None);
    Ok(UsageView {
        period: PeriodView {
            starts_at: period.booked.period.starts_at,
            ends_at: period.booked.period.ends_at,
        },
        plan: PlanName {
            code: plan.code.clone(),
            version: plan.version,
        },
        allowance_units: pools.iter().map(|pool| pool.allowance_units).sum(),
        limit: sum(|pool| pool.limit),
        available: sum(|pool| pool.available),
        held: units.held,
        captured: units.captured,
        free: units.free,
        voided: units.voided,
        expired: units.expired,
        forced: units.forced,
        pools,
        warnings: warnings.into_iter().map(WarningView::from).collect(),
    })
}

fn pools(period: &OpenPeriod) -> Result<Vec<PoolView>, StorageError> {
    let used = period.used()?;
    let pools = period.plan()?.plan.pools.iter().map(|pool| {
        let room = used.room_of(&pool.name).map_err(StorageError::nonsense)?;
        let units = period.units_of(Some(&pool.name));
        let available = |limit| reservable(Some(limit), units.held, units.captured, i64::MAX);
        Ok(PoolView {
            name: pool.name.clone(),
            categories: pool.categories.iter().map(|one| one.as_str()).collect(),
            allowance_units: room.promised,
            limit: room.limit,
            available: room.limit.map(available),
            held: units.held,
            captured: units.captured,
        })
    });
    pools.collect()
}
