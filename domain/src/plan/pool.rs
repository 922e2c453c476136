//! A pool: units of some categories that are counted together, and what those beyond the allowance cost.

use super::Policy;
use crate::category::Category;
use crate::money::Micros;

/// A step of graduated prices: each unit beyond the allowance costs the price of the step that it falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The last unit beyond the allowance that costs this, counted from 1; none in the last step.
    pub up_to: Option<i64>,
    /// The price of one unit.
    pub price: Micros,
}

/// Units of some categories that are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name: the same in every version of a plan, so that a change of plan goes on with what was used.
    pub name: String,
    /// Which messages take from it.
    pub categories: Vec<Category>,
    /// Units included in the fee of a whole period.
    pub allowance_units: i64,
    /// What happens beyond them.
    pub policy: Policy,
    /// What units beyond them cost; nothing if empty.
    pub tiers: Vec<Tier>,
}

impl Pool {
    /// Splits the units `[from, from + count)` beyond the allowance by price.
    pub fn bands(&self, from: i64, count: i64) -> Vec<(i64, Micros)> {
        let end = from.saturating_add(count);
        let (mut at, mut bands) = (from, Vec::new());
        for tier in &self.tiers {
            let upto = tier.up_to.unwrap_or(i64::MAX).min(end);
            if upto > at {
                bands.push((upto - at, tier.price));
                at = upto;
            }
        }
        if self.tiers.is_empty() && count > 0 {
            bands.push((count, Micros(0)));
        }
        bands
    }

    /// Gives how many units beyond the allowance may be reserved and used in a period; none where there is no end.
    fn overage_cap(&self) -> Option<i64> {
        match self.policy {
            Policy::Hard => Some(0),
            Policy::Soft => None,
            Policy::Overage { cap_units, cap_money } => {
                let bought = cap_money.and_then(|money| self.units_for(money));
                [cap_units, bought].into_iter().flatten().min()
            }
        }
    }

    /// Gives how many units beyond the allowance an amount pays for; none where the last step costs nothing.
    fn units_for(&self, money: Micros) -> Option<i64> {
        let (mut left, mut at) = (money.0, 0_i64);
        for tier in &self.tiers {
            let wide = tier.up_to.map_or(i64::MAX, |upto| upto - at);
            let paid = if tier.price.0 == 0 {
                wide
            } else {
                left / tier.price.0
            };
            if paid < wide {
                return Some(at + paid);
            }
            at = tier.up_to?;
            left -= wide.saturating_mul(tier.price.0);
        }
        None
    }

    /// Gives how many units may be reserved and used at once in a period, where so many are `promised` so far and so many beyond
    /// the allowance were used under earlier plans; none where there is no end.
    pub fn limit(&self, promised: i64, beyond_before: i64) -> Option<i64> {
        let cap = self.overage_cap()?;
        Some(promised.saturating_add(cap.max(beyond_before)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::ONLY_POOL;

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

    const GRADUATED: [(Option<i64>, i64); 3] = [(Some(100), 50), (Some(300), 40), (None, 30)];

    #[test]
    fn graduated_prices_split_where_their_steps_end() {
        let pool = pool(Policy::Soft, &GRADUATED);
        assert_eq!(pool.bands(0, 100), [(100, Micros(50))]);
        assert_eq!(pool.bands(99, 3), [(1, Micros(50)), (2, Micros(40))]);
        assert_eq!(
            pool.bands(50, 300),
            [(50, Micros(50)), (200, Micros(40)), (50, Micros(30))]
        );
        assert_eq!(pool.bands(7, 0), []);
    }

    #[test]
    fn a_cap_in_money_is_as_many_units_as_it_pays_for() {
        let capped = |money| Policy::Overage {
            cap_units: None,
            cap_money: Some(Micros(money)),
        };
        let limit = |money| pool(capped(money), &GRADUATED).limit(1_000, 0);
        assert_eq!(limit(4_999), Some(1_099));
        assert_eq!(limit(5_000 + 79), Some(1_101));
        assert_eq!(limit(5_000 + 8_000 + 30), Some(1_301));
        assert_eq!(
            pool(capped(10), &[(None, 0)]).limit(1_000, 0),
            None,
            "free of charge"
        );
    }

    #[test]
    fn what_was_sold_beyond_the_allowance_before_a_change_takes_nothing_from_the_new_one() {
        assert_eq!(pool(Policy::Hard, &[]).limit(7_000, 300), Some(7_300));
        let capped = Policy::Overage {
            cap_units: Some(500),
            cap_money: None,
        };
        assert_eq!(pool(capped, &[]).limit(7_000, 300), Some(7_500));
    }

    proptest! {
        #[test]
        fn bands_lose_no_unit(from in 0_i64..500, count in 0_i64..500, cut in 0_i64..500) {
            let pool = pool(Policy::Soft, &GRADUATED);
            let price = |from, count| -> i64 { pool.bands(from, count).iter().map(|(units, price)| units * price.0).sum() };
            prop_assert_eq!(pool.bands(from, count).iter().map(|(units, _)| units).sum::<i64>(), count);
            let first = cut.min(count);
            prop_assert_eq!(price(from, count), price(from, first) + price(from + first, count - first));
        }
    }
}
