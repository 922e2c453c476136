//! A campaign pauses by itself with a reason that it can show, and goes on by itself when what paused it is over.

use std::time::{Duration, Instant};

use malote::trial::{Client, Installation, PlanChoice, Tenant, counts_of, eventually};
use serde_json::{Value, json};
use simulator::config::Config;

use crate::support::{SOON, check_promises, start, usage};

/// Meta's side of the installation.
struct Meta(Client);

impl Meta {
    fn of(installation: &Installation) -> Self {
        Self(Client::new(&installation.simulator.address().to_string()))
    }

    async fn set(&self, path: &str, body: &Value) {
        self.0
            .put(&format!("/_control/{path}"), body)
            .await
            .expect("an answer");
    }

    /// Tells of a change as Meta would, `ago` seconds old.
    async fn tell(&self, tenant: &Tenant, field: &str, value: &Value, ago: i64) {
        let change = json!({"waba_id": format!("9{}", tenant.phone_number_id), "field": field, "value": value,
            "time": jiff::Timestamp::now().as_second() - ago});
        let told = self
            .0
            .post("/_control/webhooks", &change)
            .await
            .expect("an answer");
        assert_eq!(told["acknowledged"], true);
    }
}

fn template_update(event: &str) -> Value {
    json!({"event": event, "message_template_id": 594_425_479_261_596_u64, "message_template_name": "order_update",
        "message_template_language": "en_US", "reason": "NONE"})
}

async fn paused(tenant: &Tenant, campaign: &str, reason: &str) -> Value {
    eventually(&format!("it pauses for {reason}"), SOON, || async {
        let found = tenant.campaign(campaign).await?;
        Ok((found["state"] == "paused" && found["reason"] == reason).then_some(found))
    })
    .await
    .expect("an answer")
}

/// Tells whether the campaign's history has such a change.
fn went(campaign: &Value, from: &str, to: &str, by: &str) -> bool {
    let history = campaign["history"].as_array().expect("a history");
    history.iter().any(|change| {
        change["from"] == from && change["to"] == to && change["by"] == by && change["evidence"].is_string()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_template_pauses_its_campaign_and_its_approval_resumes_it() {
    let installation = start("template", Config::for_tests(), &[]).await;
    let meta = Meta::of(&installation);
    let tenant = Tenant::create(&installation, "template", PlanChoice::FREE, 500)
        .await
        .unwrap();
    meta.set("templates/order_update", &json!({"status": "PAUSED"}))
        .await;
    let campaign = tenant.launch_to("too many", 10_000_000, 120).await.unwrap();
    let found = paused(&tenant, &campaign, "template_paused").await;
    assert!(
        went(&found, "running", "paused:template_paused", "worker"),
        "{found}"
    );
    // News of another template, and older news, change nothing.
    let mut other = template_update("APPROVED");
    other["message_template_name"] = json!("another");
    meta.tell(&tenant, "message_template_status_update", &other, 200)
        .await;
    meta.tell(
        &tenant,
        "message_template_status_update",
        &template_update("PAUSED"),
        100,
    )
    .await;
    meta.tell(
        &tenant,
        "message_template_status_update",
        &template_update("APPROVED"),
        300,
    )
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(tenant.campaign(&campaign).await.unwrap()["state"], "paused");
    meta.set("templates/order_update", &json!({"status": "APPROVED"}))
        .await;
    for _ in 0..2 {
        meta.tell(
            &tenant,
            "message_template_status_update",
            &template_update("APPROVED"),
            10,
        )
        .await;
    }
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    let found = tenant.campaign(&campaign).await.unwrap();
    assert!(
        went(&found, "paused:template_paused", "running", "meta"),
        "{found}"
    );
    check_promises(&installation, &tenant, &found, 120).await;
    assert_eq!(installation.simulator.truth().accepted, 120);
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_pauses_until_a_new_one_comes_and_a_pause_by_hand_stays() {
    let installation = start("token", Config::for_tests(), &[]).await;
    let meta = Meta::of(&installation);
    let tenant = Tenant::create(&installation, "token", PlanChoice::FREE, 500)
        .await
        .unwrap();
    meta.set("tokens", &json!({"revoked": ["a-token-of-the-trial"]}))
        .await;
    let campaign = tenant.launch_to("silent", 10_000_000, 60).await.unwrap();
    paused(&tenant, &campaign, "token_invalid").await;
    let by_hand = tenant.draft("by hand").await.unwrap();
    tenant
        .upload(&by_hand, "recipient,name\n+351920000000,Ana\n".to_owned())
        .await
        .unwrap();
    tenant.tell(&by_hand, "launch").await.unwrap();
    tenant.tell(&by_hand, "pause").await.unwrap();
    let path = format!("/v1/senders/{}", tenant.sender);
    let renewed = json!({"access_token": "a-new-token"});
    let body = renewed.to_string().into();
    let (status, _) = tenant
        .api
        .raw(hyper::Method::PATCH, &path, "application/json", body)
        .await
        .unwrap();
    assert!(status.is_success());
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    let found = tenant.campaign(&campaign).await.unwrap();
    assert!(
        went(&found, "paused:token_invalid", "running", "planner"),
        "{found}"
    );
    check_promises(&installation, &tenant, &found, 60).await;
    assert_eq!(installation.simulator.truth().accepted, 60);
    let kept = tenant.campaign(&by_hand).await.unwrap();
    assert_eq!(
        (&kept["state"], &kept["reason"]),
        (&json!("paused"), &json!("manual"))
    );
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_plan_lets_a_blocked_campaign_go_on_within_two_seconds() {
    let installation = start("upgrade", Config::for_tests(), &[]).await;
    let plan = |allowance_units| PlanChoice {
        allowance_units,
        policy: "hard",
        overage_price_micros: 0,
        fee_minor: 0,
    };
    // Its allowance counts for what is left of the period: enough on the last day of a month as well.
    let large = Tenant::create(&installation, "large", plan(10_000_000), 500)
        .await
        .unwrap();
    let mut blocked = Vec::new();
    for number in 0..3 {
        let tenant = Tenant::create(&installation, &format!("small{number}"), plan(50), 500)
            .await
            .unwrap();
        let first = 10_000_000 + number * 1_000;
        let campaign = tenant.launch_to("growing", first, 200).await.unwrap();
        let found = paused(&tenant, &campaign, "plan_blocked").await;
        assert!(
            went(&found, "running", "paused:plan_blocked", "worker"),
            "{found}"
        );
        blocked.push((tenant, campaign));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (tenant, campaign) in &blocked {
        let state = &tenant.campaign(campaign).await.unwrap()["state"];
        assert_eq!(state, "paused", "it does not flap");
    }
    let plans = installation
        .admin
        .get(&format!("/admin/v1/tenants/{}", large.id))
        .await
        .unwrap();
    let assigned = json!({"plan": plans["plan"]["code"].as_str().or(plans["plan"].as_str()).unwrap(), "effective": "now"});
    let mut waits = Vec::new();
    for (tenant, _) in &blocked {
        installation
            .admin
            .put(&format!("/admin/v1/tenants/{}/plan", tenant.id), &assigned)
            .await
            .unwrap();
        let since = Instant::now();
        eventually("it sends again", SOON, || async {
            let sent = installation.simulator.acceptances(&tenant.phone_number_id, since);
            Ok((!sent.is_empty()).then_some(()))
        })
        .await
        .unwrap();
        waits.push(since.elapsed());
    }
    waits.sort_unstable();
    println!("from the upgrade to the next message: {waits:?}");
    // The one between: a machine at work on other tests may stand still once.
    assert!(waits[1] < Duration::from_secs(2), "{waits:?}");
    assert!(waits[2] < Duration::from_secs(6), "{waits:?}");
    for (tenant, campaign) in &blocked {
        tenant.finished(campaign, SOON).await.unwrap();
        installation.settle(SOON).await.unwrap();
        let found = tenant.campaign(campaign).await.unwrap();
        assert!(
            went(&found, "paused:plan_blocked", "running", "planner"),
            "{found}"
        );
        check_promises(&installation, tenant, &found, 200).await;
        assert_eq!(usage(tenant, "captured").await, 200);
    }
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_number_rests_until_good_news_and_people_who_stop_are_suppressed() {
    let installation = start("number", Config::for_tests(), &[]).await;
    let meta = Meta::of(&installation);
    let tenant = Tenant::create(&installation, "number", PlanChoice::FREE, 500)
        .await
        .unwrap();
    let number = format!("numbers/{}", tenant.phone_number_id);
    meta.set(&number, &json!({"restricted": true})).await;
    let campaign = tenant.launch_to("held", 10_000_000, 60).await.unwrap();
    paused(&tenant, &campaign, "number_hold").await;
    let senders = tenant.api.get("/v1/senders").await.unwrap();
    assert_eq!(senders["items"][0]["state"], "held", "{senders}");
    let because = senders["items"][0]["held_because"].as_str().unwrap();
    assert!(because.contains("131048"), "{senders}");
    let now = jiff::Timestamp::now().as_second();
    let stop = |value: &str, timestamp: i64| {
        json!({"user_preferences": [{"wa_id": "351910000005", "category": "marketing_messages",
        "detail": "User requested to stop", "value": value, "timestamp": timestamp}]})
    };
    meta.tell(&tenant, "user_preferences", &stop("stop", now - 10), 10)
        .await;
    meta.tell(&tenant, "user_preferences", &stop("resume", now - 20), 5)
        .await;
    meta.set(&number, &json!({"restricted": false})).await;
    let unflagged =
        json!({"event": "UNFLAGGED", "display_phone_number": "351910000000", "current_limit": "TIER_10K"});
    meta.tell(&tenant, "phone_number_quality_update", &unflagged, 1)
        .await;
    let found = tenant.finished(&campaign, SOON).await.unwrap();
    assert!(went(&found, "paused:number_hold", "running", "meta"), "{found}");
    assert_eq!(counts_of(&found, "suppressed").unwrap(), 1, "{found}");
    assert_eq!(installation.simulator.accepted_for("+351910000005"), 0);
    installation.settle(SOON).await.unwrap();
    let found = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &found, 60).await;
    installation.stop().await.unwrap();
}
