//! A tenant whose child fails on every message: in quarantine within ten seconds, named, its neighbours undisturbed, and brought
//! back whole.

use std::time::{Duration, Instant};

use malote::storage::{Database, Role};
use malote::trial::{Installation, PlanChoice, Tenant, eventually};
use serde_json::{Value, json};
use simulator::config::Config;

use crate::support::{SOON, check_promises, start};

const TENANTS: u64 = 20;
const MESSAGES: u64 = 150;
/// What binds in both phases, so that they compare whatever else the machine does.
const RATE: u32 = 15;
/// The promise.
const QUARANTINED_WITHIN: Duration = Duration::from_secs(10);
/// How much longer the others may take.
const SLOWER_AT_MOST: f64 = 1.2;
/// Pairs of phases at most, without and with a failing tenant, another one in each.
const PAIRS_MOST: usize = 3;
/// Ten seconds of sending, on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_panics_on_every_message_costs_its_tenant_ten_seconds_and_nobody_else_anything() {
    let installation = start("quarantine", Config::for_tests(), &[]).await;
    let mut tenants = Vec::new();
    for _ in 0..TENANTS {
        let tenant = Tenant::create(&installation, "quarantine", PlanChoice::FREE, RATE).await;
        tenants.push(tenant.unwrap());
    }
    // A disturbance shows every time, a busy machine does not.
    let (mut pairs, mut ratio) = (0, f64::INFINITY);
    while pairs < PAIRS_MOST && ratio > SLOWER_AT_MOST {
        ratio = disturb(&installation, &tenants, pairs).await;
        pairs += 1;
    }
    assert!(
        ratio <= SLOWER_AT_MOST,
        "the others took {ratio:.3} of their time, the last of {pairs} times"
    );
    let sent = 2 * u64::try_from(pairs).unwrap() * TENANTS * MESSAGES;
    assert_eq!(installation.simulator.truth().accepted, sent);
    installation.stop().await.unwrap();
}

/// Lets all send, then once more while a child of one fails, and releases that one. Gives how much longer the others took.
async fn disturb(installation: &Installation, tenants: &[Tenant], pair: usize) -> f64 {
    let doomed = &tenants[pair];
    let first = 50_000_000 + 2_000_000 * pair as u64;
    let campaigns = prepare(tenants, first).await;
    let launched = launch(tenants, &campaigns).await;
    let quiet = until_others_finished(tenants, &campaigns, doomed, launched).await;
    doomed
        .finished(&campaigns[pair], WITHIN)
        .await
        .expect("an answer");

    let campaigns = prepare(tenants, first + 1_000_000).await;
    let fault = json!({"tenant_id": doomed.id.to_string(), "child": "send_queue", "step": "handle"});
    installation
        .admin
        .post("/admin/v1/faults", &fault)
        .await
        .expect("an answer");
    let launched = launch(tenants, &campaigns).await;
    let (quarantined_after, disturbed) = tokio::join!(
        until_quarantined(installation, doomed, launched),
        until_others_finished(tenants, &campaigns, doomed, launched),
    );
    let ratio = disturbed.as_secs_f64() / quiet.as_secs_f64();
    println!(
        "quarantined after {quarantined_after:?}; the others took {quiet:?} without and {disturbed:?} with the fault: {ratio:.3}"
    );
    assert!(quarantined_after < QUARANTINED_WITHIN, "{quarantined_after:?}");

    let held = doomed.campaign(&campaigns[pair]).await.expect("an answer");
    assert_eq!(
        (&held["state"], &held["reason"]),
        (&json!("paused"), &json!("quarantined"))
    );
    let metrics = installation.admin.get_text("/metrics").await.expect("metrics");
    let named = format!("malote_tenant_quarantined{{tenant=\"{}\"}} 1", doomed.id);
    assert!(metrics.lines().any(|line| line == named), "{named} is not shown");
    release(installation, doomed, &campaigns[pair]).await;
    installation.settle(SOON).await.expect("all events applied");
    for (tenant, campaign) in tenants.iter().zip(&campaigns) {
        let campaign = tenant.campaign(campaign).await.expect("an answer");
        assert_eq!(campaign["counts"]["total"], MESSAGES, "{campaign}");
        check_promises(installation, tenant, &campaign, MESSAGES as i64).await;
    }
    ratio
}

/// Fills one campaign of each tenant.
async fn prepare(tenants: &[Tenant], first: u64) -> Vec<String> {
    let mut campaigns = Vec::new();
    for (number, tenant) in (0..).zip(tenants) {
        let campaign = tenant.draft("quarantine").await.expect("an answer");
        let first = first + number * MESSAGES;
        let mut csv = String::from("recipient,name\n");
        (first..first + MESSAGES).for_each(|number| csv.push_str(&format!("+3519{number:08},Contact\n")));
        tenant.upload(&campaign, csv).await.expect("an answer");
        campaigns.push(campaign);
    }
    campaigns
}

async fn launch(tenants: &[Tenant], campaigns: &[String]) -> Instant {
    let launched = Instant::now();
    for (tenant, campaign) in tenants.iter().zip(campaigns) {
        tenant.tell(campaign, "launch").await.expect("an answer");
    }
    launched
}

/// Waits until the last campaign of the others has finished and gives how long after their launch that was.
async fn until_others_finished(
    tenants: &[Tenant],
    campaigns: &[String],
    doomed: &Tenant,
    launched: Instant,
) -> Duration {
    let others = tenants.iter().zip(campaigns);
    for (tenant, campaign) in others.filter(|(tenant, _)| tenant.id != doomed.id) {
        tenant.finished(campaign, WITHIN).await.expect("an answer");
    }
    launched.elapsed()
}

async fn quarantine_of(installation: &Installation, tenant: &Tenant) -> anyhow::Result<Option<Value>> {
    let listed = installation.admin.get("/admin/v1/quarantine").await?;
    let items = listed["items"].as_array().cloned().unwrap_or_default();
    Ok(items
        .into_iter()
        .find(|item| item["tenant_id"] == tenant.id.to_string()))
}

async fn until_quarantined(installation: &Installation, tenant: &Tenant, launched: Instant) -> Duration {
    let look = || quarantine_of(installation, tenant);
    let found = eventually("the tenant is in quarantine", SOON, look)
        .await
        .expect("an answer");
    let after = launched.elapsed();
    assert_eq!(found["reason"], "send_queue keeps failing");
    assert_eq!(found["last_error"], "an injected fault: panic");
    assert!(found["since"].as_str() < found["until"].as_str(), "{found}");
    after
}

async fn release(installation: &Installation, tenant: &Tenant, campaign: &str) {
    installation
        .admin
        .delete("/admin/v1/faults")
        .await
        .expect("an answer");
    let path = format!("/admin/v1/tenants/{}/release", tenant.id);
    let released = installation
        .admin
        .post(&path, &json!({}))
        .await
        .expect("an answer");
    assert_eq!(released["campaigns_resumed"], 1, "{released}");
    tenant.finished(campaign, WITHIN).await.expect("an answer");
    assert!(
        quarantine_of(installation, tenant)
            .await
            .expect("an answer")
            .is_none()
    );
    let again = installation.admin.post(&path, &json!({})).await;
    assert!(again.is_err(), "a second release is refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_outlives_its_node_and_ends_by_time() {
    let mut installation = start("quarantine_row", Config::for_tests(), &[]).await;
    let mut tenant = Tenant::create(&installation, "quarantine", PlanChoice::FREE, 50)
        .await
        .unwrap();
    let fault = json!({"tenant_id": tenant.id.to_string(), "child": "billing_counter", "step": "recover"});
    installation.admin.post("/admin/v1/faults", &fault).await.unwrap();
    let campaign = tenant.launch_to("doomed", 40_000_000, 100).await.unwrap();
    until_listed(&installation, &tenant).await;
    // The fault dies with its process; only the row holds the tenant now.
    installation.kill_and_restart().await.unwrap();
    tenant.reconnect(&installation);
    assert!(quarantine_of(&installation, &tenant).await.unwrap().is_some());
    let held = tenant.campaign(&campaign).await.unwrap();
    assert_eq!(held["reason"], "quarantined", "{held}");
    assert_eq!(installation.simulator.truth().accepted, 0);
    end_now(&installation, &tenant).await;
    let finished = tenant.finished(&campaign, WITHIN).await.unwrap();
    assert!(quarantine_of(&installation, &tenant).await.unwrap().is_none());
    installation.settle(Duration::from_secs(60)).await.unwrap();
    check_promises(&installation, &tenant, &finished, 100).await;
    assert_eq!(installation.simulator.truth().accepted, 100);
    installation.stop().await.unwrap();
}

async fn until_listed(installation: &Installation, tenant: &Tenant) {
    let look = || quarantine_of(installation, tenant);
    eventually("the tenant is in quarantine", SOON, look)
        .await
        .expect("an answer");
}

/// Lets the time of a tenant's quarantine be over.
async fn end_now(installation: &Installation, tenant: &Tenant) {
    let system = Database::connect(&installation.config().database, Role::AppSystem)
        .await
        .expect("the database answers");
    let ended = system
        .get()
        .await
        .expect("a connection")
        .execute(
            "UPDATE tenants SET quarantined_until = now() WHERE id = $1 AND quarantined_until > now()",
            &[&tenant.id.0],
        )
        .await;
    assert_eq!(ended.expect("it may"), 1, "the quarantine was over already");
}
