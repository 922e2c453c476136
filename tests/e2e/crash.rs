//! `kill -9` in the middle of a campaign of 20,000: the rows alone say what is left to do.

use std::time::Duration;

use malote::trial::{PlanChoice, Tenant, counts_of, eventually};
use simulator::config::Config;

use crate::support::{billable, check_promises, start, usage};

const RECIPIENTS: u64 = 20_000;
/// Numbers side by side, so that the campaign of a test does not take half an hour.
const RATE: u32 = 1_000;
const WITHIN: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_nothing_and_sends_nothing_twice() {
    let settings = [
        ("MALOTE_PIPELINE__CLAIM_DEADLINE_MS", "6000"),
        ("MALOTE_META__TIMEOUT_MS", "5000"),
    ];
    let mut installation = start("crash", Config::for_tests(), &settings).await;
    let mut tenant = Tenant::create(&installation, "crash", PlanChoice::FREE, RATE)
        .await
        .unwrap();
    let campaign = tenant.launch_to("long", 70_000_000, RECIPIENTS).await.unwrap();
    eventually("the campaign is in the middle", WITHIN, || async {
        Ok((installation.simulator.truth().accepted > RECIPIENTS * 2 / 5).then_some(()))
    })
    .await
    .unwrap();

    installation.kill_and_restart().await.unwrap();
    tenant.reconnect(&installation);
    let at_kill = tenant.campaign(&campaign).await.unwrap();
    let in_flight = counts_of(&at_kill, "sending").unwrap() + counts_of(&at_kill, "unknown").unwrap();
    let expired = eventually("the campaign is finished", WITHIN, || async {
        let found = tenant.campaign(&campaign).await?;
        Ok((found["state"] == "finished").then_some(found))
    })
    .await
    .unwrap();
    installation.settle(Duration::from_secs(60)).await.unwrap();

    let campaign = tenant.campaign(&campaign).await.unwrap();
    let unknown = counts_of(&campaign, "unknown").unwrap();
    let settled_by_webhooks = in_flight - unknown;
    println!(
        "in flight at the kill: {in_flight}; unknown when finished: {}; unknown now: {unknown}; settled by webhooks: {settled_by_webhooks}",
        counts_of(&expired, "unknown").unwrap()
    );
    let total = i64::try_from(RECIPIENTS).unwrap();
    check_promises(&installation, &tenant, &campaign, total).await;
    let arrived = counts_of(&campaign, "delivered").unwrap() + counts_of(&campaign, "read").unwrap();
    assert_eq!(arrived + unknown, total, "somebody is missing: {campaign}");
    assert!(
        unknown <= in_flight,
        "more unknown than were in flight: {campaign}"
    );
    assert_eq!(
        i64::try_from(installation.simulator.truth().delivered).unwrap(),
        arrived
    );
    assert_eq!(usage(&tenant, "captured").await, billable(&installation));
    assert_eq!(usage(&tenant, "held").await, unknown);
    installation.stop().await.unwrap();
}
