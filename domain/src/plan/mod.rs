//! What a plan includes and what happens when it is used up.

mod pool;

use std::collections::BTreeSet;

use crate::category::Category;
use crate::ids::PlanId;
use crate::money::{Currency, Micros, Minor};

pub use pool::{Pool, Tier};

/// The shares of an allowance, in percent, at which a tenant is warned unless its plan says otherwise.
pub const THRESHOLDS: [u8; 4] = [50, 80, 90, 100];
/// The pool of a plan that names none.
pub const ONLY_POOL: &str = "units";

/// What happens beyond the allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing more is sent.
    Hard,
    /// More is sent and charged for, up to a number of units or an amount of money if one is set.
    Overage {
        /// Units beyond the allowance.
        cap_units: Option<i64>,
        /// What units beyond the allowance may cost in a period.
        cap_money: Option<Micros>,
    },
    /// More is sent; the price of overage may be zero.
    Soft,
}

impl Policy {
    /// Gives the name used in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Overage { .. } => "overage",
            Self::Soft => "soft",
        }
    }

    /// Reads a policy from its stored parts. Only `overage` has caps.
    pub fn from_parts(name: &str, cap_units: Option<i64>, cap_money: Option<Micros>) -> Option<Self> {
        match (name, cap_units, cap_money) {
            ("hard", None, None) => Some(Self::Hard),
            ("overage", cap_units, cap_money) => Some(Self::Overage { cap_units, cap_money }),
            ("soft", None, None) => Some(Self::Soft),
            _ => None,
        }
    }
}

/// A published version of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// Its currency.
    pub currency: Currency,
    /// The fee of a period.
    pub fee: Minor,
    /// What is counted together; each category is in exactly one.
    pub pools: Vec<Pool>,
    /// The shares of a pool's allowance, in percent, at which the tenant is warned.
    pub thresholds: Vec<u8>,
    /// The day of the month on which its periods begin.
    pub anchor_day: i8,
    /// The plan's own rate, messages a second, if it has one.
    pub messages_per_second: Option<u32>,
    /// Which version of the rating functions prices it.
    pub rating_version: i16,
}

/// Why a plan cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanFault {
    /// A category is in no pool, or in two.
    #[error("pools: the category {0} must be in exactly one pool")]
    Category(&'static str),
    /// Two pools have the same name, or one has none.
    #[error("pools: {0:?} is no name, or the name of two")]
    Name(String),
    /// Steps must rise and end with one that has no end.
    #[error("tiers of {0:?}: up_to must rise, and only the last step has none")]
    Tiers(String),
    /// An amount is negative.
    #[error("pools: an amount of {0:?} is negative")]
    Negative(String),
    /// A threshold is no percentage, or they do not rise.
    #[error("thresholds: 1 to 100, each larger than the one before")]
    Thresholds,
    /// There is no such day in any month.
    #[error("anchor_day: 1 to 31")]
    AnchorDay,
}

impl Plan {
    /// Gives the pool that a category takes from.
    pub fn pool_of(&self, category: Category) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.categories.contains(&category))
    }

    /// Gives the pool of a name.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// Gives the units included in the fee, over all pools.
    pub fn allowance_units(&self) -> i64 {
        let allowances = self.pools.iter().map(|pool| pool.allowance_units);
        allowances.fold(0, i64::saturating_add)
    }

    /// Tells what is wrong with a plan that is to be published.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), PlanFault> {
        for category in Category::ALL {
            let pools = self
                .pools
                .iter()
                .filter(|pool| pool.categories.contains(&category));
            if pools.count() != 1 {
                return Err(PlanFault::Category(category.as_str()));
            }
        }
        let mut names = BTreeSet::new();
        for pool in &self.pools {
            if pool.name.is_empty() || !names.insert(&pool.name) {
                return Err(PlanFault::Name(pool.name.clone()));
            }
            check_pool(pool)?;
        }
        if !self.thresholds.is_sorted_by(|before, after| before < after)
            || self.thresholds.iter().any(|percent| !(1..=100).contains(percent))
        {
            return Err(PlanFault::Thresholds);
        }
        if !(1..=31).contains(&self.anchor_day) {
            return Err(PlanFault::AnchorDay);
        }
        Ok(())
    }
}

fn check_pool(pool: &Pool) -> Result<(), PlanFault> {
    let caps = match pool.policy {
        Policy::Overage { cap_units, cap_money } => [cap_units, cap_money.map(|money| money.0)],
        Policy::Hard | Policy::Soft => [None, None],
    };
    let prices = pool.tiers.iter().map(|tier| tier.price.0);
    let amounts = prices
        .chain([pool.allowance_units])
        .chain(caps.into_iter().flatten());
    if amounts.into_iter().any(|amount| amount < 0) {
        return Err(PlanFault::Negative(pool.name.clone()));
    }
    let last = pool.tiers.len().saturating_sub(1);
    let mut before = 0;
    for (index, tier) in pool.tiers.iter().enumerate() {
        match tier.up_to {
            None if index == last => {}
            Some(upto) if index != last && upto > before => before = upto,
            _ => return Err(PlanFault::Tiers(pool.name.clone())),
        }
    }
    Ok(())
}

/// Gives how many of `wanted` units may be reserved, when `held` are reserved and `captured` are used already.
pub const fn reservable(limit: Option<i64>, held: i64, captured: i64, wanted: i64) -> i64 {
    let Some(limit) = limit else { return wanted };
    let room = limit.saturating_sub(held).saturating_sub(captured);
    if room < 0 {
        0
    } else if room < wanted {
        room
    } else {
        wanted
    }
}

/// The part of a limit, one in so many, that must be free before a blocked tenant sends again: a single unit that comes back
/// must not make its campaigns start and stop.
const FREE_AGAIN: i64 = 100;

/// Tells whether a tenant that its plan blocked may go on: where the limit is gone, where a hundredth of it is free again, or
/// where all that `waiting` messages need is free.
pub fn has_room_again(limit: Option<i64>, held: i64, captured: i64, waiting: i64) -> bool {
    let Some(limit) = limit else { return true };
    let room = limit.saturating_sub(held).saturating_sub(captured);
    let part = limit / FREE_AGAIN + i64::from(limit % FREE_AGAIN != 0);
    room > 0 && room >= part.min(waiting)
}

/// Gives the thresholds that a pool's use has reached and had not before, of so many units promised.
pub fn reached(thresholds: &[u8], promised: i64, before: i64, after: i64) -> Vec<u8> {
    let is_at = |used: i64, percent: u8| {
        promised > 0 && i128::from(used) * 100 >= i128::from(promised) * i128::from(percent)
    };
    let new = |percent: &&u8| is_at(after, **percent) && !is_at(before, **percent);
    thresholds.iter().filter(new).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(policy: Policy, tiers: &[(Option<i64>, i64)]) -> Pool {
        Pool {
            name: ONLY_POOL.to_owned(),
            categories: Category::ALL.to_vec(),
            allowance_units: 1_000,
            policy,
            tiers: tiers
                .iter()
                .map(|&(up_to, price)| Tier {
                    up_to,
                    price: Micros(price),
                })
                .collect(),
        }
    }

    #[test]
    fn a_plan_that_cannot_be_rated_is_not_published() {
        let plan = |pools: Vec<Pool>| Plan {
            id: PlanId(uuid::Uuid::nil()),
            currency: Currency::from_code("BRL").expect("a currency"),
            fee: Minor(0),
            pools,
            thresholds: THRESHOLDS.to_vec(),
            anchor_day: 1,
            messages_per_second: None,
            rating_version: 1,
        };
        let whole = pool(Policy::Hard, &[]);
        assert_eq!(plan(vec![whole.clone()]).check(), Ok(()));
        assert_eq!(
            plan(vec![whole.clone(), whole]).check(),
            Err(PlanFault::Category("marketing"))
        );
        let falling = pool(Policy::Hard, &[(Some(5), 1), (Some(5), 2), (None, 1)]);
        assert!(matches!(plan(vec![falling]).check(), Err(PlanFault::Tiers(_))));
        let ended = pool(Policy::Hard, &[(Some(5), 1)]);
        assert!(matches!(plan(vec![ended]).check(), Err(PlanFault::Tiers(_))));
        let negative = pool(Policy::Hard, &[(None, -1)]);
        assert!(matches!(
            plan(vec![negative]).check(),
            Err(PlanFault::Negative(_))
        ));
        let mut twice = plan(vec![pool(Policy::Hard, &[])]);
        twice.thresholds = vec![50, 50];
        assert_eq!(twice.check(), Err(PlanFault::Thresholds));
    }

    #[test]
    fn the_last_unit_of_a_hard_plan_may_be_reserved_and_not_one_more() {
        assert_eq!(reservable(Some(10), 4, 5, 3), 1);
        assert_eq!(reservable(Some(10), 5, 5, 3), 0);
        assert_eq!(reservable(None, 5, 5, 3), 3);
    }

    #[test]
    fn a_single_unit_that_comes_back_does_not_wake_a_blocked_tenant() {
        assert!(!has_room_again(Some(1_000), 0, 1_000, 500));
        assert!(!has_room_again(Some(1_000), 0, 999, 500));
        assert!(has_room_again(Some(1_000), 0, 990, 500));
        assert!(has_room_again(Some(1_000), 0, 999, 1), "it is all that is needed");
        assert!(has_room_again(Some(2_000), 0, 1_000, 500), "a larger plan");
        assert!(has_room_again(None, 5, 5_000, 500), "a plan without an end");
        assert!(!has_room_again(Some(0), 0, 0, 0));
    }

    #[test]
    fn one_batch_may_reach_several_thresholds_each_once() {
        assert_eq!(reached(&THRESHOLDS, 1_000, 0, 1_000), THRESHOLDS);
        assert_eq!(reached(&THRESHOLDS, 1_000, 499, 500), [50]);
        assert_eq!(reached(&THRESHOLDS, 1_000, 500, 799), [] as [u8; 0]);
        assert_eq!(
            reached(&THRESHOLDS, 0, 0, 10),
            [] as [u8; 0],
            "nothing was promised"
        );
    }

    proptest! {
        #[test]
        fn reserving_never_passes_the_limit(limit in 0_i64..10_000, wishes in proptest::collection::vec(0_i64..300, 0..80)) {
            let mut held = 0;
            for wish in wishes {
                held += reservable(Some(limit), held, 0, wish);
                prop_assert!(held <= limit);
            }
        }
    }
}
