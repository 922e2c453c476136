//! `GET /v1/usage`.

use domain::ids::TenantId;
use domain::ledger::CounterChange;
use domain::period::{ANCHOR_DAY, period_of};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::reply::{self, Answer};
use crate::storage::billing_reads::{self, PeriodUse};
use crate::storage::{StorageError, Transaction};

/// What was used in the open period.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct UsageView {
    /// The open period.
    period: PeriodView,
    /// The plan in force.
    plan: PlanName,
    /// Units included in the fee.
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
    let period = open_or_next(&mut transaction, tenant).await?;
    transaction.commit().await?;
    let period = period.ok_or_else(|| ApiError::not_found("plan"))?;
    let limit = period.plan.plan()?.limit();
    let units = period.units;
    reply::ok(&UsageView {
        period: PeriodView {
            starts_at: period.starts_at,
            ends_at: period.ends_at,
        },
        allowance_units: period.plan.allowance_units,
        limit,
        available: limit.map(|limit| (limit - units.held - units.captured).max(0)),
        held: units.held,
        captured: units.captured,
        free: units.free,
        voided: units.voided,
        expired: units.expired,
        forced: units.forced,
        plan: PlanName {
            code: period.plan.code,
            version: period.plan.version,
        },
    })
}

/// The open period, or the one that the next message would open, under the plan that it would be sent under.
pub(super) async fn open_or_next(
    transaction: &mut Transaction,
    tenant: TenantId,
) -> Result<Option<PeriodUse>, StorageError> {
    let Some(plan) = billing_reads::present_plan(transaction, tenant).await? else {
        return Ok(None);
    };
    let now = Timestamp::now();
    let newest = billing_reads::newest_period(transaction, tenant).await?;
    let number = match newest {
        Some(open) if now < open.ends_at => return Ok(Some(PeriodUse { plan, ..open })),
        Some(ended) => ended.number + 1,
        None => 1,
    };
    let zone = billing_reads::time_zone_of(transaction, tenant).await?;
    let period = period_of(now, &zone, ANCHOR_DAY).map_err(StorageError::nonsense)?;
    Ok(Some(PeriodUse {
        number,
        starts_at: period.starts_at,
        ends_at: period.ends_at,
        plan,
        units: CounterChange::default(),
    }))
}
