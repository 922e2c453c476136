//! Campaign, queue, send, webhook, bill: the whole way, and what Meta says about it.

use malote::trial::{PlanChoice, Tenant, counts_of};
use simulator::config::Config;

use crate::support::{SOON, billable, check_promises, start, usage};

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_sent_followed_and_billed() {
    let mut simulator = Config::for_tests();
    simulator.faults.free_share = 0.1;
    let installation = start("happy", simulator, &[]).await;
    let plan = PlanChoice {
        allowance_units: 100,
        policy: "overage",
        overage_price_micros: 50_000,
        fee_minor: 2_900,
    };
    let tenant = Tenant::create(&installation, "happy", plan, 500).await.unwrap();
    let campaign = tenant.launch_to("spring", 10_000_000, 400).await.unwrap();
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();

    let campaign = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &campaign, 400).await;
    let arrived = counts_of(&campaign, "delivered").unwrap() + counts_of(&campaign, "read").unwrap();
    assert_eq!(arrived, 400, "{campaign}");

    let captured = usage(&tenant, "captured").await;
    assert_eq!(captured, billable(&installation));
    assert!((300..400).contains(&captured), "some are free: {captured}");
    assert_eq!(usage(&tenant, "free").await, 400 - captured);
    assert_eq!(usage(&tenant, "held").await, 0);

    let invoices = tenant.api.get("/v1/invoices").await.unwrap();
    let expected = 2_900 + (captured - 100) * 5;
    assert_eq!(invoices["items"][0]["total_minor"], expected, "{invoices}");
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_message_has_a_timeline() {
    let installation = start("single", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "single", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let message = serde_json::json!({
        "sender_id": tenant.sender, "to": "+351 910 000 001", "category": "utility",
        "template": {"name": "order_update", "language": "en_US", "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}]},
    });
    let accepted = tenant.api.post("/v1/messages", &message).await.unwrap();
    let path = format!("/v1/messages/{}", accepted["id"].as_str().unwrap());
    let arrived = malote::trial::eventually("the message arrives", SOON, || async {
        let message = tenant.api.get(&path).await?;
        let state = message["state"].as_str().unwrap_or_default();
        Ok(["delivered", "read"].contains(&state).then_some(message))
    })
    .await
    .unwrap();
    assert!(
        arrived["timeline"]
            .as_array()
            .is_some_and(|timeline| timeline.len() >= 2),
        "{arrived}"
    );
    assert_eq!(installation.simulator.accepted_for("+351910000001"), 1);
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_plan_stops_exactly_at_its_allowance() {
    let installation = start("hard", Config::for_tests(), &[]).await;
    let plan = PlanChoice {
        allowance_units: 60,
        policy: "hard",
        overage_price_micros: 0,
        fee_minor: 0,
    };
    let tenant = Tenant::create(&installation, "hard", plan, 500).await.unwrap();
    let campaign = tenant.launch_to("too many", 20_000_000, 100).await.unwrap();
    let paused = malote::trial::eventually("the plan pauses the campaign", SOON, || async {
        let found = tenant.campaign(&campaign).await?;
        let blocked = found["state"] == "paused" && found["reason"] == "plan_blocked";
        Ok((blocked && counts_of(&found, "planned")? == 40).then_some(found))
    })
    .await
    .unwrap();
    installation.settle(SOON).await.unwrap();
    check_promises(&installation, &tenant, &paused, 100).await;
    assert_eq!(installation.simulator.truth().accepted, 60);
    assert_eq!(usage(&tenant, "captured").await, 60);
    installation.stop().await.unwrap();
}
