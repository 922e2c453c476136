//! What a change of plan costs: the worked example of docs/billing.md, shown before, and invoiced after.

use malote::storage::{Database, Role};
use malote::trial::{Client, Installation, PlanChoice, Tenant};
use serde_json::{Value, json};
use simulator::config::Config;

use crate::support::{SOON, start};

const SMALL: PlanChoice = PlanChoice {
    allowance_units: 1_000,
    policy: "soft",
    overage_price_micros: 120_000,
    fee_minor: 9_900,
};

/// Books a period of thirty days of which ten are over.
const TEN_DAYS_AGO: &str = "INSERT INTO billing_periods (tenant_id, number, starts_at, ends_at, timezone, anchor_day)
    SELECT id, 1, (date_trunc('day', now() AT TIME ZONE timezone) - interval '10 days') AT TIME ZONE timezone,
        (date_trunc('day', now() AT TIME ZONE timezone) + interval '20 days') AT TIME ZONE timezone, timezone, 1
    FROM tenants WHERE id = $1";
const UNDER_ITS_PLAN: &str =
    "INSERT INTO period_segments (tenant_id, period, number, plan_id, starts_at, ends_at, assigned_at)
    SELECT p.tenant_id, 1, 1, a.plan_id, p.starts_at, p.ends_at, a.effective_from
    FROM billing_periods p JOIN plan_assignments a USING (tenant_id) WHERE p.tenant_id = $1";
const USED: &str = "INSERT INTO pool_counters (tenant_id, period, segment, pool, category, captured)
    VALUES ($1, 1, $2, 'units', 'marketing', $3)";

async fn used(database: &Database, tenant: &Tenant, segment: i32, units: i64) {
    let mut connection = database.get().await.expect("done");
    connection
        .execute(USED, &[&tenant.id.0, &segment, &units])
        .await
        .expect("done");
}

/// A tenant on the tenth day of its period, with 1,300 units used; and the code of a larger plan.
async fn on_day_ten(installation: &Installation) -> (Tenant, Database, String) {
    let tenant = Tenant::create(installation, "example", SMALL, 80)
        .await
        .expect("done");
    let database = Database::connect(&installation.config().database, Role::AppSystem)
        .await
        .expect("done");
    let mut connection = database.get().await.expect("done");
    connection
        .execute(TEN_DAYS_AGO, &[&tenant.id.0])
        .await
        .expect("done");
    connection
        .execute(UNDER_ITS_PLAN, &[&tenant.id.0])
        .await
        .expect("done");
    drop(connection);
    used(&database, &tenant, 1, 1_300).await;
    let code = format!("large-{}", &tenant.id.0.simple().to_string()[24..]);
    let large = json!({"code": code, "name": "Large", "currency": "EUR", "fee_minor": 29_900, "anchor_day": 1,
        "warning_percents": [75], "pools": [{"name": "units", "policy": "soft", "allowance_units": 10_000,
        "categories": ["marketing", "utility", "authentication", "service"], "tiers": [{"price_micros": 80_000}]}]});
    installation
        .admin
        .post("/admin/v1/plans", &large)
        .await
        .expect("done");
    (tenant, database, code)
}

fn amounts(lines: &Value) -> Vec<(&str, &str)> {
    let lines = lines.as_array().expect("lines").iter();
    lines
        .map(|line| {
            (
                line["kind"].as_str().expect("a text"),
                line["amount"].as_str().expect("a text"),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_costs_to_the_cent_what_its_preview_says() {
    let installation = start("example", Config::for_tests(), &[]).await;
    let (tenant, database, large) = on_day_ten(&installation).await;
    let change = json!({"plan": large, "effective": "now"});
    let preview = tenant.api.post("/v1/plan/preview", &change).await.unwrap();
    assert_eq!(preview["difference"], "133.33", "{preview}");
    assert_eq!(preview["before"]["total"], "135.00", "{preview}");
    assert_eq!(
        preview["after"]["pools"][0]["allowance_units"], 7_000,
        "{preview}"
    );

    let path = format!("/admin/v1/tenants/{}/plan", tenant.id);
    installation.admin.put(&path, &change).await.unwrap();
    let invoices = tenant.api.get("/v1/invoices").await.unwrap();
    assert_eq!(
        invoices["items"][0]["lines"], preview["after"]["lines"],
        "what is shown is what is done"
    );

    used(&database, &tenant, 2, 6_200).await;
    let invoices = tenant.api.get("/v1/invoices").await.unwrap();
    let expected = [
        ("fee", "99.00"),
        ("fee_credit", "-66.00"),
        ("fee_charge", "199.33"),
        ("allowance", "0.00"),
        ("allowance", "0.00"),
        ("overage", "36.00"),
        ("overage", "16.00"),
    ];
    assert_eq!(amounts(&invoices["items"][0]["lines"]), expected);
    assert_eq!(invoices["items"][0]["total"], "284.33");
    drop(database);
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downgrade_waits_for_the_end_of_the_period_and_can_be_cancelled() {
    let installation = start("downgrade", Config::for_tests(), &[]).await;
    let (tenant, _, large) = on_day_ten(&installation).await;
    let (path, change) = (
        format!("/admin/v1/tenants/{}/plan", tenant.id),
        json!({"plan": large, "effective": "period_end"}),
    );
    let preview = tenant.api.post("/v1/plan/preview", &change).await.unwrap();
    assert_eq!(
        preview["difference"], "0.00",
        "this period is left alone: {preview}"
    );
    let moved = installation.admin.put(&path, &change).await.unwrap();
    assert_eq!(moved["next_plan"].as_str(), Some(large.as_str()), "{moved}");
    tenant.api.delete("/v1/plan/pending").await.unwrap();
    let kept = installation
        .admin
        .get(&format!("/admin/v1/tenants/{}", tenant.id))
        .await
        .unwrap();
    assert_eq!(kept["next_plan"], Value::Null, "{kept}");
    assert!(
        tenant.api.delete("/v1/plan/pending").await.is_err(),
        "nothing is to come any more"
    );
    installation.stop().await.unwrap();
}

/// Runs a command of the installation; gives its exit code and what it said.
fn run(installation: &Installation, arguments: &[&str]) -> (Option<i32>, String) {
    let output = installation.command(arguments).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Deletes the last capture, past the triggers.
async fn forget_a_capture(installation: &Installation) {
    let owner = Database::connect(&installation.config().database, Role::MigrationAdmin)
        .await
        .expect("the owner");
    let forget = "ALTER TABLE ledger DISABLE TRIGGER USER;
        DELETE FROM ledger WHERE seq = (SELECT max(seq) FROM ledger WHERE kind = 'capture');
        ALTER TABLE ledger ENABLE TRIGGER USER";
    owner
        .get()
        .await
        .expect("a connection")
        .run_script(forget)
        .await
        .expect("forgotten");
}

/// Lets Meta refuse the tenant's token from now on.
async fn refuse_the_token(installation: &Installation) {
    let simulator = Client::new(&installation.simulator.address().to_string());
    let revoked = json!({"revoked": ["a-token-of-the-trial"]});
    simulator
        .put("/_control/tokens", &revoked)
        .await
        .expect("revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_booked_is_what_meta_says_it_charged_and_can_be_followed_there() {
    let installation = start("charged", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "charged", SMALL, 80)
        .await
        .expect("a tenant");
    let campaign = tenant
        .launch_to("charged", 45_000_000, 30)
        .await
        .expect("launched");
    tenant.finished(&campaign, SOON).await.expect("finished");
    installation.settle(SOON).await.expect("settled");

    let with_meta = ["billing", "reconcile", "--meta", "--unsettled-days", "0"];
    let (code, said) = run(&installation, &with_meta);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("30 messages that Meta charged: 0 findings"),
        "{said}"
    );

    let page = tenant
        .api
        .get(&format!("/v1/messages?campaign_id={campaign}"))
        .await
        .expect("messages");
    let message = page["items"][0]["id"].as_str().expect("an id");
    let story = tenant
        .api
        .get(&format!("/v1/messages/{message}"))
        .await
        .expect("a message");
    let billing = json!({"settlement": "captured", "units": 1, "cost": "0.00", "currency": "EUR"});
    assert_eq!(story["billing"], billing, "{story}");
    let exported = tenant
        .api
        .get_text("/v1/ledger/export?period=1&format=ndjson")
        .await
        .expect("rows");
    assert_eq!(exported.lines().count(), 60, "30 reservations and 30 captures");
    let proven = |line: &&str| line.contains(message) && line.contains("\"pricing_type\":\"regular\"");
    assert_eq!(exported.lines().filter(proven).count(), 1, "{exported}");
    let id = tenant.id.to_string();
    let (code, said) = run(
        &installation,
        &["billing", "invoice", "--tenant", &id, "--format", "html"],
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("99.00 EUR") && said.contains("figures may still change"),
        "{said}"
    );

    forget_a_capture(&installation).await;
    let (code, said) = run(&installation, &with_meta);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("29 are captured, and Meta charged 30"), "{said}");

    refuse_the_token(&installation).await;
    let (code, said) = run(&installation, &with_meta);
    assert_eq!(code, Some(1), "what was not compared does not agree: {said}");
    assert!(
        said.contains("0 findings") && said.contains("not compared: account"),
        "{said}"
    );
    installation.stop().await.expect("a clean end");
}
