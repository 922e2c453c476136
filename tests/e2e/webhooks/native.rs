//! The decision table of Meta's door.

use bytes::Bytes;
use domain::signature::sign_meta;
use domain::webhook::BYTES_MOST;
use hyper::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use super::scene::{PREVIOUS_APP_SECRET, Scene, envelope, said, unended, whole};

/// A row of the table: what is sent, how many statuses are new, and why it is in quarantine, if it is.
struct Row {
    name: &'static str,
    body: Vec<u8>,
    new: i64,
    quarantined: Option<&'static str>,
}

fn row(name: &'static str, body: Vec<u8>, new: i64, quarantined: Option<&'static str>) -> Row {
    Row {
        name,
        body,
        new,
        quarantined,
    }
}

/// Repeats and times: late is no fault, impossible is kept aside.
fn repeats_and_times(scene: &Scene) -> Vec<Row> {
    let day = 24 * 3_600;
    let first = scene.status(Uuid::now_v7(), "sent", SignedDuration::ZERO);
    let second = scene.status(Uuid::now_v7(), "sent", SignedDuration::ZERO);
    let alone = scene.delivery(std::slice::from_ref(&first));
    let ancient = scene.one(8 * day + 60);
    vec![
        row("the first time", alone.clone(), 1, None),
        row("the same bytes again", alone, 0, None),
        row(
            "the same status in another batch",
            scene.delivery(&[second, first]),
            1,
            None,
        ),
        row("an event of six days ago", scene.one(6 * day), 1, None),
        row(
            "an event of more than eight days ago",
            ancient,
            0,
            Some("too_old"),
        ),
        row(
            "an event of the future",
            scene.one(-360),
            0,
            Some("too_far_ahead"),
        ),
        row("a thousand updates", many(scene, 1_000), 1_000, None),
    ]
}

/// Numbers and accounts of others, and forms that nobody documents.
fn owners_and_forms(scene: &Scene) -> Vec<Row> {
    let account = scene.account();
    let of_number = |number: &str, account: &str| {
        let statuses = [scene.status(Uuid::now_v7(), "sent", SignedDuration::ZERO)];
        let value = json!({"metadata": {"phone_number_id": number}, "statuses": statuses});
        envelope(account, "messages", &value)
    };
    let nested = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let deep =
        format!(r#"{{"entry":[{{"id":"{account}","changes":[{{"field":"flows","value":{nested}}}]}}]}}"#);
    let foreign = of_number(&scene.tenant.phone_number_id, "another");
    let stray = envelope("404", "flows", &json!({}));
    let new_field = envelope(&account, "hologram_update", &json!({"a": 1}));
    vec![
        row(
            "a number that nobody has",
            of_number("404", &account),
            0,
            Some("unknown_number"),
        ),
        row("a number of another account", foreign, 0, Some("foreign_account")),
        row("an account that nobody has", stray, 0, Some("unknown_account")),
        row("no JSON", b"not JSON".to_vec(), 0, Some("not_understood")),
        row("no text", vec![0xff, 0, 0xfe], 0, Some("not_understood")),
        row(
            "too deep for the database",
            deep.into_bytes(),
            0,
            Some("not_storable"),
        ),
        row("a field of next year", new_field, 0, None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_meta_signed_is_kept_and_answered_200() {
    let scene = Scene::open("native").await;
    for row in repeats_and_times(&scene)
        .into_iter()
        .chain(owners_and_forms(&scene))
    {
        let (statuses, reason) = (scene.statuses().await, row.quarantined.unwrap_or("nothing"));
        let quarantined = scene.quarantined(reason).await;
        assert_eq!(scene.meta(&row.body).await, said(200, ""), "{}", row.name);
        assert_eq!(
            scene.statuses().await - statuses,
            row.new,
            "{}: new statuses",
            row.name
        );
        let more = scene.quarantined(reason).await - quarantined;
        assert_eq!(
            more,
            i64::from(row.quarantined.is_some()),
            "{}: {reason}",
            row.name
        );
    }
    assert_eq!(scene.counter("malote_webhook_late_updates_total").await, 1);
    assert_eq!(
        scene
            .counter("malote_webhook_updates_total{field=\"unknown\"}")
            .await,
        1
    );
    for kind in ["unknown_number", "foreign_account", "unknown_account"] {
        let events = format!("security_events WHERE kind = '{kind}' AND seen = 1");
        assert_eq!(scene.installation.count_rows(&events).await.unwrap(), 1, "{kind}");
        let counter = format!("malote_webhook_security_events_total{{reason=\"{kind}\"}}");
        assert_eq!(scene.counter(&counter).await, 1, "{kind}");
    }
    scene.close().await;
}

fn many(scene: &Scene, updates: usize) -> Vec<u8> {
    let one = |_| scene.status(Uuid::now_v7(), "sent", SignedDuration::ZERO);
    scene.delivery(&(0..updates).map(one).collect::<Vec<Value>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_meta_did_not_sign_or_would_never_send_is_refused_and_nothing_is_kept() {
    let scene = Scene::open("refused").await;
    let body = scene.one(0);
    let with = |secret: &str| sign_meta(secret.as_bytes(), &body);
    let right = with(&scene.app_secret);
    let meta = "/webhooks/meta";
    for (name, header, expected) in [
        ("no signature", None, said(401, "signature_invalid")),
        (
            "SHA-1 alone",
            Some("sha1=c6ad".to_owned()),
            said(401, "signature_invalid"),
        ),
        (
            "rubbish",
            Some("sha256=zz".to_owned()),
            said(401, "signature_invalid"),
        ),
        (
            "another secret",
            Some(with("guessed")),
            said(401, "signature_invalid"),
        ),
        (
            "another body",
            Some(sign_meta(scene.app_secret.as_bytes(), b"{}")),
            said(401, "signature_invalid"),
        ),
    ] {
        let headers: Vec<(&str, &str)> = header
            .iter()
            .map(|text| ("x-hub-signature-256", text.as_str()))
            .collect();
        assert_eq!(scene.post(meta, &headers, whole(&body)).await, expected, "{name}");
    }
    assert_eq!(scene.meta(&many(&scene, 1_001)).await, said(413, "too_large"));
    let length = (BYTES_MOST + 1).to_string();
    let answer = scene
        .post(meta, &[("content-length", &length)], unended(vec![1]))
        .await;
    assert_eq!(answer, said(413, "too_large"), "announced");
    let answer = scene.post(meta, &[], unended(vec![BYTES_MOST, 1])).await;
    assert_eq!(answer, said(413, "too_large"), "streamed");
    assert_eq!(scene.statuses().await, 0);
    assert_eq!(scene.installation.count_rows("other_events").await.unwrap(), 0);

    let headers = [("x-hub-signature-256", right.as_str())];
    assert_eq!(
        scene.post(meta, &headers, whole(&body)).await,
        said(200, ""),
        "the right one"
    );
    let previous = with(PREVIOUS_APP_SECRET);
    let headers = [("x-hub-signature-256", previous.as_str())];
    assert_eq!(
        scene.post(meta, &headers, whole(&body)).await,
        said(200, ""),
        "the previous one"
    );
    assert_eq!(scene.statuses().await, 1);
    let refused = "malote_webhook_deliveries_refused_total{door=\"native\",reason=\"";
    assert_eq!(scene.counter(&format!("{refused}signature_missing\"}}")).await, 1);
    assert_eq!(scene.counter(&format!("{refused}signature_invalid\"}}")).await, 4);
    assert_eq!(scene.counter(&format!("{refused}too_large\"}}")).await, 2);
    assert_eq!(scene.counter(&format!("{refused}too_many_updates\"}}")).await, 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handshake_gives_the_challenge_to_whoever_knows_the_token() {
    let scene = Scene::open("handshake").await;
    let config = malote::config::load(None, None).unwrap();
    let token =
        malote::config::Secret::read(&config.meta.verify_token_file, "meta.verify_token_file").unwrap();
    for (mode, token, expected) in [
        ("subscribe", token.expose(), (200, "1158201444")),
        ("subscribe", "guessed", (403, "forbidden")),
        ("unsubscribe", token.expose(), (403, "forbidden")),
    ] {
        let path =
            format!("/webhooks/meta?hub.mode={mode}&hub.verify_token={token}&hub.challenge=1158201444");
        let (status, body) = scene
            .installation
            .public
            .raw(Method::GET, &path, "text/plain", Bytes::new())
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status.as_u16(), expected.0, "{text}");
        assert!(text.contains(expected.1), "{text}");
    }
    scene.close().await;
}
