//! Which bodies pass, and how the others are refused.

use std::path::Path;

use serde_json::json;
use simulator::{Config, NumberConfig};

use crate::support::{Bench, NUMBER, template};

fn unlimited() -> Config {
    Config {
        number_rate: 0,
        ..Config::for_tests()
    }
}

#[tokio::test]
async fn own_bodies_are_answered_as_meta_does() {
    let bench = Bench::start(unlimited()).await;
    let sent = bench
        .post(include_str!("../fixtures/template.json"))
        .await
        .unwrap();
    assert_eq!(sent.status, 200);
    assert_eq!(sent.json()["messaging_product"], "whatsapp");
    assert_eq!(
        sent.json()["contacts"],
        json!([{"input": "+16505551234", "wa_id": "16505551234"}])
    );
    assert_eq!(sent.json()["messages"][0]["message_status"], "accepted");
    assert!(sent.message_id().starts_with("wamid."));
    let text = bench.post(include_str!("../fixtures/text.json")).await.unwrap();
    assert_ne!(text.message_id(), sent.message_id());
    assert_eq!(bench.simulator.accepted_for("+1 650 555 1234"), 2);
    let user = bench
        .post(include_str!("../fixtures/interactive_to_user_id.json"))
        .await
        .unwrap();
    let id = "US.13491208655302741918";
    assert_eq!(user.json()["contacts"], json!([{"input": id, "user_id": id}]));
    let read = bench
        .post(include_str!("../fixtures/mark_read.json"))
        .await
        .unwrap();
    assert_eq!((read.status, read.json()), (200, json!({"success": true})));
    assert_eq!(bench.simulator.truth().accepted, 3);
}

#[tokio::test]
async fn every_body_in_metas_own_examples_is_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/meta-api/send-requests");
    let Ok(entries) = std::fs::read_dir(folder) else {
        println!("skipped: no shared fixtures beside this workspace");
        return;
    };
    let bench = Bench::start(unlimited()).await;
    let mut count = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        let body = std::fs::read_to_string(&path).unwrap();
        let body = body
            .replace("{{Recipient-Phone-Number}}", "16505551234")
            .replace("{{Recipient-WA-Phone-Number}}", "16505551234");
        let answer = bench.post(body).await.unwrap();
        assert_eq!(answer.status, 200, "{}: {}", path.display(), answer.text);
        count += 1;
    }
    assert!(count >= 20, "only {count} examples found");
}

#[tokio::test]
async fn bad_bodies_get_metas_error() {
    let bench = Bench::start(unlimited()).await;
    let with = |key: &str, value| {
        let mut body = template("16505551234");
        body[key] = value;
        body
    };
    let cases = [
        (json!("not an object"), 100),
        (with("messaging_product", json!(null)), 100),
        (with("messaging_product", json!("sms")), 100),
        (with("to", json!(null)), 100),
        (with("to", json!("nobody")), 131009),
        (with("type", json!("telegram")), 100),
        (with("type", json!("text")), 131008),
        (with("type", json!("image")), 131008),
        (with("template", json!({"name": "order_update"})), 131008),
        (
            with(
                "template",
                json!({"name": "order_update", "language": {"code": "en_US"}}),
            ),
            132000,
        ),
        (with("biz_opaque_callback_data", json!("x".repeat(513))), 100),
    ];
    let expected = cases.len() as u64;
    for (body, code) in cases {
        let answer = bench.post(&body).await.unwrap();
        assert_eq!((answer.status, answer.code()), (400, code), "{body}");
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "OAuthException");
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .starts_with(&format!("(#{code}) ")),
            "{error}"
        );
        assert_eq!(error["fbtrace_id"].as_str().unwrap().len(), 23, "{error}");
    }
    let truth = bench.simulator.truth();
    assert_eq!((truth.refused, truth.accepted), (expected, 0));
}

#[tokio::test]
async fn an_error_carries_its_details_where_meta_puts_them() {
    let bench = Bench::start(Config {
        any_template: false,
        ..unlimited()
    })
    .await;
    let mut body = template("16505551234");
    body["template"]["name"] = json!("unknown");
    let answer = bench.post(body).await.unwrap();
    let error = &answer.json()["error"];
    assert_eq!((answer.status, error["code"].as_u64()), (404, Some(132001)));
    assert_eq!(
        error["error_data"],
        json!({"messaging_product": "whatsapp", "details": "template name (unknown) does not exist in en_US"})
    );
}

#[tokio::test]
async fn tokens_and_numbers_are_checked_when_they_are_listed() {
    let number = NumberConfig {
        id: "1".into(),
        waba_id: "2".into(),
        display_phone_number: "3".into(),
    };
    let config = Config {
        tokens: ["good".to_owned()].into(),
        numbers: vec![number],
        ..unlimited()
    };
    let bench = Bench::start(config).await;
    let post = |id: &'static str, token| {
        let body = template("16505551234").to_string();
        let bench = &bench;
        async move {
            bench
                .call("POST", &format!("/v26.0/{id}/messages"), token, body)
                .await
                .unwrap()
        }
    };
    for (token, id, expected) in [
        (None, "1", (401, 190)),
        (Some("bad"), "1", (401, 190)),
        (Some("good"), NUMBER, (400, 100)),
    ] {
        let answer = post(id, token).await;
        assert_eq!((answer.status, answer.code()), expected, "{token:?} {id}");
    }
    assert_eq!(post("1", Some("good")).await.status, 200);
}

#[tokio::test]
async fn the_version_may_be_any_or_absent() {
    let bench = Bench::start(unlimited()).await;
    for path in ["v19.0/1/messages", "1/messages", "v26.0/1/marketing_messages"] {
        let body = template("16505551234").to_string();
        let answer = bench
            .call("POST", &format!("/{path}"), Some("token"), body)
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{path}");
    }
    assert_eq!(bench.get("/v26.0/1/nonsense").await.code(), 2500);
}
