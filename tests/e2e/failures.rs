//! Five ways in which things go wrong, and what must be true afterwards all the same.

use malote::storage::{Database, Role, scratch};
use malote::trial::{PlanChoice, Tenant, counts_of, eventually};
use serde_json::json;
use simulator::config::Config;

use crate::support::{SOON, billable, check_promises, start, usage};

/// Retries follow quickly, so that a test sees them, and a Meta that refuses everything is forgiven nothing.
const QUICK_RETRIES: [(&str, &str); 2] = [
    ("MALOTE_PIPELINE__RETRY_FIRST_DELAY_MS", "50"),
    ("MALOTE_PIPELINE__REFUSALS_FORGIVEN_SECONDS", "0"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_moment_is_tried_again_and_arrives_once() {
    let mut simulator = Config::for_tests();
    simulator.faults.transient_error_share = 0.2;
    let installation = start("retry", simulator, &QUICK_RETRIES).await;
    let tenant = Tenant::create(&installation, "retry", PlanChoice::FREE, 500)
        .await
        .unwrap();
    let campaign = tenant.launch_to("retried", 30_000_000, 200).await.unwrap();
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    let campaign = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &campaign, 200).await;
    assert!(
        installation.simulator.truth().transient_errors > 10,
        "nothing failed: the test proves nothing"
    );
    let arrived = counts_of(&campaign, "delivered").unwrap() + counts_of(&campaign, "read").unwrap();
    assert_eq!(arrived + counts_of(&campaign, "dead").unwrap(), 200, "{campaign}");
    assert!(arrived > 190, "{campaign}");
    assert_eq!(usage(&tenant, "captured").await, billable(&installation));
    assert_eq!(usage(&tenant, "held").await, 0);
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_failing_is_dead_until_it_is_replayed() {
    let mut simulator = Config::for_tests();
    simulator.faults.transient_error_share = 1.0;
    let installation = start("dead", simulator, &QUICK_RETRIES).await;
    let tenant = Tenant::create(&installation, "dead", PlanChoice::FREE, 500)
        .await
        .unwrap();
    let campaign = tenant.launch_to("doomed", 40_000_000, 50).await.unwrap();
    let finished = tenant.finished(&campaign, SOON).await.unwrap();
    assert_eq!(counts_of(&finished, "dead").unwrap(), 50, "{finished}");
    assert_eq!(installation.simulator.truth().accepted, 0);

    installation
        .simulator
        .set_faults(simulator::faults::Faults::default());
    let replayed = tenant
        .api
        .post("/v1/dead-letters/replay", &json!({"campaign_id": campaign}))
        .await
        .unwrap();
    assert_eq!(replayed["replayed"], 50, "{replayed}");
    eventually("the replay arrives", SOON, || async {
        let found = tenant.campaign(&campaign).await?;
        let arrived = counts_of(&found, "delivered")? + counts_of(&found, "read")?;
        Ok((arrived == 50 && found["state"] == "finished").then_some(()))
    })
    .await
    .unwrap();
    installation.settle(SOON).await.unwrap();
    let campaign = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &campaign, 50).await;
    assert_eq!(usage(&tenant, "captured").await, billable(&installation));
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_meta_refuses_for_a_while_uses_nothing_up_and_arrives_when_it_is_well() {
    let mut simulator = Config::for_tests();
    simulator.faults.transient_error_share = 1.0;
    let installation = start("refusing", simulator, &QUICK_RETRIES[..1]).await;
    let tenant = Tenant::create(&installation, "refusing", PlanChoice::FREE, 500)
        .await
        .unwrap();
    let campaign = tenant.launch_to("patient", 45_000_000, 4).await.unwrap();
    // Eight until it rests, and a few after rests that grow: several seconds in all, where five attempts take less than two.
    eventually("Meta has refused for a while", SOON, || async {
        Ok((installation.simulator.truth().transient_errors > 12).then_some(()))
    })
    .await
    .unwrap();
    let waiting = tenant.campaign(&campaign).await.unwrap();
    assert_eq!(counts_of(&waiting, "dead").unwrap(), 0, "{waiting}");
    installation
        .simulator
        .set_faults(simulator::faults::Faults::default());
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    let campaign = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &campaign, 4).await;
    assert_eq!(installation.simulator.truth().accepted, 4);
    // Thirteen refusals that all counted would have been four of one message at least.
    let auditor = Database::connect(&installation.config().database, Role::ReadonlyAudit)
        .await
        .unwrap();
    let used_up = scratch::count_rows(&auditor, "messages WHERE counted_attempts > 3")
        .await
        .unwrap();
    assert_eq!(used_up, 0);
    drop(auditor);
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_meta_throttles_slows_down_and_loses_nothing() {
    let installation = start("throttle", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "throttle", PlanChoice::FREE, 400)
        .await
        .unwrap();
    installation
        .simulator
        .set_number_rate(&tenant.phone_number_id, 100);
    let campaign = tenant.launch_to("eager", 50_000_000, 500).await.unwrap();
    let finished = tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    assert!(
        installation.simulator.truth().throttled > 0,
        "nothing was throttled: the test proves nothing"
    );
    assert_eq!(
        counts_of(&finished, "dead").unwrap() + counts_of(&finished, "failed").unwrap(),
        0,
        "{finished}"
    );
    let campaign = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &campaign, 500).await;
    assert_eq!(installation.simulator.truth().accepted, 500);
    assert_eq!(usage(&tenant, "captured").await, billable(&installation));
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_pause_their_campaign_once_and_a_person_has_the_last_word() {
    let mut simulator = Config::for_tests();
    simulator.faults.refused_share = 0.5;
    simulator.faults.refused_code = Some(132_012);
    let installation = start("malformed", simulator, &[]).await;
    let tenant = Tenant::create(&installation, "malformed", PlanChoice::FREE, 100)
        .await
        .unwrap();
    let campaign = tenant.launch_to("swapped", 60_000_000, 600).await.unwrap();
    let paused = eventually("the campaign pauses", SOON, || async {
        let found = tenant.campaign(&campaign).await?;
        Ok((found["state"] == "paused").then_some(found))
    })
    .await
    .unwrap();
    assert_eq!(paused["reason"], "messages_malformed", "{paused}");
    assert!(counts_of(&paused, "planned").unwrap() > 0, "{paused}");
    tenant.tell(&campaign, "resume").await.unwrap();
    let finished = tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    assert!(counts_of(&finished, "failed").unwrap() > 200, "{finished}");
    let campaign = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &campaign, 600).await;
    assert_eq!(usage(&tenant, "captured").await, billable(&installation));
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_and_disordered_webhooks_change_nothing() {
    let mut simulator = Config::for_tests();
    simulator.faults.duplicated_webhook_share = 0.5;
    simulator.faults.reordered_webhook_share = 0.5;
    simulator.faults.late_webhook_share = 0.1;
    let installation = start("webhooks", simulator, &[]).await;
    let tenant = Tenant::create(&installation, "webhooks", PlanChoice::FREE, 500)
        .await
        .unwrap();
    let campaign = tenant.launch_to("noisy", 60_000_000, 300).await.unwrap();
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    let campaign = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &campaign, 300).await;
    assert!(
        installation.simulator.truth().webhooks_duplicated > 20,
        "nothing was repeated: the test proves nothing"
    );
    let arrived = counts_of(&campaign, "delivered").unwrap() + counts_of(&campaign, "read").unwrap();
    assert_eq!(arrived, 300, "{campaign}");
    assert_eq!(usage(&tenant, "captured").await, billable(&installation));
    assert_eq!(billable(&installation), 300);
    installation.stop().await.unwrap();
}
