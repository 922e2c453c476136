//! What a period costs, reckoned unit by unit and day by day: slow, and obvious.

use std::collections::BTreeSet;

use domain::rating::{PeriodUse, Segment};

/// What a pool's use comes to in a segment: included, beyond, price of what is beyond in micros.
pub(crate) type Reckoned = (usize, String, i64, i64, i128);

pub(crate) fn reckon(period: &PeriodUse) -> Vec<Reckoned> {
    let pools = period.segments.iter().flat_map(|segment| &segment.plan.pools);
    let names: BTreeSet<String> = pools.map(|pool| pool.name.clone()).collect();
    let mut reckoned = Vec::new();
    for name in names {
        let (mut included_so_far, mut beyond_so_far) = (0, 0);
        for (index, segment) in period.segments.iter().enumerate() {
            let promised = promised(period, index, &name);
            let (mut included, mut beyond, mut price) = (0, 0, 0_i128);
            for _ in 0..segment.captured.get(&name).copied().unwrap_or(0) {
                if included_so_far < promised {
                    included_so_far += 1;
                    included += 1;
                } else {
                    beyond_so_far += 1;
                    beyond += 1;
                    price += i128::from(price_of(segment, &name, beyond_so_far));
                }
            }
            reckoned.push((index, name.clone(), included, beyond, price));
        }
    }
    reckoned.sort();
    reckoned
}

/// Each day gives its plan's allowance; the days to come give that of the plan of segment `index`.
fn promised(period: &PeriodUse, index: usize, pool: &str) -> i64 {
    let allowance = |segment: &Segment| segment.plan.pool(pool).map_or(0, |pool| pool.allowance_units);
    let of_day = |day: i64| {
        let in_force = period.segments[..=index]
            .iter()
            .rfind(|segment| segment.first_day <= day);
        i128::from(allowance(in_force.expect("the first begins with the period")))
    };
    let sum: i128 = (0..period.days).map(of_day).sum();
    i64::try_from(sum / i128::from(period.days)).expect("fits")
}

/// The price of the n-th unit beyond the allowance, counted from 1.
fn price_of(segment: &Segment, pool: &str, place: i64) -> i64 {
    let pool = segment.plan.pool(pool).expect("the pool");
    let step = pool
        .tiers
        .iter()
        .find(|tier| tier.up_to.is_none_or(|upto| place <= upto));
    step.map_or(0, |tier| tier.price.0)
}

/// Rounds half to even by looking at both neighbours.
pub(crate) fn nearest_even(value: i128, step: i128) -> i128 {
    let below = value.div_euclid(step);
    let (down, up) = (value - below * step, (below + 1) * step - value);
    match down.cmp(&up) {
        std::cmp::Ordering::Less => below,
        std::cmp::Ordering::Greater => below + 1,
        std::cmp::Ordering::Equal => below + below.rem_euclid(2),
    }
}
