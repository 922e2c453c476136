//! Canaries, sending windows, schedules, and what a campaign says of itself: its pace, its failures, its report.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use malote::trial::{PlanChoice, Tenant, counts_of, eventually};
use serde_json::{Value, json};
use simulator::config::Config;

use crate::support::{SOON, check_promises, start, usage};

/// Makes and fills a draft.
async fn filled(tenant: &Tenant, change: &Value, recipients: &[String]) -> String {
    let mut body = json!({
        "name": "a launch", "sender_id": tenant.sender,
        "template": {"name": "order_update", "language": "en_US",
            "components": [{"type": "body", "parameters": [{"type": "text", "text": "{{name}}"}]}]},
    });
    for (field, value) in change.as_object().expect("an answer") {
        body[field] = value.clone();
    }
    let made = tenant.api.post("/v1/campaigns", &body).await.expect("an answer");
    let campaign = made["id"].as_str().expect("an answer").to_owned();
    let rows: String = recipients
        .iter()
        .map(|recipient| format!("{recipient},Ana\n"))
        .collect();
    let report = tenant
        .upload(&campaign, format!("recipient,name\n{rows}"))
        .await
        .expect("an answer");
    assert_eq!(report["accepted"], recipients.len(), "{report}");
    campaign
}

fn lisbon(from: u64, number: u64) -> Vec<String> {
    (from..from + number)
        .map(|number| format!("+3519{number:08}"))
        .collect()
}

async fn launch(tenant: &Tenant, campaign: &str, body: &Value) -> anyhow::Result<Value> {
    tenant
        .api
        .post(&format!("/v1/campaigns/{campaign}/launch"), body)
        .await
}

fn canary(max_failure_percent: u32) -> Value {
    json!({"canary": {"percent": 10, "hold_minutes": 1, "max_failure_percent": max_failure_percent, "then": "continue"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_arrives_lets_the_rest_follow() {
    let installation = start("canary", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "canary", PlanChoice::FREE, 500)
        .await
        .unwrap();
    let campaign = filled(&tenant, &json!({}), &lisbon(10_000_000, 200)).await;
    launch(&tenant, &campaign, &canary(20)).await.unwrap();
    let found = tenant.finished(&campaign, SOON).await.unwrap();
    let canary = &found["canary"];
    assert_eq!(
        (&canary["state"], &canary["size"], &canary["failed"]),
        (&json!("passed"), &json!(20), &json!(0)),
        "{found}"
    );
    assert_eq!(canary["done"], 20, "{canary}");
    installation.settle(SOON).await.unwrap();
    let found = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &found, 200).await;
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_stops_the_campaign_and_its_failures_say_why() {
    let mut simulator = Config::for_tests();
    simulator.faults.failed_share = 1.0;
    let installation = start("canaryfail", simulator, &[]).await;
    let tenant = Tenant::create(&installation, "canaryfail", PlanChoice::FREE, 500)
        .await
        .unwrap();
    let campaign = filled(&tenant, &json!({}), &lisbon(20_000_000, 200)).await;
    // Not before the last of them has failed.
    launch(&tenant, &campaign, &canary(99)).await.unwrap();
    let found = eventually("the canary stops it", SOON, || async {
        let found = tenant.campaign(&campaign).await?;
        Ok((found["reason"] == "canary_failed").then_some(found))
    })
    .await
    .unwrap();
    assert_eq!(found["canary"]["state"], "failed", "{found}");
    assert_eq!(
        installation.simulator.truth().accepted,
        20,
        "only the canary left"
    );
    assert_eq!(counts_of(&found, "planned").unwrap(), 180);
    installation.settle(SOON).await.unwrap();
    let failures = tenant
        .api
        .get(&format!("/v1/campaigns/{campaign}/failures"))
        .await
        .unwrap();
    let cause = &failures["causes"][0];
    assert_eq!(
        (&failures["total"], &cause["code"], &cause["count"]),
        (&json!(20), &json!(131_026), &json!(20)),
        "{failures}"
    );
    assert_eq!(
        (&cause["class"], &cause["replayable"]),
        (&json!("recipient_terminal"), &json!(false)),
        "{failures}"
    );
    assert_eq!(failures["replay"], Value::Null);
    installation
        .simulator
        .set_faults(simulator::faults::Faults::default());
    tenant.tell(&campaign, "resume").await.unwrap();
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    let found = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &found, 200).await;
    assert_eq!(counts_of(&found, "failed").unwrap(), 20);
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sleeps_is_written_to_later_and_the_campaign_says_so() {
    let installation = start("window", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "window", PlanChoice::FREE, 500)
        .await
        .unwrap();
    // Noon in one place is midnight in the other.
    let hour = TimeZone::get("Pacific/Auckland")
        .unwrap()
        .to_datetime(Timestamp::now())
        .hour()
        .min(22);
    let window = json!({"window": {"start": format!("{hour:02}:00"), "end": format!("{:02}:00", hour + 2)}});
    let awake: Vec<String> = (0..10).map(|number| format!("+6421{number:07}")).collect();
    let everybody = [lisbon(30_000_000, 20), awake.clone()].concat();
    let campaign = filled(&tenant, &window, &everybody).await;
    let preflight = tenant
        .api
        .get(&format!("/v1/campaigns/{campaign}/preflight"))
        .await
        .unwrap();
    let would_finish: Timestamp = preflight["would_finish_at"].as_str().unwrap().parse().unwrap();
    assert!(
        would_finish.as_second() - Timestamp::now().as_second() > 3_600,
        "{preflight}"
    );
    launch(&tenant, &campaign, &json!({})).await.unwrap();
    let found = eventually("those who are awake are written to", SOON, || async {
        let found = tenant.campaign(&campaign).await?;
        let waits = found["progress"]["binding_limit"] == "window";
        Ok((waits && installation.simulator.truth().accepted == 10).then_some(found))
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(installation.simulator.truth().accepted, 10);
    assert_eq!(counts_of(&found, "planned").unwrap(), 20, "{found}");
    assert!(
        awake
            .iter()
            .all(|recipient| installation.simulator.accepted_for(recipient) == 1)
    );
    let ends: Timestamp = found["progress"]["estimated_end"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(ends.as_second() - Timestamp::now().as_second() > 3_600, "{found}");
    tenant.tell(&campaign, "cancel").await.unwrap();
    installation.stop().await.unwrap();
}

/// Nine o'clock on the fifteenth of the month that comes next, without a zone.
fn next_ninth_hour(month: i8) -> String {
    let soon = Timestamp::now() + Duration::from_secs(300);
    let soon = soon
        .to_zoned(TimeZone::get("Europe/Lisbon").expect("a zone"))
        .datetime();
    let this_year = jiff::civil::date(soon.year(), month, 15).at(9, 0, 0, 0);
    let year = soon.year() + i16::from(this_year <= soon);
    format!("{year}-{month:02}-15T09:00")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_local_and_one_that_is_over_is_refused() {
    let installation = start("schedule", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "schedule", PlanChoice::FREE, 500)
        .await
        .unwrap();
    let (winter, summer) = (next_ninth_hour(1), next_ninth_hour(7));
    let campaign = filled(&tenant, &json!({"schedule_at": winter}), &lisbon(40_000_000, 3)).await;
    let scheduled = launch(&tenant, &campaign, &json!({})).await.unwrap();
    assert_eq!(scheduled["state"], "scheduled");
    assert_eq!(
        scheduled["schedule_at"],
        format!("{winter}:00Z"),
        "it is Lisbon's"
    );
    assert_eq!(scheduled["timezone"], "Europe/Lisbon");
    let over = launch(
        &tenant,
        &campaign,
        &json!({"schedule_at": "2026-01-01T09:00:00Z"}),
    )
    .await;
    let refused = over.expect_err("it is over").to_string();
    assert!(
        refused.contains("422") && refused.contains("null to start now"),
        "{refused}"
    );
    let moved = launch(&tenant, &campaign, &json!({"schedule_at": summer}))
        .await
        .unwrap();
    assert_eq!(
        moved["schedule_at"],
        summer.replace("T09:00", "T08:00:00Z"),
        "summer time: {moved}"
    );
    launch(&tenant, &campaign, &json!({"schedule_at": null}))
        .await
        .unwrap();
    let found = tenant.finished(&campaign, SOON).await.unwrap();
    let first = &found["history"][0];
    assert_eq!(
        (&first["from"], &first["to"], &first["by"]),
        (&json!("draft"), &json!("scheduled"), &json!("tenant")),
        "{found}"
    );
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_agrees_with_meta_and_the_invoice() {
    let mut simulator = Config::for_tests();
    simulator.faults.free_share = 0.1;
    simulator.faults.refused_recipients = lisbon(50_000_000, 7).into_iter().collect();
    let installation = start("report", simulator, &[]).await;
    let plan = PlanChoice {
        allowance_units: 100,
        policy: "overage",
        overage_price_micros: 50_000,
        fee_minor: 0,
    };
    let tenant = Tenant::create(&installation, "report", plan, 500).await.unwrap();
    let campaign = filled(&tenant, &json!({}), &lisbon(50_000_000, 300)).await;
    launch(&tenant, &campaign, &json!({})).await.unwrap();
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    let report = tenant
        .api
        .get_text(&format!("/v1/campaigns/{campaign}/report"))
        .await
        .unwrap();
    let mut rows = csv::Reader::from_reader(report.as_bytes());
    let columns = rows.headers().unwrap().clone();
    let column = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let (mut units, mut micros, mut failed, mut number) = (0, 0, 0, 0);
    for row in rows.records() {
        let row = row.unwrap();
        number += 1;
        let is_refused = row[column("state")] == *"failed";
        assert_eq!(
            installation.simulator.accepted_for(&row[column("recipient")]),
            u32::from(!is_refused)
        );
        units += row[column("units")].parse::<i64>().unwrap();
        micros += row[column("cost")].replace('.', "").parse::<i64>().unwrap();
        failed += i64::from(is_refused && row[column("cause_code")] == *"131026");
        assert_eq!(&row[column("currency")], "EUR");
        assert_eq!(
            row[column("delivered_at")].is_empty() && row[column("read_at")].is_empty(),
            is_refused,
            "{row:?}"
        );
    }
    assert_eq!((number, failed), (300, 7));
    let captured = usage(&tenant, "captured").await;
    assert_eq!(units, captured);
    assert_eq!(
        micros,
        (captured - 100) * 50_000,
        "what the invoice charges beyond the allowance"
    );
    let found = tenant.campaign(&campaign).await.unwrap();
    check_promises(&installation, &tenant, &found, 300).await;
    installation.stop().await.unwrap();
}
