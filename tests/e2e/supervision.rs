//! A child that ends between a committed claim and its call: the rows say what is left to do.

use std::time::Duration;

use malote::trial::{PlanChoice, Tenant};
use serde_json::json;
use simulator::config::Config;

use crate::support::{SOON, billable, check_promises, start, usage};

const MESSAGES: u64 = 600;

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_ends_after_a_committed_claim_loses_nothing_and_sends_nothing_twice() {
    let installation = start("supervision", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "supervision", PlanChoice::FREE, 100)
        .await
        .unwrap();
    let faults = [
        ("billing_counter", "committed", "panic", 3),
        ("billing_counter", "committed", "vanish", 1),
        ("send_queue", "claimed", "panic", 2),
        ("send_queue", "claimed", "stop", 1),
        ("rate_limiter", "handled", "panic", 3),
    ];
    for (child, step, deed, times) in faults {
        let fault = json!({"tenant_id": tenant.id.to_string(), "child": child, "step": step, "deed": deed, "times": times});
        installation.admin.post("/admin/v1/faults", &fault).await.unwrap();
    }
    let campaign = tenant.launch_to("struck", 80_000_000, MESSAGES).await.unwrap();
    let finished = tenant.finished(&campaign, SOON * 2).await.unwrap();
    installation.settle(Duration::from_secs(60)).await.unwrap();
    let planted = installation.admin.get("/admin/v1/faults").await.unwrap();
    for (number, (child, step, deed, times)) in faults.iter().enumerate() {
        assert_eq!(
            planted["items"][number]["struck"], *times,
            "{child} {step} {deed}: {planted}"
        );
    }
    let total = i64::try_from(MESSAGES).unwrap();
    check_promises(&installation, &tenant, &finished, total).await;
    assert_eq!(finished["counts"]["unknown"], 0, "{finished}");
    assert_eq!(installation.simulator.truth().accepted, MESSAGES);
    assert_eq!(usage(&tenant, "captured").await, billable(&installation));
    assert_eq!(usage(&tenant, "held").await, 0);
    installation.stop().await.unwrap();
}
