//! The invariants of `domain::invariants` and of the reference, each on many made-up histories; how many is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use domain::audit_chain::Verifier;
use domain::category::Category;
use domain::ids::PlanId;
use domain::ledger::{CounterChange, Fact, LedgerKind, Settlement};
use domain::money::{Currency, Micros, Minor, round_half_even, round_ratio_half_even};
use domain::period::{period_after, period_of};
use domain::plan::{Plan, Policy, Pool};
use domain::rating::{LineKind, period_lines, total};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};
use uuid::Uuid;

use crate::books::{Books, TENANT};
use crate::made_up::{Deed, attempt, category, history, period, plan};
use crate::reference::{nearest_even, reckon};

/// Checks a property on so many cases and tells how many it were.
fn holds<S: Strategy>(invariant: &str, cases: u32, strategy: S, property: impl Fn(S::Value) -> TestCaseResult)
where
    S::Value: Debug,
{
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new(config);
    if let Err(failure) = runner.run(&strategy, property) {
        panic!("{invariant}: {failure}");
    }
    println!("{invariant}: {cases} cases");
}

/// Lives through a history; `watch` sees the books after each deed.
fn live(
    (one, two, deeds): &(Plan, Plan, Vec<Deed>),
    mut watch: impl FnMut(&mut Books, &Deed) -> TestCaseResult,
) -> Result<Books, TestCaseError> {
    let start: Timestamp = "2026-01-10T12:00:00Z".parse().expect("a time");
    let (mut now, mut books) = (
        start,
        Books::open(vec![one.clone(), two.clone()], "America/Sao_Paulo", start),
    );
    for deed in deeds {
        match deed {
            Deed::Reserve(index) => drop(books.reserve(now, attempt(*index), category(*index), 1)),
            Deed::Hear(index, fact, billed) => books.hear(now, attempt(*index), *fact, *billed),
            Deed::Change(first) => books.assign(if *first { one.id } else { two.id }, now, now),
            Deed::Days(days) => now += SignedDuration::from_hours(24 * days),
            Deed::Correct(cents) => {
                books.correct(now, Micros(cents * 10_000), &format!("{cents} cents on {now}"));
            }
            Deed::Close => {
                books.advance(now);
                let next = books.kept.invoices.len() as i32 + 1;
                if books.present().number > next {
                    books.close(now, next);
                }
            }
        }
        watch(&mut books, deed)?;
    }
    Ok(books)
}

#[test]
fn rating_agrees_with_the_reference() {
    holds("rating = reference", 2_000, period(), |period| {
        let settled = period.settled();
        let mut reckoned = BTreeMap::new();
        for (segment, pool, included, beyond, price) in reckon(&settled) {
            reckoned.insert((segment, pool), (included, beyond, price));
        }
        let shares = settled.shares().expect("rated");
        for share in &shares {
            let (included, beyond, _) = reckoned[&(share.segment, share.pool.clone())];
            prop_assert_eq!((share.included, share.beyond), (included, beyond), "{:?}", share);
        }
        let lines = period_lines(&period).expect("rated");
        let price: i128 = lines
            .iter()
            .filter(|line| line.kind == LineKind::Overage)
            .map(|line| line.exact_micros)
            .sum();
        prop_assert_eq!(price, reckoned.values().map(|(_, _, price)| price).sum::<i128>());
        Ok(())
    });
}

#[test]
fn money_is_rounded_once_half_to_even() {
    holds(
        "I19 rounding",
        2_000,
        (any::<i64>(), 1_i64..32),
        |(micros, divisor)| {
            let currency = Currency::from_code("BRL").expect("a currency");
            let value = i128::from(micros);
            let rounded = round_ratio_half_even(value, divisor, &currency).expect("fits").0;
            prop_assert_eq!(
                i128::from(rounded),
                nearest_even(value, 10_000 * i128::from(divisor))
            );
            prop_assert_eq!(
                rounded,
                -round_ratio_half_even(-value, divisor, &currency).expect("fits").0
            );
            Ok(())
        },
    );
    holds("I19 lines", 1_000, period(), |period| {
        let lines = period_lines(&period).expect("rated");
        for line in &lines {
            let back = i128::from(line.amount.0) * 10_000;
            // What is exact here was cut to whole micros.
            prop_assert!((back - line.exact_micros).abs() <= 5_001, "{:?}", line);
        }
        let halves = 5_001 * lines.len() as i128;
        let exact: i128 = lines.iter().map(|line| line.exact_micros).sum();
        prop_assert!((i128::from(total(&lines).expect("fits").0) * 10_000 - exact).abs() <= halves);
        Ok(())
    });
}

#[test]
fn a_change_that_changes_nothing_costs_nothing() {
    holds(
        "I15 split under the same plan",
        1_000,
        (period(), 0_i64..31),
        |(period, day)| {
            let last = period.segments.last().expect("a segment");
            let day = day.clamp(last.first_day, period.days - 1);
            let split = period.changed_to(last.plan.clone(), day);
            prop_assert_eq!(period_lines(&split), period_lines(&period));
            Ok(())
        },
    );
    holds(
        "I15 change and revert",
        1_000,
        (period(), plan(9), 0_i64..31),
        |(period, other, day)| {
            let last = period.segments.last().expect("a segment");
            let day = day.clamp(last.first_day, period.days - 1);
            let back = period.changed_to(other, day).changed_to(last.plan.clone(), day);
            prop_assert_eq!(period_lines(&back), period_lines(&period));
            Ok(())
        },
    );
}

#[test]
fn a_change_leaves_alone_what_earlier_segments_owe() {
    holds(
        "I16",
        1_000,
        (period(), plan(9), 0_i64..31),
        |(period, other, day)| {
            let period = period.settled();
            let last = period.segments.last().expect("a segment");
            let day = day.clamp(last.first_day, period.days - 1);
            let changed = period.changed_to(other, day);
            let before = period.shares().expect("rated");
            let after = changed.shares().expect("rated");
            for share in before {
                prop_assert!(after.contains(&share), "{:?} became something else", share);
            }
            Ok(())
        },
    );
}

#[test]
fn the_books_hold_through_any_history() {
    holds("I2 I3 I6 I10 I17 I21 I23", 300, history(), |history| {
        let mut seen = 0;
        let books = live(&history, |books, _| {
            let is_new = books.kept.rows.len() > std::mem::replace(&mut seen, books.kept.rows.len());
            let last = books
                .kept
                .rows
                .last()
                .filter(|(row, _)| is_new && row.kind == LedgerKind::Reserve);
            let Some(pool) = last.map(|(row, _)| row.pool.clone()) else {
                return Ok(());
            };
            let ((held, captured), forced) = (books.used_of(&pool), forced(books, &pool));
            if let Some(limit) = books.room(&pool).limit {
                prop_assert!(
                    held + captured <= limit + forced,
                    "I6: {} + {} of {}",
                    held,
                    captured,
                    limit
                );
            }
            Ok(())
        })?;
        let mut kinds = BTreeSet::new();
        let mut epochs = Vec::new();
        for (row, _) in &books.kept.rows {
            let about = row
                .attempt
                .map(|attempt| attempt.0)
                .or(row.evidence)
                .ok_or(row.period);
            prop_assert!(kinds.insert((about, row.kind)), "I3: {:?}", row);
            epochs.push(row.epoch);
        }
        prop_assert!(epochs.is_sorted(), "I23");
        let reserved = books
            .kept
            .rows
            .iter()
            .filter(|(row, _)| row.kind == LedgerKind::Reserve)
            .count();
        let mut sum = CounterChange::default();
        books.counters.values().for_each(|units| sum.add(*units));
        let settled = sum.held + sum.captured + sum.free + sum.voided + sum.expired;
        prop_assert_eq!(settled, reserved as i64, "I2");
        prop_assert!(
            books
                .counters
                .values()
                .all(|units| units.held >= 0 && units.captured >= 0 && units.voided >= 0)
        );
        drop(books.crash());
        Ok(())
    });
}

/// Units beyond a pool's limit that Meta's late truth, or its choice of a category, put there.
fn forced(books: &Books, pool: &str) -> i64 {
    let late = books
        .counters
        .iter()
        .filter(|(key, _)| key.2 == pool)
        .map(|(_, units)| units.forced)
        .sum::<i64>();
    let mut reserved = BTreeMap::new();
    let mut drifted = 0;
    for (row, _) in &books.kept.rows {
        match row.kind {
            LedgerKind::Reserve => drop(reserved.insert(row.attempt, row.pool.clone())),
            LedgerKind::Capture if row.pool == pool && reserved[&row.attempt] != row.pool => drifted += 1,
            _ => {}
        }
    }
    late + drifted
}

#[test]
fn facts_in_any_order_any_number_of_times_give_the_same() {
    let facts = (history(), any::<proptest::sample::Index>());
    holds("I7 I8", 300, facts, |((one, two, deeds), at)| {
        let is_fact = |deed: &&Deed| matches!(deed, Deed::Hear(..));
        let heard: Vec<Deed> = deeds.iter().filter(is_fact).cloned().collect();
        let reserves = (0..60).map(Deed::Reserve);
        let mut other = heard.clone();
        if !other.is_empty() {
            let middle = at.index(other.len());
            other.rotate_left(middle);
            other.reverse();
        }
        let run = |facts: Vec<Deed>| {
            live(
                &(one.clone(), two.clone(), reserves.clone().chain(facts).collect()),
                |_, _| Ok(()),
            )
        };
        let (first, second) = (run(heard.clone())?, run([other.clone(), heard, other].concat())?);
        let sums = |books: &Books| -> Vec<CounterChange> {
            books
                .counters
                .values()
                .map(|units| CounterChange { forced: 0, ..*units })
                .filter(|units| *units != CounterChange::default())
                .collect()
        };
        prop_assert_eq!(sums(&first), sums(&second));
        let lines = |books: &Books| {
            books
                .all_invoices()
                .into_iter()
                .map(|one| one.lines)
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(lines(&first), lines(&second));
        Ok(())
    });
}

#[test]
fn a_crash_at_any_point_changes_nothing() {
    holds(
        "I9 I24",
        500,
        (history(), any::<proptest::sample::Index>()),
        |(history, at)| {
            let whole = live(&history, |_, _| Ok(()))?;
            let when = if history.2.is_empty() {
                0
            } else {
                at.index(history.2.len())
            };
            let mut deeds = 0;
            let crashed = live(&history, |books, _| {
                if deeds == when {
                    *books = books.clone().crash();
                }
                deeds += 1;
                Ok(())
            })?;
            prop_assert_eq!(whole.hash(), crashed.hash());
            prop_assert_eq!(whole.kept.alerts, crashed.kept.alerts);
            Ok(())
        },
    );
}

#[test]
fn invoices_compute_again_and_sum_to_what_is_owed() {
    holds("I12 I13 I14", 300, history(), |history| {
        let mut issued: Vec<String> = Vec::new();
        let books = live(&history, |books, _| {
            let now: Vec<String> = books
                .kept
                .invoices
                .iter()
                .map(|invoice| format!("{invoice:?}"))
                .collect();
            prop_assert_eq!(&now[..issued.len()], &issued[..], "I13");
            issued = now;
            Ok(())
        })?;
        let invoices = books.all_invoices();
        let newest = invoices.last().map_or(0, |invoice| invoice.period);
        for period in books.kept.periods.iter().filter(|period| period.number < newest) {
            let charged: i64 = invoices
                .iter()
                .map(|one| one.charged_for(period.number).expect("fits").0)
                .sum();
            let owed =
                total(&period_lines(&books.used(period.number, i64::MAX)).expect("rated")).expect("fits");
            prop_assert_eq!(charged, owed.0, "I14");
        }
        let used = books.kept.periods.iter().map(|period| {
            let lines = period_lines(&books.used(period.number, i64::MAX)).expect("rated");
            total(&lines).expect("fits").0
        });
        let corrected = books.kept.rows.iter().map(|(row, _)| row.micros / 10_000);
        let invoiced: i64 = invoices.iter().map(|invoice| invoice.total.0).sum();
        prop_assert_eq!(
            invoiced,
            used.sum::<i64>() + corrected.sum::<i64>(),
            "I14: all invoices come to what was used and what was corrected"
        );
        Ok(())
    });
}

#[test]
fn any_flipped_bit_of_a_row_is_found() {
    holds(
        "I17",
        300,
        (history(), any::<proptest::sample::Index>(), 0..9),
        |(history, at, field)| {
            let books = live(&history, |_, _| Ok(()))?;
            let mut rows = books.kept.rows;
            if rows.is_empty() {
                return Ok(());
            }
            let at = at.index(rows.len());
            let (row, hash) = &mut rows[at];
            match field {
                0 => row.units ^= 1,
                1 => row.micros ^= 1,
                2 => row.period ^= 1,
                3 => row.segment ^= 1,
                4 => row.epoch ^= 1,
                5 => row.at_us ^= 1,
                6 => row.pool.push(' '),
                7 => row.currency.push(' '),
                _ => hash[7] ^= 1,
            }
            let mut verifier = Verifier::new(TENANT);
            let found = rows
                .iter()
                .position(|(row, hash)| verifier.check(row, hash).is_err());
            prop_assert_eq!(found, Some(at));
            Ok(())
        },
    );
}

#[test]
fn periods_tile_time_whatever_the_zone_and_the_anchor_do() {
    let zones = vec![
        "UTC",
        "America/Sao_Paulo",
        "Europe/Berlin",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Africa/Cairo",
    ];
    let zone = proptest::sample::select(zones);
    let moves = proptest::collection::vec((zone.clone(), 1_i8..=31), 1..24);
    holds(
        "I18",
        500,
        (0_i64..2_000_000_000, zone, 1_i8..=31, moves),
        |(second, zone, anchor, moves)| {
            let start = Timestamp::from_second(second).expect("in range");
            let mut last = period_of(start, zone, anchor).expect("a period");
            prop_assert!(last.starts_at <= start && start < last.ends_at);
            for (zone, anchor) in moves {
                let next = period_after(last.ends_at, zone, anchor).expect("a period");
                prop_assert_eq!(next.starts_at, last.ends_at);
                let days = next.days(zone).expect("days");
                prop_assert!((14..=46).contains(&days), "{} days", days);
                last = next;
            }
            Ok(())
        },
    );
}

#[test]
fn what_is_settled_is_the_strongest_fact() {
    let facts = proptest::collection::vec(0_usize..4, 0..6);
    holds("I3 lattice", 1_000, facts, |facts| {
        let start: Timestamp = "2026-01-10T12:00:00Z".parse().expect("a time");
        let runner = Plan {
            id: PlanId(Uuid::from_u128(1)),
            currency: Currency::from_code("BRL").expect("a currency"),
            fee: Minor(0),
            pools: vec![Pool {
                name: "units".into(),
                categories: Category::ALL.to_vec(),
                allowance_units: 1,
                policy: Policy::Soft,
                tiers: vec![],
            }],
            thresholds: vec![],
            anchor_day: 1,
            messages_per_second: None,
            rating_version: 1,
        };
        let mut books = Books::open(vec![runner], "UTC", start);
        books.reserve(start, attempt(1), Category::Utility, 1);
        let all = [
            Fact::NoNews,
            Fact::NotDelivered,
            Fact::DeliveredFree,
            Fact::DeliveredBillable,
        ];
        let reached = [
            Settlement::Expired,
            Settlement::Voided,
            Settlement::Free,
            Settlement::Captured,
        ];
        facts
            .iter()
            .for_each(|at| books.hear(start, attempt(1), all[*at], None));
        let strongest = facts
            .iter()
            .map(|at| reached[*at])
            .max()
            .unwrap_or(Settlement::Reserved);
        let settled = Settlement::of(books.kept.rows.iter().map(|(row, _)| row.kind));
        prop_assert_eq!(settled, strongest);
        Ok(())
    });
    holds("I19 credit", 500, any::<i64>(), |micros| {
        let currency = Currency::from_code("KWD").expect("a currency");
        let rounded = |value: i128| round_half_even(value, &currency).expect("fits").0;
        prop_assert_eq!(rounded(i128::from(micros)), -rounded(-i128::from(micros)));
        Ok(())
    });
}
