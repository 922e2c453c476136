//! A golden case as its file tells it.

use domain::category::Category;
use domain::ids::PlanId;
use domain::ledger::{Fact, Pricing};
use domain::money::{Currency, Micros, Minor};
use domain::plan::{Plan, Policy, Pool, THRESHOLDS, Tier};
use jiff::Timestamp;
use toml::{Table, Value};
use uuid::Uuid;

/// What happens at an instant.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// Messages are claimed; so many are expected to pass.
    Reserve {
        group: String,
        count: usize,
        category: Category,
        expect: usize,
        epoch: i64,
    },
    /// Something is heard of messages `first..first + count` of a group.
    Hear {
        group: String,
        first: usize,
        count: usize,
        fact: Option<Fact>,
        billed: Option<Category>,
    },
    /// The plan changes now.
    Change { plan: PlanId },
    /// The plan changes when the period ends.
    Schedule { plan: PlanId },
    /// What was scheduled is cancelled.
    Cancel,
    /// The tenant moves to another zone.
    Zone { zone: String },
    /// Another node takes over.
    TakeOver { epoch: i64 },
    /// Time passes.
    Pass,
    /// A period is closed.
    Close { period: i32 },
    /// Somebody corrects an invoice.
    Correct { amount: Micros, reason: String },
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) at: Timestamp,
    pub(crate) deed: Deed,
}

/// What must come out.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Each invoice: its period, its total, its lines.
    pub(crate) invoices: Vec<(i32, String, Vec<String>)>,
    pub(crate) alerts: Vec<String>,
    /// held, captured, free, voided, expired, forced.
    pub(crate) units: [i64; 6],
    /// The beginnings of the periods; not looked at if empty.
    pub(crate) periods: Vec<String>,
    pub(crate) limit: Option<i64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) zone: String,
    pub(crate) start: Timestamp,
    pub(crate) plans: Vec<Plan>,
    pub(crate) steps: Vec<Step>,
    pub(crate) expected: Expected,
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table[key].as_str().unwrap_or_else(|| panic!("{key} is a text"))
}

fn number(table: &Table, key: &str) -> Option<i64> {
    table
        .get(key)
        .map(|value| value.as_integer().unwrap_or_else(|| panic!("{key} is a number")))
}

fn list<'a>(table: &'a Table, key: &str) -> &'a [Value] {
    table
        .get(key)
        .map_or(&[], |value| value.as_array().expect("a list"))
}

fn texts(table: &Table, key: &str) -> Vec<String> {
    list(table, key)
        .iter()
        .map(|value| value.as_str().expect("a text").to_owned())
        .collect()
}

fn category(table: &Table, key: &str) -> Option<Category> {
    table
        .get(key)
        .map(|value| value.as_str().expect("a category").parse().expect("a category"))
}

fn size(table: &Table, key: &str, otherwise: usize) -> usize {
    number(table, key).map_or(otherwise, |value| usize::try_from(value).expect("a size"))
}

impl Case {
    pub(crate) fn read(name: &str, source: &str) -> Self {
        let file: Table = source.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        let plans: Vec<(String, Plan)> = (1..)
            .zip(list(&file, "plans"))
            .map(|(id, value)| plan(id, value.as_table().expect("a plan")))
            .collect();
        let id_of = |code: &str| {
            plans
                .iter()
                .find(|(known, _)| known == code)
                .expect("a known plan")
                .1
                .id
        };
        let steps = list(&file, "steps")
            .iter()
            .map(|value| step(value.as_table().expect("a step"), &id_of));
        Self {
            name: name.to_owned(),
            zone: text(&file, "zone").to_owned(),
            start: text(&file, "start").parse().expect("a time"),
            steps: steps.collect(),
            expected: expected(file["expect"].as_table().expect("what is expected")),
            plans: plans.into_iter().map(|(_, plan)| plan).collect(),
        }
    }
}

fn plan(id: u128, table: &Table) -> (String, Plan) {
    let pools = list(table, "pools")
        .iter()
        .map(|value| pool(value.as_table().expect("a pool")));
    let thresholds = list(table, "thresholds")
        .iter()
        .map(|value| value.as_integer().unwrap() as u8);
    let plan = Plan {
        id: PlanId(Uuid::from_u128(id)),
        currency: Currency::from_code(text(table, "currency")).expect("a currency"),
        fee: Minor(number(table, "fee_minor").unwrap_or(0)),
        pools: pools.collect(),
        thresholds: if table.contains_key("thresholds") {
            thresholds.collect()
        } else {
            THRESHOLDS.to_vec()
        },
        anchor_day: number(table, "anchor_day").unwrap_or(1) as i8,
        messages_per_second: None,
        rating_version: 1,
    };
    plan.check().expect("a plan that can be published");
    (text(table, "code").to_owned(), plan)
}

fn pool(table: &Table) -> Pool {
    let categories = match list(table, "categories") {
        [] => Category::ALL.to_vec(),
        some => some
            .iter()
            .map(|value| value.as_str().unwrap().parse().expect("a category"))
            .collect(),
    };
    let flat = number(table, "price_micros").map(|price| Tier {
        up_to: None,
        price: Micros(price),
    });
    let tiers = list(table, "tiers").iter().map(|value| {
        let tier = value.as_table().expect("a step");
        Tier {
            up_to: number(tier, "up_to"),
            price: Micros(number(tier, "price_micros").expect("a price")),
        }
    });
    let cap_money = number(table, "cap_micros").map(Micros);
    Pool {
        name: table
            .get("name")
            .map_or("units", |name| name.as_str().unwrap())
            .to_owned(),
        categories,
        allowance_units: number(table, "allowance").expect("an allowance"),
        policy: Policy::from_parts(text(table, "policy"), number(table, "cap_units"), cap_money)
            .expect("a policy"),
        tiers: flat.into_iter().chain(tiers).collect(),
    }
}

fn step(table: &Table, id_of: &dyn Fn(&str) -> PlanId) -> Step {
    let group = || text(table, "of").to_owned();
    let count = size(table, "count", 1);
    let hear = |fact| Deed::Hear {
        group: group(),
        first: size(table, "first", 0),
        count,
        fact,
        billed: category(table, "billed"),
    };
    let deed = match text(table, "do") {
        "reserve" => Deed::Reserve {
            group: group(),
            count,
            category: category(table, "category").unwrap_or(Category::Marketing),
            expect: size(table, "expect", count),
            epoch: number(table, "epoch").unwrap_or(1),
        },
        "told" => hear(told(table)),
        "billable" => hear(Some(Fact::DeliveredBillable)),
        "free" => hear(Some(Fact::DeliveredFree)),
        "fail" => hear(Some(Fact::NotDelivered)),
        "expire" => hear(Some(Fact::NoNews)),
        "change" => Deed::Change {
            plan: id_of(text(table, "plan")),
        },
        "schedule" => Deed::Schedule {
            plan: id_of(text(table, "plan")),
        },
        "cancel" => Deed::Cancel,
        "zone" => Deed::Zone {
            zone: text(table, "zone").to_owned(),
        },
        "take_over" => Deed::TakeOver {
            epoch: number(table, "epoch").expect("an epoch"),
        },
        "pass" => Deed::Pass,
        "close" => Deed::Close {
            period: number(table, "period").expect("a period") as i32,
        },
        "correct" => Deed::Correct {
            amount: text(table, "amount").parse().expect("an amount"),
            reason: text(table, "reason").to_owned(),
        },
        unknown => panic!("no such deed: {unknown}"),
    };
    Step {
        at: text(table, "at").parse().expect("a time"),
        deed,
    }
}

/// A status of Meta's, with its price if it has one.
fn told(table: &Table) -> Option<Fact> {
    let pricing = Pricing {
        kind: table
            .get("type")
            .map(|kind| kind.as_str().expect("a type").to_owned()),
        category: None,
        billable: table
            .get("is_billable")
            .map(|flag| flag.as_bool().expect("a flag")),
    };
    Fact::of(text(table, "status").parse().expect("a status"), &pricing)
}

fn expected(table: &Table) -> Expected {
    let invoices = list(table, "invoices").iter().map(|value| {
        let invoice = value.as_table().expect("an invoice");
        let period = number(invoice, "period").expect("a period") as i32;
        (period, text(invoice, "total").to_owned(), texts(invoice, "lines"))
    });
    let units = |key| number(table, key).unwrap_or(0);
    Expected {
        invoices: invoices.collect(),
        alerts: texts(table, "alerts"),
        units: ["held", "captured", "free", "voided", "expired", "forced"].map(units),
        periods: texts(table, "periods"),
        limit: number(table, "limit"),
    }
}
