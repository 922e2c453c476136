//! `POST /v1/plan/preview` and `DELETE /v1/plan/pending`: what a change of plan would cost, computed by what prices the invoice, and
//! the end of one that is still to come.

use domain::ids::TenantId;
use domain::money::{Currency, Minor};
use domain::rating::{InvoiceLine, PeriodUse, period_lines, total};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::body::Json;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::reply::{self, Answer};
use crate::storage::booked::{self, OpenPeriod};
use crate::storage::invoices::LineShape;
use crate::storage::plans::{self, StoredPlan};
use crate::storage::{StorageError, Transaction};

/// A change of plan to look at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PreviewBody {
    /// The plan's code; its newest version is taken.
    plan: String,
    /// `now` or `period_end`.
    effective: String,
}

/// What a change of plan would do, as things stand now.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PreviewView {
    /// When it would take effect.
    #[schema(value_type = String, format = DateTime)]
    effective_from: Timestamp,
    /// ISO 4217.
    currency: String,
    /// The present period without the change.
    before: OutlookView,
    /// The present period with the change.
    after: OutlookView,
    /// What the change adds to the present period's invoice, in the currency's smallest unit; negative where it takes away.
    difference_minor: i64,
    /// The same for people.
    difference: String,
}

/// The present period as it would be invoiced now.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct OutlookView {
    /// What would be charged.
    lines: Vec<LineShape>,
    /// The sum of the lines, in the currency's smallest unit.
    total_minor: i64,
    /// The same for people.
    total: String,
    /// Units included in the fees of the period, by pool.
    pools: Vec<PromiseView>,
}

/// How much there is of a pool.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PromiseView {
    /// Its name.
    name: String,
    /// Units included in the fees of the period.
    allowance_units: i64,
    /// Units that may be reserved and used at once; null where there is no end.
    limit: Option<i64>,
}

/// Tells what a change of plan would cost and allow. Nothing changes.
#[utoipa::path(post, path = "/v1/plan/preview", tag = "billing", request_body = PreviewBody,
    responses((status = 200, body = PreviewView), (status = 404, description = "The tenant has no plan"),
        (status = 422, description = "There is no such plan, or it is in another currency")),
    security(("api_key" = [])))]
pub(in crate::api) async fn preview(context: Context, tenant: TenantId, body: Json<PreviewBody>) -> Answer {
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let found = change_of(&mut transaction, tenant, &body.value.plan, &body.value.effective).await;
    let change = match found {
        Ok(change) => change,
        Err(error) => {
            transaction.rollback().await?;
            return Err(error);
        }
    };
    transaction.commit().await?;
    reply::ok(&change.view()?)
}

/// A change of plan that can be made.
pub(in crate::api) struct Change {
    /// The plan to come.
    pub(in crate::api) plan: StoredPlan,
    /// From when.
    pub(in crate::api) from: Timestamp,
    period: OpenPeriod,
}

/// Finds out what a change of plan would be, and whether it can be made: what is shown and what is done begin here.
pub(in crate::api) async fn change_of(
    connection: &mut Transaction,
    tenant: TenantId,
    plan: &str,
    effective: &str,
) -> Result<Change, ApiError> {
    let now = Timestamp::now();
    let period = booked::present(connection, tenant, now).await?;
    let period = period.ok_or_else(|| ApiError::not_found("plan"))?;
    let stored = plans::newest(connection, plan).await?;
    let stored = stored.ok_or_else(|| ApiError::invalid(format!("plan: there is no plan {plan:?}")))?;
    let present = &period.plan()?.plan.currency;
    if *present != stored.plan.currency {
        return Err(ApiError::invalid(format!(
            "plan: it is in {}, and the present one in {}",
            stored.plan.currency.code, present.code
        )));
    }
    let from = match effective {
        "now" => now,
        "period_end" => period.booked.period.ends_at,
        _ => return Err(ApiError::invalid("effective: now or period_end")),
    };
    Ok(Change {
        plan: stored,
        from,
        period,
    })
}

impl Change {
    fn view(&self) -> Result<PreviewView, StorageError> {
        let before = self.period.used()?;
        let booked = &self.period.booked;
        let after = if self.from < booked.period.ends_at {
            let day = booked.period.day_of(self.from, &booked.zone);
            before.changed_to(self.plan.plan.clone(), day.map_err(StorageError::nonsense)?)
        } else {
            before.clone()
        };
        let currency = &self.plan.plan.currency;
        let (before, after) = (outlook(&before, currency)?, outlook(&after, currency)?);
        let difference = after.total_minor - before.total_minor;
        Ok(PreviewView {
            effective_from: self.from,
            currency: currency.code.clone(),
            difference_minor: difference,
            difference: currency.format(Minor(difference)),
            before,
            after,
        })
    }
}

fn outlook(used: &PeriodUse, currency: &Currency) -> Result<OutlookView, StorageError> {
    let lines: Vec<InvoiceLine> = period_lines(used).map_err(StorageError::nonsense)?;
    let sum = total(&lines).map_err(StorageError::nonsense)?;
    let last = used.segments.last().map(|segment| &segment.plan.pools);
    let pools = last.into_iter().flatten().map(|pool| {
        let room = used.room_of(&pool.name).map_err(StorageError::nonsense)?;
        Ok(PromiseView {
            name: pool.name.clone(),
            allowance_units: room.promised,
            limit: room.limit,
        })
    });
    Ok(OutlookView {
        lines: lines.iter().map(|line| LineShape::of(line, currency)).collect(),
        total_minor: sum.0,
        total: currency.format(sum),
        pools: pools.collect::<Result<_, StorageError>>()?,
    })
}

/// Cancels a change of plan that is still to come.
#[utoipa::path(delete, path = "/v1/plan/pending", tag = "billing",
    responses((status = 204, description = "It will not happen"), (status = 404, description = "Nothing is to come")),
    security(("api_key" = [])))]
pub(in crate::api) async fn cancel(context: Context, tenant: TenantId) -> Answer {
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let assignments = plans::assignments(&mut transaction, tenant).await?;
    let now = Timestamp::now();
    let (present, pending) = (assignments.in_force(now), assignments.pending(now));
    let (Some(present), Some(pending)) = (present, pending) else {
        transaction.rollback().await?;
        return Err(ApiError::not_found("change of plan"));
    };
    let from = pending.effective_from;
    plans::assign(&mut transaction, tenant, present.plan, from, "period_end").await?;
    transaction.commit().await?;
    reply::nothing()
}
