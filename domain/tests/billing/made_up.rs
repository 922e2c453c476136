//! Plans, periods and histories that nobody would think of.

use domain::category::Category;
use domain::ids::{AttemptId, PlanId};
use domain::ledger::Fact;
use domain::money::{Currency, Micros, Minor};
use domain::plan::{Plan, Policy, Pool, THRESHOLDS, Tier};
use domain::rating::{PeriodUse, Segment};
use proptest::prelude::*;
use uuid::Uuid;

pub(crate) fn tiers() -> impl Strategy<Value = Vec<Tier>> {
    let step = |up_to, price| Tier {
        up_to,
        price: Micros(price),
    };
    prop_oneof![
        (0_i64..500_000).prop_map(move |price| vec![step(None, price)]),
        (1_i64..40, 1_i64..40, 0_i64..300_000, 0_i64..300_000).prop_map(
            move |(first, more, dear, cheap)| vec![
                step(Some(first), dear),
                step(Some(first + more), cheap),
                step(None, cheap / 2)
            ]
        ),
    ]
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::Hard),
        Just(Policy::Soft),
        proptest::option::of(0_i64..30).prop_map(|cap_units| Policy::Overage {
            cap_units,
            cap_money: None
        }),
        (0_i64..3_000_000).prop_map(|money| Policy::Overage {
            cap_units: None,
            cap_money: Some(Micros(money))
        }),
    ]
}

pub(crate) fn pool(name: &'static str, categories: &'static [Category]) -> impl Strategy<Value = Pool> {
    (0_i64..60, policy(), tiers()).prop_map(move |(allowance_units, policy, tiers)| Pool {
        name: name.to_owned(),
        categories: categories.to_vec(),
        allowance_units,
        policy,
        tiers,
    })
}

pub(crate) fn pools() -> impl Strategy<Value = Vec<Pool>> {
    prop_oneof![
        pool("units", &Category::ALL).prop_map(|only| vec![only]),
        (
            pool("marketing", &Category::ALL[..1]),
            pool("other", &Category::ALL[1..])
        )
            .prop_map(|(a, b)| vec![a, b]),
    ]
}

pub(crate) fn plan(id: u128) -> impl Strategy<Value = Plan> {
    (pools(), 0_i64..100_000, 1_i8..=31).prop_map(move |(pools, fee, anchor_day)| Plan {
        id: PlanId(Uuid::from_u128(id)),
        currency: Currency::from_code("BRL").expect("a currency"),
        fee: Minor(fee),
        pools,
        thresholds: THRESHOLDS.to_vec(),
        anchor_day,
        messages_per_second: None,
        rating_version: 1,
    })
}

/// A period of up to four plans with something used under each.
pub(crate) fn period() -> impl Strategy<Value = PeriodUse> {
    let segment = |id| (plan(id), 0_i64..31, 0_i64..90, 0_i64..90);
    (
        28_i64..=31,
        (segment(1), segment(2), segment(3), segment(4)),
        1_usize..=4,
    )
        .prop_map(|(days, all, count)| {
            let mut drawn = vec![all.0, all.1, all.2, all.3];
            drawn.truncate(count);
            drawn.sort_by_key(|(_, day, ..)| *day);
            let segments = drawn
                .into_iter()
                .enumerate()
                .map(|(index, (plan, day, first, second))| {
                    let used = plan.pools.iter().zip([first, second]);
                    Segment {
                        captured: used.map(|(pool, units)| (pool.name.clone(), units)).collect(),
                        first_day: if index == 0 { 0 } else { day.min(days - 1) },
                        plan,
                    }
                });
            PeriodUse {
                days,
                segments: segments.collect(),
            }
        })
}

#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Reserve(usize),
    Hear(usize, Fact, Option<Category>),
    Change(bool),
    Days(i64),
    Correct(i64),
    Close,
}

pub(crate) fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let facts = [
        Fact::DeliveredBillable,
        Fact::DeliveredFree,
        Fact::NotDelivered,
        Fact::NoNews,
    ];
    // Meta prices a message once: whatever is told of it names the same category.
    let billed = |index: usize| index.is_multiple_of(5).then(|| category(index / 5));
    let deed = prop_oneof![
        8 => (0_usize..60).prop_map(Deed::Reserve),
        10 => (0_usize..60, proptest::sample::select(facts.to_vec())).prop_map(move |(at, fact)| Deed::Hear(at, fact, billed(at))),
        1 => any::<bool>().prop_map(Deed::Change),
        1 => (1_i64..25).prop_map(Deed::Days),
        1 => (-500_i64..500).prop_filter("an amount", |cents| *cents != 0).prop_map(Deed::Correct),
        1 => Just(Deed::Close),
    ];
    proptest::collection::vec(deed, 0..120)
}

pub(crate) fn history() -> impl Strategy<Value = (Plan, Plan, Vec<Deed>)> {
    (plan(1), plan(2), deeds())
}

pub(crate) fn attempt(index: usize) -> AttemptId {
    AttemptId(Uuid::from_u128(1_000 + index as u128))
}

pub(crate) fn category(index: usize) -> Category {
    Category::ALL[index % 4]
}
