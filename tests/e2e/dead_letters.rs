//! Dead letters by the tenant's API and by the operators' command line.

use std::process::Output;

use malote::storage::{Database, Role};
use malote::trial::{Installation, PlanChoice, Tenant, counts_of, eventually};
use serde_json::{Value, json};
use simulator::config::Config;
use simulator::faults::Faults;

use crate::support::{SOON, check_promises, start};

/// Retries follow quickly, so that a test sees the last one, and a Meta that refuses everything is forgiven nothing.
const QUICK_RETRIES: [(&str, &str); 2] = [
    ("MALOTE_PIPELINE__RETRY_FIRST_DELAY_MS", "50"),
    ("MALOTE_PIPELINE__REFUSALS_FORGIVEN_SECONDS", "0"),
];

/// A tenant whose campaign of 20 has died whole.
async fn doomed(name: &'static str) -> (Installation, Tenant, String) {
    let mut simulator = Config::for_tests();
    simulator.faults.transient_error_share = 1.0;
    let installation = start(name, simulator, &QUICK_RETRIES).await;
    let tenant = Tenant::create(&installation, "letters", PlanChoice::FREE, 500)
        .await
        .expect("an answer");
    let campaign = tenant
        .launch_to("doomed", 90_000_000, 20)
        .await
        .expect("an answer");
    let finished = tenant.finished(&campaign, SOON).await.expect("an answer");
    assert_eq!(counts_of(&finished, "dead").expect("an answer"), 20, "{finished}");
    (installation, tenant, campaign)
}

async fn list(tenant: &Tenant, query: &str) -> Vec<Value> {
    let page = tenant
        .api
        .get(&format!("/v1/dead-letters{query}"))
        .await
        .expect("an answer");
    page["items"].as_array().expect("items").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_inspects_replays_and_purges_its_letters() {
    let (installation, tenant, campaign) = doomed("letters_api").await;
    let letters = list(
        &tenant,
        &format!("?campaign_id={campaign}&kind=attempts_exhausted"),
    )
    .await;
    assert_eq!(letters.len(), 20);
    let class = letters[0]["class"].as_str().expect("a class");
    let alike = letters.iter().filter(|letter| letter["class"] == class).count();
    let found = list(&tenant, &format!("?class={class}")).await;
    assert_eq!(found.len(), alike, "{found:?}");
    let id = letters[0]["id"].as_str().expect("an answer");
    let story = tenant
        .api
        .get(&format!("/v1/dead-letters/{id}"))
        .await
        .expect("an answer");
    assert_eq!(story["kind"], "attempts_exhausted", "{story}");
    assert_eq!(
        (&story["replay"]["safe"], &story["attempts"]),
        (&json!(true), &json!(5))
    );
    let timeline = story["timeline"].as_array().expect("an answer");
    let attempts = timeline.iter().filter(|one| one["source"] == "attempt");
    assert_eq!(attempts.count(), 5, "{story}");
    assert!(
        story["replay_would"]
            .as_str()
            .expect("an answer")
            .contains("campaign run"),
        "{story}"
    );
    assert!(list(&tenant, "?kind=poison").await.is_empty());

    purge_with_a_reason(&tenant, id).await;

    installation.simulator.set_faults(Faults::default());
    let replay = json!({"campaign_id": campaign, "kind": "attempts_exhausted", "dry_run": true});
    let would = tenant
        .api
        .post("/v1/dead-letters/replay", &replay)
        .await
        .expect("an answer");
    assert_eq!(
        (&would["replayed"], &would["dry_run"]),
        (&json!(19), &json!(true))
    );
    assert_eq!(list(&tenant, "").await.len(), 19, "a dry run moves nothing");
    let replay = json!({"campaign_id": campaign, "kind": "attempts_exhausted"});
    let done = tenant
        .api
        .post("/v1/dead-letters/replay", &replay)
        .await
        .expect("an answer");
    assert_eq!(done["replayed"], 19, "{done}");
    arrived(&tenant, &campaign, 19).await;
    installation.settle(SOON).await.expect("an answer");
    let campaign = tenant.campaign(&campaign).await.expect("an answer");
    check_promises(&installation, &tenant, &campaign, 20).await;
    installation.stop().await.expect("an answer");
}

async fn purge_with_a_reason(tenant: &Tenant, id: &str) {
    let purge = json!({"ids": [id]});
    let refused = tenant
        .api
        .post("/v1/dead-letters/purge", &purge)
        .await
        .expect_err("a refusal");
    assert!(refused.to_string().contains("say why"), "{refused}");
    let purge = json!({"ids": [id], "reason": "a wrong number"});
    let purged = tenant
        .api
        .post("/v1/dead-letters/purge", &purge)
        .await
        .expect("an answer");
    assert_eq!((&purged["purged"], &purged["skipped"]), (&json!(1), &json!(0)));
    let again = tenant
        .api
        .post("/v1/dead-letters/purge", &purge)
        .await
        .expect("an answer");
    assert_eq!((&again["purged"], &again["skipped"]), (&json!(0), &json!(1)));
}

async fn arrived(tenant: &Tenant, campaign: &str, many: i64) {
    let waited = eventually("the replay arrives", SOON, || async {
        let found = tenant.campaign(campaign).await?;
        let arrived = counts_of(&found, "delivered")? + counts_of(&found, "read")?;
        Ok((arrived == many && found["state"] == "finished").then_some(()))
    });
    waited.await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_a_cancelled_campaign_are_refused_with_the_reason() {
    let (installation, tenant, campaign) = doomed("letters_cancelled").await;
    // As if it had been cancelled while it ran: by hand, since a finished campaign takes no cancellation.
    let database = Database::connect(&installation.config().database, Role::AppSystem)
        .await
        .expect("an answer");
    let mut connection = database.get().await.expect("an answer");
    let id: uuid::Uuid = campaign.parse().expect("an answer");
    connection
        .execute("UPDATE campaigns SET state = 'cancelled' WHERE id = $1", &[&id])
        .await
        .expect("an answer");
    drop((connection, database));
    let replay = json!({"campaign_id": campaign, "force": true});
    let refused = tenant
        .api
        .post("/v1/dead-letters/replay", &replay)
        .await
        .expect_err("a refusal");
    assert!(refused.to_string().contains("was cancelled"), "{refused}");
    let id = list(&tenant, "").await[0]["id"].clone();
    let by_id = json!({"ids": [id], "force": true});
    let done = tenant
        .api
        .post("/v1/dead-letters/replay", &by_id)
        .await
        .expect("an answer");
    assert_eq!(done["reasons"][0]["code"], "campaign_cancelled", "{done}");
    installation.stop().await.expect("an answer");
}

/// Runs `malote dead-letters` on an installation.
fn malote(installation: &Installation, arguments: &[&str]) -> (i32, Value, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = installation
        .command(&[&["dead-letters"], arguments].concat())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    let json = serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap_or(Value::Null);
    (status.code().unwrap_or(-1), json, text + &said)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_works_through_the_letters_by_the_command_line() {
    let (installation, tenant, campaign) = doomed("letters_cli").await;
    let (code, first, text) = malote(&installation, &["list", "--json"]);
    assert_eq!((code, text.lines().count()), (0, 20), "{text}");
    let id = first["id"].as_str().expect("an answer");
    let (code, shown, text) = malote(&installation, &["show", id, "--json"]);
    assert_eq!((code, &shown["class"]), (0, &first["class"]), "{text}");
    assert!(!text.contains("+3519"), "no phone number: {text}");

    assert_eq!(
        malote(&installation, &["replay", "--all"]).0,
        2,
        "nobody takes the blame"
    );
    assert_eq!(
        malote(&installation, &["replay", "--by", "ana"]).0,
        2,
        "nothing is named"
    );
    assert_eq!(
        malote(&installation, &["purge", "--all", "--by", "ana"]).0,
        2,
        "no reason"
    );
    let purge = ["purge", "--id", id, "--by", "ana", "--reason", "a test", "--json"];
    let (code, purged, text) = malote(&installation, &purge);
    assert_eq!((code, &purged["moved"]), (0, &json!(1)), "{text}");
    let (code, again, text) = malote(&installation, &purge);
    assert_eq!((code, &again["skipped"]["gone"]), (1, &json!(1)), "{text}");

    installation.simulator.set_faults(Faults::default());
    let of_tenant = tenant.id.to_string();
    let replay = [
        "replay",
        "--tenant",
        &of_tenant,
        "--kind",
        "attempts_exhausted",
        "--dry-run",
    ];
    let (code, _, text) = malote(&installation, &replay);
    assert_eq!((code, text.trim()), (0, "19 letters would be replayed"));
    let replay = [
        "replay",
        "--tenant",
        &of_tenant,
        "--kind",
        "attempts_exhausted",
        "--by",
        "ana",
    ];
    let (code, _, text) = malote(&installation, &replay);
    assert_eq!((code, text.trim()), (0, "19 letters replayed"));
    arrived(&tenant, &campaign, 19).await;
    assert_eq!(malote(&installation, &["list"]).2.trim(), "no dead letters");
    installation.stop().await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_nobody_can_read_is_kept_replayed_and_purged() {
    let installation = start("letters_broker", Config::for_tests(), &[]).await;
    let settings = &installation.config().broker;
    let queue = format!("{}inbox.00", settings.prefix);
    let broker = malote::broker::Broker::new(settings, 4).expect("an answer");
    let foreign: &[u8] = b"no envelope of ours";
    broker
        .deliver_again(vec![(&queue, foreign)])
        .await
        .expect("an answer");
    let kept = eventually("the delivery is kept", SOON, || async {
        let (_, letter, _) = malote(&installation, &["list", "--kind", "undecodable", "--json"]);
        Ok(letter["id"].as_str().map(str::to_owned))
    });
    let id = kept.await.expect("an answer");
    let shown = eventually("the metric shows it", SOON, || async {
        let metrics = installation.admin.get_text("/metrics").await?;
        let line = "malote_dead_letters_open{kind=\"undecodable\"} 1";
        Ok(metrics.lines().any(|shown| shown == line).then_some(()))
    });
    shown.await.expect("an answer");
    let (code, _, text) = malote(&installation, &["replay", "--id", &id, "--by", "ana"]);
    assert_eq!((code, text.trim()), (0, "1 letter replayed"));
    let back = eventually("it comes back", SOON, || async {
        let (_, letter, _) = malote(&installation, &["list", "--json"]);
        let other = letter["id"].as_str().filter(|other| *other != id);
        Ok(other.map(str::to_owned))
    });
    let other = back.await.expect("an answer");
    let purge = ["purge", "--id", &other, "--by", "ana", "--reason", "foreign"];
    let (code, _, text) = malote(&installation, &purge);
    assert_eq!((code, text.trim()), (0, "1 letter purged"));
    assert_eq!(malote(&installation, &["list"]).2.trim(), "no dead letters");
    installation.stop().await.expect("an answer");
}
