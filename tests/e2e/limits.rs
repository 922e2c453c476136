//! Limits end to end, the simulator's own limits being the judge: a crash loop without a burst, life without Redis, pairs, portfolios,
//! Meta's waits, and Meta being down.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use malote::trial::{Installation, PlanChoice, Tenant, counts_of, eventually};
use serde_json::json;
use simulator::config::Config;
use simulator::faults::Faults;

use crate::support::{SOON, check_promises, start, usage};

/// How long a campaign at a low rate may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);

async fn until_accepted(installation: &Installation, many: u64) {
    eventually("so many are accepted", WITHIN, || async {
        Ok((installation.simulator.truth().accepted >= many).then_some(()))
    })
    .await
    .expect("so many are accepted");
}

/// Reads a counter of the metrics.
async fn counter(installation: &Installation, name: &str) -> u64 {
    let metrics = installation.admin.get_text("/metrics").await.expect("metrics");
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_never_sends_faster_than_meta_allows() {
    let settings = [
        ("MALOTE_PIPELINE__CLAIM_DEADLINE_MS", "4000"),
        ("MALOTE_META__TIMEOUT_MS", "3000"),
        ("MALOTE_PIPELINE__QUEUED_FOR_MOST_MS", "2000"),
    ];
    let mut installation = start("crash_loop", Config::for_tests(), &settings).await;
    let mut tenant = Tenant::create(&installation, "loop", PlanChoice::FREE, 40)
        .await
        .unwrap();
    let campaign = tenant.launch_to("interrupted", 25_000_000, 400).await.unwrap();
    for crash in 1..=3 {
        until_accepted(&installation, crash * 60).await;
        installation.kill_and_restart().await.unwrap();
    }
    tenant.reconnect(&installation);
    tenant.finished(&campaign, WITHIN).await.unwrap();
    installation.settle(SOON).await.unwrap();
    let found = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &found, 400).await;
    assert_eq!(installation.simulator.truth().throttled, 0);
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_limits_go_on_in_memory() {
    let settings = [("MALOTE_REDIS__ADDRESS", "127.0.0.1:1")];
    let installation = start("no_redis", Config::for_tests(), &settings).await;
    let tenant = Tenant::create(&installation, "memory", PlanChoice::FREE, 40)
        .await
        .unwrap();
    let started = Instant::now();
    let campaign = tenant.launch_to("from memory", 26_000_000, 120).await.unwrap();
    tenant.finished(&campaign, WITHIN).await.unwrap();
    assert!(
        started.elapsed() > Duration::from_millis(2_500),
        "faster than its rate"
    );
    assert_eq!(installation.simulator.truth().throttled, 0);
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_gets_its_burst_and_the_rest_waits_unclaimed() {
    let installation = start("pair", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "pair", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let message = json!({"sender_id": tenant.sender, "to": "+351927000001", "text": "hello"});
    for _ in 0..50 {
        tenant.api.post("/v1/messages", &message).await.unwrap();
    }
    until_accepted(&installation, 45).await;
    // Of the burst alone: the next ones are due when Meta counts its six seconds, which begin a moment after ours.
    assert_eq!(installation.simulator.truth().throttled, 0, "Meta had to say no");
    eventually("the rest is planned", SOON, || async {
        let page = tenant.api.get("/v1/messages?state=planned").await?;
        let planned = page["items"].as_array().map_or(0, Vec::len);
        let accepted = usize::try_from(installation.simulator.truth().accepted)?;
        Ok((planned > 0 && planned + accepted == 50).then_some(()))
    })
    .await
    .unwrap();
    assert!(counter(&installation, "malote_messages_held_back_total{scope=\"pair\"}").await > 0);
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portfolio_reaches_so_many_people_and_belongs_to_one_tenant() {
    let installation = start("portfolio", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "owner", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let other = Tenant::create(&installation, "other", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let limit = json!({"portfolio_id": "700700", "messaging_limit": 20}).to_string();
    let change = |tenant: &Tenant| {
        let (api, path) = (tenant.api.clone(), format!("/v1/senders/{}", tenant.sender));
        let limit = Bytes::from(limit.clone());
        async move { api.raw(Method::PATCH, &path, "application/json", limit).await }
    };
    assert_eq!(change(&tenant).await.unwrap().0, 200);
    assert_eq!(change(&other).await.unwrap().0, 409);
    let campaign = tenant.launch_to("reaching", 28_000_000, 30).await.unwrap();
    eventually("all that may be reached are", SOON, || async {
        let found = tenant.campaign(&campaign).await?;
        let open = counts_of(&found, "queued")? + counts_of(&found, "sending")?;
        let reached = installation.simulator.truth().accepted == 20;
        Ok((reached && open == 0 && counts_of(&found, "planned")? == 10).then_some(()))
    })
    .await
    .unwrap();
    installation.settle(SOON).await.unwrap();
    assert_eq!(
        usage(&tenant, "captured").await + usage(&tenant, "held").await,
        20
    );
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_meta_asks_for_holds_the_whole_app() {
    let mut simulator = Config::for_tests();
    simulator.faults.refused_share = 1.0;
    simulator.faults.refused_code = Some(4);
    simulator.faults.retry_after_s = 40;
    let installation = start("app_hold", simulator, &[]).await;
    let first = Tenant::create(&installation, "first", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let second = Tenant::create(&installation, "second", PlanChoice::FREE, 80)
        .await
        .unwrap();
    first.launch_to("refused", 29_000_000, 50).await.unwrap();
    eventually("Meta refuses", SOON, || async {
        Ok((installation.simulator.truth().transient_errors > 0).then_some(()))
    })
    .await
    .unwrap();
    let refused_at = Instant::now();
    installation.simulator.set_faults(Faults::default());
    second.launch_to("waits too", 29_100_000, 10).await.unwrap();
    until_accepted(&installation, 60).await;
    let calls = installation
        .simulator
        .acceptances(&second.phone_number_id, refused_at);
    let earliest = calls.iter().map(|call| call.at).min().expect("acceptances");
    let held = earliest.duration_since(refused_at);
    assert!(held > Duration::from_secs(30), "held for {held:?}");
    let refusals = installation.simulator.truth().transient_errors;
    assert!(refusals <= 50, "{refusals} refusals");
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_meta_is_down_all_wait_and_nothing_dies() {
    let installation = start("outage", Config::for_tests(), &[]).await;
    let (mut tenants, mut campaigns) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let tenant = Tenant::create(&installation, "outage", PlanChoice::FREE, 20)
            .await
            .unwrap();
        campaigns.push(
            tenant
                .launch_to("outlasting", 31_000_000 + number * 1_000, 100)
                .await
                .unwrap(),
        );
        tenants.push(tenant);
    }
    until_accepted(&installation, 30).await;
    installation.simulator.set_down(Duration::from_secs(15));
    eventually("a campaign says that Meta is down", SOON, || async {
        let found = tenants[0].campaign(&campaigns[0]).await?;
        Ok((found["progress"]["binding_limit"] == "meta_down").then_some(()))
    })
    .await
    .unwrap();
    for (tenant, campaign) in tenants.iter().zip(&campaigns) {
        tenant.finished(campaign, WITHIN).await.unwrap();
    }
    installation.settle(SOON).await.unwrap();
    for (tenant, campaign) in tenants.iter().zip(&campaigns) {
        let found = tenant.campaign(campaign).await.unwrap();
        assert_eq!(counts_of(&found, "dead").unwrap(), 0, "{found}");
        assert_eq!(counts_of(&found, "failed").unwrap(), 0, "{found}");
        check_promises(&installation, tenant, &found, 100).await;
    }
    assert!(counter(&installation, "malote_meta_breaker_openings_total").await >= 1);
    installation.stop().await.unwrap();
}

fn two_seconds_ago() -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(2)).unwrap_or(now)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_number_climbs_back_to_its_full_rate() {
    let installation = start("climb", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "climb", PlanChoice::FREE, 50)
        .await
        .unwrap();
    let campaign = tenant.launch_to("climbing", 32_000_000, 1_600).await.unwrap();
    until_accepted(&installation, 50).await;
    installation.simulator.throttle_for(Duration::from_secs(3));
    let accepted = || {
        installation
            .simulator
            .acceptances(&tenant.phone_number_id, two_seconds_ago())
    };
    let (mut slowest, mut full) = (usize::MAX, 0);
    eventually("the number is slow, then at its full rate again", SOON, || {
        let now = accepted().len();
        let throttled = installation.simulator.truth().throttled > 0;
        slowest = if throttled { slowest.min(now) } else { slowest };
        full = now;
        let done = throttled && slowest < 70 && now >= 90;
        async move { Ok(done.then_some(())) }
    })
    .await
    .unwrap();
    println!("{slowest} accepted in the slowest two seconds at 50/s, then {full} again");
    tenant.tell(&campaign, "cancel").await.unwrap();
    installation.stop().await.unwrap();
}
