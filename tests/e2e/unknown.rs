//! Answers that are lost: what is known by a webhook, by Meta's history, or decided by the tenant, and never sent again blindly.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use malote::trial::{Client, Installation, PlanChoice, Tenant, counts_of, eventually};
use serde_json::{Value, json};
use simulator::config::Config;
use simulator::faults::Faults;

use crate::support::{SOON, billable, check_promises, start, usage};

const RECIPIENTS: u64 = 60;

fn lost_answers() -> Config {
    let mut simulator = Config::for_tests();
    simulator.faults.lost_answer_share = 0.3;
    simulator
}

async fn patch(client: &Client, path: &str, body: &Value) -> StatusCode {
    let body = Bytes::from(body.to_string());
    let answer = client.raw(Method::PATCH, path, "application/json", body).await;
    answer.expect("an answer").0
}

/// Lets no webhook arrive any more, those on their way included.
fn lose_webhooks(installation: &Installation) {
    installation.simulator.set_callback("nowhere".to_owned());
}

async fn count(tenant: &Tenant, campaign: &str, state: &str) -> i64 {
    let campaign = tenant.campaign(campaign).await.expect("a campaign");
    counts_of(&campaign, state).expect("a count")
}

async fn until_count(tenant: &Tenant, campaign: &str, state: &str, wanted: i64) {
    eventually("the count is reached", SOON, || async {
        let found = tenant.campaign(campaign).await?;
        Ok((counts_of(&found, state)? == wanted).then_some(()))
    })
    .await
    .expect("the count is reached");
}

async fn a_message(tenant: &Tenant, campaign: &str, state: &str) -> Value {
    let path = format!("/v1/messages?campaign_id={campaign}&state={state}&limit=1");
    let page = tenant.api.get(&path).await.expect("a page");
    let id = page["items"][0]["id"].as_str().expect("a message").to_owned();
    tenant
        .api
        .get(&format!("/v1/messages/{id}"))
        .await
        .expect("a message")
}

fn says(story: &Value, source: &str, status: &str) -> bool {
    let timeline = story["timeline"].as_array().expect("a timeline");
    timeline
        .iter()
        .any(|one| one["source"] == source && one["status"] == status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_settled_by_its_webhook_and_sent_once() {
    let installation = start("unknown_webhook", lost_answers(), &[]).await;
    let tenant = Tenant::create(&installation, "unknown", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let campaign = tenant
        .launch_to("answers lost", 21_000_000, RECIPIENTS)
        .await
        .unwrap();
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    let truth = installation.simulator.truth();
    assert!(truth.lost_answers > 5, "no answer was lost: {truth:?}");
    let found = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &found, 60).await;
    assert_eq!(counts_of(&found, "unknown").unwrap(), 0, "{found}");
    assert_eq!(usage(&tenant, "captured").await, billable(&installation));
    let metrics = installation.admin.get_text("/metrics").await.unwrap();
    let arose = "malote_messages_unknown_total{cause=\"connection_lost\"} ";
    let arose = metrics.lines().find_map(|line| line.strip_prefix(arose));
    assert_eq!(arose, Some(truth.lost_answers.to_string().as_str()), "{metrics}");
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_unknown_is_kept_resent_or_given_up_as_the_tenant_says() {
    let installation = start("unknown_policy", lost_answers(), &[]).await;
    lose_webhooks(&installation);
    let (mut tenants, mut campaigns, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (number, name) in ["keep", "resend", "fail"].into_iter().enumerate() {
        let tenant = Tenant::create(&installation, name, PlanChoice::FREE, 80)
            .await
            .unwrap();
        let first = 22_000_000 + number as u64 * 1_000;
        campaigns.push(tenant.launch_to(name, first, RECIPIENTS).await.unwrap());
        tenants.push(tenant);
    }
    for (tenant, campaign) in tenants.iter().zip(&campaigns) {
        let finished = tenant.finished(campaign, SOON).await.unwrap();
        unknown.push(counts_of(&finished, "unknown").unwrap());
    }
    assert!(unknown.iter().all(|unknown| *unknown > 3), "{unknown:?}");
    assert_eq!(installation.simulator.truth().most_accepted_for_one_recipient, 1);

    installation.simulator.set_faults(Faults::default());
    for (tenant, policy) in tenants.iter().zip(["keep", "resend", "fail"]) {
        let path = format!("/admin/v1/tenants/{}", tenant.id);
        let body = json!({"unknown_policy": policy, "unknown_after_seconds": 5});
        assert_eq!(patch(&installation.admin, &path, &body).await, StatusCode::OK);
    }
    let wrong = json!({"unknown_policy": "guess"});
    let path = format!("/admin/v1/tenants/{}", tenants[0].id);
    assert_eq!(
        patch(&installation.admin, &path, &wrong).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    until_count(&tenants[1], &campaigns[1], "unknown", 0).await;
    until_count(&tenants[1], &campaigns[1], "accepted", 60).await;
    until_count(&tenants[2], &campaigns[2], "failed", unknown[2]).await;
    assert_eq!(
        count(&tenants[0], &campaigns[0], "unknown").await,
        unknown[0],
        "kept"
    );
    assert_eq!(installation.simulator.truth().most_accepted_for_one_recipient, 2);

    let given_up = a_message(&tenants[2], &campaigns[2], "failed").await;
    assert!(
        says(&given_up, "attempt", "unknown") && says(&given_up, "policy", "failed"),
        "{given_up}"
    );

    let settle = json!({"campaign_id": campaigns[0], "action": "fail"});
    let api = tenants[0].api.clone().with_idempotency_key("decided once");
    let settling = api.post("/v1/messages/unknown/settle", &settle).await.unwrap();
    assert_eq!(settling["settling"], unknown[0], "{settling}");
    assert_eq!(
        api.post("/v1/messages/unknown/settle", &settle).await.unwrap(),
        settling
    );
    until_count(&tenants[0], &campaigns[0], "failed", unknown[0]).await;
    let by_hand = a_message(&tenants[0], &campaigns[0], "failed").await;
    assert!(says(&by_hand, "hand", "failed"), "{by_hand}");
    for (tenant, unknown) in [(&tenants[0], unknown[0]), (&tenants[2], unknown[2])] {
        eventually("what was given up is given back", SOON, || async {
            Ok((usage(tenant, "held").await == 60 - unknown).then_some(()))
        })
        .await
        .unwrap();
    }
    let report = installation.verify_audit(None).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn metas_history_tells_what_no_webhook_did() {
    let settings = [("MALOTE_PIPELINE__HISTORY_AFTER_SECONDS", "2")];
    let installation = start("history", Config::for_tests(), &settings).await;
    lose_webhooks(&installation);
    let tenant = Tenant::create(&installation, "history", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let campaign = tenant.launch_to("silent", 23_000_000, 10).await.unwrap();
    tenant.finished(&campaign, SOON).await.unwrap();
    eventually("the history tells", SOON, || async {
        let found = tenant.campaign(&campaign).await?;
        Ok((counts_of(&found, "delivered")? + counts_of(&found, "read")? == 10).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(installation.simulator.truth().webhooks_sent, 0);
    let state = if count(&tenant, &campaign, "read").await > 0 {
        "read"
    } else {
        "delivered"
    };
    let story = a_message(&tenant, &campaign, state).await;
    assert!(says(&story, "history", "delivered"), "{story}");
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_server_was_sending_becomes_unknown_though_nothing_else_wakes_its_owner() {
    let settings = [
        ("MALOTE_PIPELINE__CLAIM_DEADLINE_MS", "10000"),
        ("MALOTE_META__TIMEOUT_MS", "9000"),
    ];
    // No answer comes before the server is killed.
    let mut simulator = Config::for_tests();
    simulator.faults.answer_delay_min_ms = 8_000;
    let mut installation = start("unknown_death", simulator, &settings).await;
    lose_webhooks(&installation);
    let mut tenant = Tenant::create(&installation, "death", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let campaign = tenant.launch_to("cut off", 24_000_000, 5).await.unwrap();
    eventually("all are on their way", SOON, || async {
        Ok((installation.simulator.truth().accepted == 5).then_some(()))
    })
    .await
    .unwrap();
    installation.kill_and_restart().await.unwrap();
    tenant.reconnect(&installation);
    lose_webhooks(&installation);
    until_count(&tenant, &campaign, "unknown", 5).await;
    let story = a_message(&tenant, &campaign, "unknown").await;
    assert!(says(&story, "attempt", "unknown"), "{story}");
    assert_eq!(
        installation.simulator.truth().accepted,
        5,
        "nothing is sent again"
    );
    installation.stop().await.unwrap();
}
