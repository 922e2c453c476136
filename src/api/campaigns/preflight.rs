//! What launching a campaign would do, computed and not tried.

use domain::ids::{CampaignId, TenantId};
use domain::local_window::LocalWindow;
use domain::message::MessageState;
use domain::money::TooLarge;
use domain::plan::reservable;
use domain::rating::{invoice_lines, total};
use jiff::Timestamp;

use super::commands::found;
use super::progress::{finishes_at, left_of, window_of};
use super::shapes::{CostView, PreflightView};
use crate::api::refused::{Refused, end};
use crate::storage::campaigns::Campaign;
use crate::storage::forecasts::{self, PlanUse, Route};
use crate::storage::{Database, StorageError, Transaction};

/// Tells what launching would do, as things stand now.
///
/// # Errors
/// When there is no such campaign.
pub async fn preflight(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<PreflightView, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let known = known(&mut transaction, tenant, campaign).await;
    let Known {
        found,
        route,
        plan_use,
        window,
        sample,
    } = end(transaction, known).await?;
    let valid = found.counts[MessageState::Planned];
    let start = found
        .schedule_at
        .map_or_else(Timestamp::now, |at| at.max(Timestamp::now()));
    let plan_rate = plan_use
        .as_ref()
        .and_then(|plan_use| plan_use.plan.messages_per_second);
    let rate = plan_rate.unwrap_or(u32::MAX).min(route.messages_per_second);
    let would_block_after = plan_use
        .as_ref()
        .and_then(|plan_use| blocks_after(plan_use, valid));
    let estimated_cost = plan_use
        .as_ref()
        .map(|plan_use| cost_of(plan_use, would_block_after.unwrap_or(valid)))
        .transpose()
        .map_err(|error| Refused::Storage(StorageError::nonsense(error)))?;
    Ok(PreflightView {
        valid,
        suppressed: found.counts[MessageState::Suppressed],
        estimated_cost,
        allowance_left: plan_use.as_ref().map(allowance_left),
        would_finish_at: match would_block_after {
            Some(_) => None,
            None => finishes_at(start, valid, f64::from(rate), window.as_ref(), &sample),
        },
        would_block_after,
        template_status: route.template_status,
    })
}

struct Known {
    found: Campaign,
    route: Route,
    plan_use: Option<PlanUse>,
    window: Option<LocalWindow>,
    sample: Vec<String>,
}

async fn known(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Known, Refused> {
    let found = found(transaction, tenant, campaign).await?;
    let route = forecasts::route(transaction, tenant, campaign).await?;
    let route = route.ok_or(Refused::NotFound("campaign"))?;
    let plan_use = forecasts::plan_use(transaction, tenant).await?;
    let window = window_of(&found)?;
    let sample = left_of(transaction, tenant, campaign, window.as_ref()).await?;
    Ok(Known {
        found,
        route,
        plan_use,
        window,
        sample,
    })
}

fn blocks_after(plan_use: &PlanUse, valid: i64) -> Option<i64> {
    let sendable = reservable(plan_use.plan.limit(), plan_use.held, plan_use.captured, valid);
    (sendable < valid).then_some(sendable)
}

fn allowance_left(plan_use: &PlanUse) -> i64 {
    (plan_use.plan.allowance_units - plan_use.held - plan_use.captured).max(0)
}

/// The invoice with these messages less the invoice without them.
fn cost_of(plan_use: &PlanUse, messages: i64) -> Result<CostView, TooLarge> {
    let used = plan_use.held + plan_use.captured;
    let without = total(&invoice_lines(&plan_use.plan, used)?)?;
    let with = total(&invoice_lines(&plan_use.plan, used + messages)?)?;
    let amount = domain::money::Minor(with.0 - without.0);
    Ok(CostView {
        currency: plan_use.plan.currency.code.clone(),
        amount_minor: amount.0,
        amount: plan_use.plan.currency.format(amount),
    })
}

#[cfg(test)]
mod tests {
    use domain::ids::PlanId;
    use domain::money::{Currency, Micros, Minor};
    use domain::plan::{Plan, Policy};
    use uuid::Uuid;

    use super::*;

    fn used(policy: Policy, held: i64, captured: i64) -> PlanUse {
        let plan = Plan {
            id: PlanId(Uuid::nil()),
            currency: Currency::from_code("BRL").expect("a currency"),
            fee: Minor(9_900),
            allowance_units: 100,
            policy,
            overage_price: Micros(120_000),
            messages_per_second: None,
            rating_version: 1,
        };
        PlanUse { plan, held, captured }
    }

    #[test]
    fn a_hard_plan_blocks_after_what_is_left() {
        let plan_use = used(Policy::Hard, 10, 50);
        assert_eq!(blocks_after(&plan_use, 60), Some(40));
        assert_eq!(blocks_after(&plan_use, 40), None);
        assert_eq!(allowance_left(&plan_use), 40);
        assert_eq!(cost_of(&plan_use, 40).expect("fits").amount_minor, 0);
    }

    #[test]
    fn only_what_goes_beyond_the_allowance_costs() {
        let plan_use = used(Policy::Overage { cap_units: None }, 0, 90);
        assert_eq!(blocks_after(&plan_use, 1_000), None);
        assert_eq!(cost_of(&plan_use, 35).expect("fits").amount, "3.00");
    }
}
