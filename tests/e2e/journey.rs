//! What the logs tell: one message's way under one id, through every part; and what they never tell, at whatever level.

use std::collections::BTreeSet;

use malote::trial::{Installation, PlanChoice, Tenant, eventually};
use serde_json::{Value, json};
use simulator::config::Config;

use crate::support::{SOON, start};

/// Everything that our own code can say, as JSON.
const TELL_ALL: [(&str, &str); 2] = [
    ("MALOTE_TELEMETRY__LOG_FORMAT", "json"),
    (
        "MALOTE_TELEMETRY__LOG_FILTER",
        "info,malote=trace,actors=trace,domain=trace,journey=debug",
    ),
];
/// The recipient of the message that is followed, as people write it and as Meta does.
const RECIPIENT: [&str; 2] = ["+351 910 555 077", "351910555077"];
/// The first recipient of a campaign; `launch_to` makes numbers of it.
const OF_CAMPAIGN: (u64, &str) = (66_123_450, "351966123450");
/// What the message says.
const SAID: &str = "Rosalind-of-the-body";

fn lines(installation: &Installation) -> Vec<Value> {
    let text = std::fs::read_to_string(installation.log()).expect("a log");
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(read).collect()
}

/// The steps of a trace: the words of a line, with its step where it has one.
fn steps(lines: &[Value], trace: &str) -> BTreeSet<String> {
    let of_trace = lines.iter().filter(|line| line["trace.id"] == trace);
    of_trace
        .map(|line| {
            let said = line["message"].as_str().unwrap_or_default();
            match line["step"].as_str() {
                Some(step) => format!("{said} {step}"),
                None => said.to_owned(),
            }
        })
        .collect()
}

async fn send(tenant: &Tenant) -> String {
    let message = json!({
        "sender_id": tenant.sender, "to": RECIPIENT[0], "category": "utility",
        "template": {"name": "order_update", "language": "en_US", "components": [
            {"type": "body", "parameters": [{"type": "text", "text": SAID}]}]},
    });
    let accepted = tenant
        .api
        .post("/v1/messages", &message)
        .await
        .expect("it is taken and arrives");
    let id = accepted["id"].as_str().expect("an id").to_owned();
    eventually("the message arrives", SOON, || async {
        let found = tenant.api.get(&format!("/v1/messages/{id}")).await?;
        let state = found["state"].as_str().unwrap_or_default();
        Ok(["delivered", "read"].contains(&state).then_some(()))
    })
    .await
    .expect("it is taken and arrives");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_tells_a_messages_way_and_no_line_names_anybody() {
    let installation = start("journey", Config::for_tests(), &TELL_ALL).await;
    let tenant = Tenant::create(&installation, "journey", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let id = send(&tenant).await;
    let campaign = tenant.launch_to("quiet", OF_CAMPAIGN.0, 3).await.unwrap();
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();

    let all = lines(&installation);
    let trace = id.replace('-', "");
    let told = steps(&all, &trace);
    for step in [
        "a message is stored",
        "a delivery is published",
        "a delivery is taken",
        "an attempt is claimed",
        "an attempt accepted",
        "a status is stored",
        "a delivery is settled",
    ] {
        assert!(told.contains(step), "{step:?} is missing in {told:?}");
    }
    // The statuses' deliveries continue the trace, not only the message's own.
    let published = all
        .iter()
        .filter(|line| line["message"] == "a delivery is published");
    let of_trace: Vec<&str> = published
        .filter(|line| line["trace.id"] == trace.as_str())
        .filter_map(|line| line["ids"].as_str())
        .collect();
    assert!(of_trace.contains(&id.as_str()), "the message's own: {of_trace:?}");
    let stored = all
        .iter()
        .find(|line| line["message"] == "a status is stored" && line["trace.id"] == trace.as_str());
    let event = stored
        .and_then(|line| line["event.id"].as_str())
        .expect("an event");
    assert!(
        of_trace.iter().any(|ids| ids.contains(event)),
        "{event} in {of_trace:?}"
    );

    let text = std::fs::read_to_string(installation.log()).expect("a log");
    let secrets = [
        RECIPIENT[0],
        RECIPIENT[1],
        OF_CAMPAIGN.1,
        SAID,
        "a-token-of-the-trial",
        tenant.key.as_str(),
        installation.admin_key(),
    ];
    for secret in secrets {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a line names {secret}");
    }
    assert!(
        all.len() > 20,
        "the level is too low to prove anything: {}",
        all.len()
    );
    installation.stop().await.unwrap();
}
