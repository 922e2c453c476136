//! What launching a campaign would do, computed and not tried.

use domain::category::Category;
use domain::ids::{CampaignId, TenantId};
use domain::local_window::LocalWindow;
use domain::message::MessageState;
use domain::money::Minor;
use domain::plan::reservable;
use domain::rating::{PeriodUse, RatingError, Room, period_lines, total};
use jiff::Timestamp;

use super::commands::found;
use super::progress::{finishes_at, left_of, window_of};
use super::shapes::{CostView, PreflightView};
use crate::api::refused::{Refused, end};
use crate::storage::booked::{self, OpenPeriod};
use crate::storage::campaigns::Campaign;
use crate::storage::forecasts::{self, Route};
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
        .and_then(|plan_use| plan_use.messages_per_second);
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
    let period = booked::present(transaction, tenant, Timestamp::now()).await?;
    let category = route.category.unwrap_or(Category::Marketing);
    let plan_use = period.map(|period| PlanUse::of(&period, category)).transpose()?;
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

/// The pool that the campaign's messages take from, and the period with all that is reserved taken as used.
struct PlanUse {
    period: PeriodUse,
    pool: String,
    room: Room,
    held: i64,
    captured: i64,
    messages_per_second: Option<u32>,
}

impl PlanUse {
    fn of(open: &OpenPeriod, category: Category) -> Result<Self, StorageError> {
        let pool = open.pool_of(category)?.to_owned();
        let (room, units) = (open.room_of(&pool)?, open.units_of(Some(&pool)));
        let mut period = open.used()?;
        for ((segment, pool), units) in &open.units {
            let at = usize::try_from(*segment - 1).map_err(StorageError::nonsense)?;
            if let Some(segment) = period.segments.get_mut(at) {
                *segment.captured.entry(pool.clone()).or_default() += units.held;
            }
        }
        Ok(Self {
            period,
            pool,
            room,
            held: units.held,
            captured: units.captured,
            messages_per_second: open.plan()?.plan.messages_per_second,
        })
    }
}

fn blocks_after(plan_use: &PlanUse, valid: i64) -> Option<i64> {
    let sendable = reservable(plan_use.room.limit, plan_use.held, plan_use.captured, valid);
    (sendable < valid).then_some(sendable)
}

fn allowance_left(plan_use: &PlanUse) -> i64 {
    (plan_use.room.promised - plan_use.held - plan_use.captured).max(0)
}

/// The invoice with these messages less the invoice without them.
fn cost_of(plan_use: &PlanUse, messages: i64) -> Result<CostView, RatingError> {
    let without = total(&period_lines(&plan_use.period)?)?;
    let mut period = plan_use.period.clone();
    let last = period.segments.last_mut().ok_or(RatingError::Empty)?;
    *last.captured.entry(plan_use.pool.clone()).or_default() += messages;
    let currency = last.plan.currency.clone();
    let with = total(&period_lines(&period)?)?;
    let amount = Minor(with.0 - without.0);
    Ok(CostView {
        amount_minor: amount.0,
        amount: currency.format(amount),
        currency: currency.code,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::ids::PlanId;
    use domain::money::{Currency, Micros};
    use domain::plan::{ONLY_POOL, Plan, Policy, Pool, Tier};
    use domain::rating::Segment;
    use uuid::Uuid;

    use super::*;

    fn used(policy: Policy, held: i64, captured: i64) -> PlanUse {
        let price = Micros(120_000);
        let plan = Plan {
            id: PlanId(Uuid::nil()),
            currency: Currency::from_code("BRL").expect("a currency"),
            fee: Minor(9_900),
            pools: vec![Pool {
                name: ONLY_POOL.to_owned(),
                categories: Category::ALL.to_vec(),
                allowance_units: 100,
                policy,
                tiers: vec![Tier { up_to: None, price }],
            }],
            thresholds: Vec::new(),
            anchor_day: 1,
            messages_per_second: None,
            rating_version: 1,
        };
        let reserved_and_used = BTreeMap::from([(ONLY_POOL.to_owned(), held + captured)]);
        let segment = Segment {
            plan,
            first_day: 0,
            captured: reserved_and_used,
        };
        let period = PeriodUse {
            days: 30,
            segments: vec![segment],
        };
        PlanUse {
            room: period.room_of(ONLY_POOL).expect("rated"),
            period,
            pool: ONLY_POOL.to_owned(),
            held,
            captured,
            messages_per_second: None,
        }
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
        let endless = Policy::Overage {
            cap_units: None,
            cap_money: None,
        };
        let plan_use = used(endless, 0, 90);
        assert_eq!(blocks_after(&plan_use, 1_000), None);
        assert_eq!(cost_of(&plan_use, 35).expect("fits").amount, "3.00");
    }
}
