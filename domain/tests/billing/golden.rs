//! Every golden case in order, reversed, shuffled, with each fact twice, and with a crash after each step.

use std::collections::BTreeMap;

use domain::audit_chain::Verifier;
use domain::category::Category;
use domain::ids::AttemptId;
use domain::invariants::Counters;
use domain::invoice::Invoice;
use domain::ledger::{CounterChange, Fact};
use domain::money::Minor;
use domain::rating::{InvoiceLine, period_lines, total};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use uuid::Uuid;

use crate::books::{Books, Measure, TENANT};
use crate::case::{Case, Deed, Step};

/// Orders in which the facts of a case are shuffled.
const SHUFFLES: u8 = 5;
/// Cases that there are at least.
const CASES_LEAST: usize = 30;

#[derive(Clone, Debug)]
struct Heard {
    at: Timestamp,
    attempt: AttemptId,
    fact: Fact,
    billed: Option<Category>,
}

/// What a run decided, so that another order of facts is judged by the same messages.
type Accepted = Vec<(Timestamp, AttemptId, Category)>;

/// Counters, and each invoice with its lines and its total.
type Figures = (Counters, Vec<(i32, Vec<InvoiceLine>, Minor)>);

fn attempt(group: &str, index: usize) -> AttemptId {
    let letters = group
        .bytes()
        .fold(0_u128, |sum, byte| sum * 256 + u128::from(byte));
    AttemptId(Uuid::from_u128((letters << 32) + index as u128))
}

fn heard(step: &Step) -> Vec<Heard> {
    let Deed::Hear {
        group,
        first,
        count,
        fact,
        billed,
    } = &step.deed
    else {
        return Vec::new();
    };
    // A status that says nothing about money changes no book.
    let Some(fact) = *fact else { return Vec::new() };
    let one = |index| Heard {
        at: step.at,
        attempt: attempt(group, index),
        fact,
        billed: *billed,
    };
    (*first..first + count).map(one).collect()
}

fn open(case: &Case) -> Books {
    Books::open(case.plans.clone(), &case.zone, case.start)
}

/// Does a step as its file says.
fn act(books: &mut Books, step: &Step, case: &Case, accepted: &mut Accepted) {
    let now = step.at;
    match &step.deed {
        Deed::Reserve {
            group,
            count,
            category,
            expect,
            epoch,
        } => {
            let mut passed = 0;
            for index in 0..*count {
                let one = attempt(group, index);
                if books.reserve(now, one, *category, *epoch) {
                    passed += 1;
                    accepted.push((now, one, *category));
                }
            }
            assert_eq!(passed, *expect, "{}: accepted of {group} at {now}", case.name);
        }
        Deed::Hear { .. } => heard(step)
            .iter()
            .for_each(|one| books.hear(one.at, one.attempt, one.fact, one.billed)),
        Deed::Change { plan } => change(books, *plan, now, case),
        Deed::Schedule { plan } => {
            books.advance(now);
            let end = books.present().period.ends_at;
            books.assign(*plan, end, now);
        }
        Deed::Cancel => {
            let (plan, end) = (books.in_force(now), books.present().period.ends_at);
            books.assign(plan, end, now);
        }
        Deed::Zone { zone } => books.move_to(zone),
        Deed::TakeOver { epoch } => books.kept.epoch = *epoch,
        Deed::Pass => books.advance(now),
        Deed::Close { period } => books.close(now, *period),
        Deed::Correct { amount, reason } => books.correct(now, *amount, reason),
    }
}

/// I22: what a preview says is what the change does.
fn change(books: &mut Books, plan: domain::ids::PlanId, now: Timestamp, case: &Case) {
    books.advance(now);
    let present = books.present();
    let day = present.period.day_of(now, &case.zone).expect("a day");
    let number = present.number;
    let preview = books
        .used(number, i64::MAX)
        .changed_to(books.kept.plans[&plan].clone(), day);
    books.assign(plan, now, now);
    let done = books.used(number, i64::MAX);
    assert_eq!(period_lines(&preview), period_lines(&done), "{}: I22", case.name);
}

fn in_order(case: &Case) -> (Books, Accepted) {
    let (mut books, mut accepted) = (open(case), Accepted::new());
    for step in &case.steps {
        act(&mut books, step, case, &mut accepted);
    }
    (books, accepted)
}

/// After each step the process dies, starts again, and does the step again.
fn with_crashes(case: &Case) -> Books {
    let mut books = open(case);
    for step in &case.steps {
        for _ in 0..2 {
            act(&mut books, step, case, &mut Accepted::new());
            books = books.crash();
        }
    }
    books
}

fn every_fact_twice(case: &Case) -> Books {
    let (mut books, mut said) = (open(case), Vec::new());
    for step in &case.steps {
        if matches!(step.deed, Deed::Close { .. }) {
            said.clear();
        }
        act(&mut books, step, case, &mut Accepted::new());
        said.extend(heard(step));
        heard(step)
            .iter()
            .chain(&said)
            .for_each(|one| books.hear(one.at, one.attempt, one.fact, one.billed));
    }
    books
}

/// Accepts the same messages, then hears the facts before each cut in the order that `arrange` gives.
fn rearranged(case: &Case, accepted: &Accepted, arrange: &mut dyn FnMut(Vec<Heard>) -> Vec<Heard>) -> Books {
    let (mut books, mut facts) = (open(case), Vec::new());
    let by_attempt: BTreeMap<AttemptId, (Timestamp, Category)> = accepted
        .iter()
        .map(|(at, attempt, category)| (*attempt, (*at, *category)))
        .collect();
    for step in &case.steps {
        match &step.deed {
            Deed::Reserve { group, count, .. } => {
                for one in (0..*count).map(|index| attempt(group, index)) {
                    if let Some((at, category)) = by_attempt.get(&one).filter(|(at, _)| *at == step.at) {
                        books.accept(*at, one, *category);
                    }
                }
            }
            Deed::Hear { .. } => facts.extend(heard(step)),
            Deed::Close { .. } => {
                hear_all(&mut books, arrange(std::mem::take(&mut facts)));
                act(&mut books, step, case, &mut Accepted::new());
            }
            Deed::Change { plan } => books.assign(*plan, step.at, step.at),
            _ => act(&mut books, step, case, &mut Accepted::new()),
        }
    }
    hear_all(&mut books, arrange(facts));
    books
}

fn hear_all(books: &mut Books, facts: Vec<Heard>) {
    for one in facts {
        books.hear(one.at, one.attempt, one.fact, one.billed);
    }
}

fn shuffled(facts: Vec<Heard>, seed: u8) -> Vec<Heard> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let order = Just(facts)
        .prop_shuffle()
        .new_tree(&mut runner)
        .expect("an order");
    proptest::strategy::ValueTree::current(&order)
}

/// What must not depend on the order: everything but the memo of units used after they had come back.
fn figures(books: &Books) -> Figures {
    let counted = books
        .counters
        .iter()
        .filter(|(_, units)| **units != CounterChange::default());
    let counters = counted
        .map(|(key, units)| (key.clone(), CounterChange { forced: 0, ..*units }))
        .collect();
    let invoices = books
        .all_invoices()
        .into_iter()
        .map(|invoice| (invoice.period, invoice.lines, invoice.total));
    (counters, invoices.collect())
}

fn exact(micros: i128) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let text = format!(
        "{sign}{}.{:06}",
        micros.abs() / 1_000_000,
        micros.abs() % 1_000_000
    );
    let kept = text.trim_end_matches('0').len().max(text.len() - 4);
    text[..kept].to_owned()
}

fn in_words(line: &InvoiceLine, invoice: &Invoice) -> String {
    let pool = line
        .pool
        .as_ref()
        .map_or(String::new(), |pool| format!(" {pool}"));
    let of = line
        .service_period
        .map_or(String::new(), |period| format!(" of {period}"));
    let why = line
        .reason
        .as_ref()
        .map_or(String::new(), |reason| format!(" ({reason})"));
    let (price, amount) = (
        exact(line.unit_price.0.into()),
        invoice.currency.format(line.amount),
    );
    format!(
        "{}{pool}{of}{why}: {} x {price} = {amount}",
        line.kind, line.quantity
    )
}

fn check(case: &Case, books: &Books) {
    let invoices = books.all_invoices().into_iter().map(|invoice| {
        let lines = invoice
            .lines
            .iter()
            .map(|line| in_words(line, &invoice))
            .collect();
        (invoice.period, invoice.currency.format(invoice.total), lines)
    });
    let invoices: Vec<(i32, String, Vec<String>)> = invoices.collect();
    assert_eq!(invoices, case.expected.invoices, "{}: invoices", case.name);
    let mut units = CounterChange::default();
    books.counters.values().for_each(|one| units.add(*one));
    let units = [
        units.held,
        units.captured,
        units.free,
        units.voided,
        units.expired,
        units.forced,
    ];
    assert_eq!(
        units, case.expected.units,
        "{}: held, captured, free, voided, expired, forced",
        case.name
    );
    let alerts = books
        .kept
        .alerts
        .iter()
        .map(|(period, segment, pool, measure, percent)| {
            let measure = if *measure == Measure::Used {
                "used"
            } else {
                "reserved"
            };
            format!("{period}.{segment} {pool} {measure} {percent}")
        });
    assert_eq!(
        alerts.collect::<Vec<_>>(),
        case.expected.alerts,
        "{}: alerts",
        case.name
    );
    if !case.expected.periods.is_empty() {
        let begun = books
            .kept
            .periods
            .iter()
            .map(|period| period.period.starts_at.to_string());
        assert_eq!(
            begun.collect::<Vec<_>>(),
            case.expected.periods,
            "{}: periods",
            case.name
        );
    }
    if let Some(limit) = case.expected.limit {
        let pool = &case.plans[0].pools[0].name;
        assert_eq!(books.room(pool).limit, Some(limit), "{}: limit", case.name);
    }
}

/// I12, I14, I17: invoices compute again, all invoices of a period sum to what it costs by all that is known, and a changed row is found.
fn audit(case: &Case, books: &Books) {
    for stored in &books.kept.invoices {
        let mut before = books.clone();
        before.kept.invoices.retain(|one| one.period < stored.period);
        let again = before.invoice(stored.period, (stored.cut_seq, stored.cut_hash));
        assert_eq!(&again, stored, "{}: I12", case.name);
    }
    let invoices = books.all_invoices();
    if let Some(newest) = invoices.last() {
        for period in books
            .kept
            .periods
            .iter()
            .filter(|period| period.number < newest.period)
        {
            let charged: i64 = invoices
                .iter()
                .map(|invoice| invoice.charged_for(period.number).unwrap().0)
                .sum();
            let owed = total(&period_lines(&books.used(period.number, i64::MAX)).unwrap()).unwrap();
            assert_eq!(charged, owed.0, "{}: I14 of {}", case.name, period.number);
        }
    }
    let mut rows = books.kept.rows.clone();
    let Some(at) = rows.len().checked_sub(1).map(|last| last / 2) else {
        return;
    };
    rows[at].0.pool.push('x');
    let mut verifier = Verifier::new(TENANT);
    let found = rows.iter().try_for_each(|(row, hash)| verifier.check(row, hash));
    assert!(found.is_err(), "{}: I17, row {at} was changed", case.name);
}

fn cases() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/billing/cases");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the cases")
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Case::read(&name, &std::fs::read_to_string(path).expect("a case"))
    };
    paths.iter().map(read).collect()
}

#[test]
fn every_case_in_every_order() {
    let cases = cases();
    assert!(cases.len() >= CASES_LEAST, "there are {} cases", cases.len());
    let mut runs = BTreeMap::<&str, usize>::new();
    for case in &cases {
        let (books, accepted) = in_order(case);
        check(case, &books);
        audit(case, &books);
        *runs.entry("in order").or_default() += 1;
        assert_eq!(
            with_crashes(case).hash(),
            books.hash(),
            "{}: I9, a crash after each step",
            case.name
        );
        *runs.entry("crashes").or_default() += 1;
        let twice = every_fact_twice(case);
        assert_eq!(twice.hash(), books.hash(), "{}: I8, every fact twice", case.name);
        assert_eq!(twice.kept.alerts, books.kept.alerts, "{}: I21", case.name);
        *runs.entry("twice").or_default() += 1;
        let backwards = rearranged(case, &accepted, &mut |facts| facts.into_iter().rev().collect());
        assert_eq!(
            figures(&backwards),
            figures(&books),
            "{}: I7, reversed",
            case.name
        );
        *runs.entry("reversed").or_default() += 1;
        for seed in 0..SHUFFLES {
            let other = rearranged(case, &accepted, &mut |facts| shuffled(facts, seed));
            assert_eq!(
                figures(&other),
                figures(&books),
                "{}: I7, shuffled with seed {seed}",
                case.name
            );
            *runs.entry("shuffled").or_default() += 1;
        }
    }
    println!("{} golden cases: {runs:?}", cases.len());
}
