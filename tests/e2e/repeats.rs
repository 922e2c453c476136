//! Idempotency keys: a repeat has no further effect, also when it comes meanwhile or after a crash.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::Method;
use malote::trial::{Client, PlanChoice, Tenant, eventually};
use serde_json::{Value, json};
use simulator::config::Config;

use crate::support::{SOON, start};

/// Requests under way when the server is killed.
const REQUESTS: usize = 200;

fn message(tenant: &Tenant, number: usize) -> Value {
    json!({"sender_id": tenant.sender, "to": format!("+35193{number:07}"),
        "template": {"name": "hello_world", "language": "en_US"}})
}

async fn send(api: Client, key: String, body: Value) -> Option<(u16, Value)> {
    let api = api.with_idempotency_key(&key);
    let answer = api.raw(
        Method::POST,
        "/v1/messages",
        "application/json",
        Bytes::from(body.to_string()),
    );
    let (status, body) = answer.await.ok()?;
    Some((status.as_u16(), serde_json::from_slice(&body).ok()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_at_once_one_takes_effect_and_the_others_say_the_same_or_come_again() {
    let installation = start("atonce", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "atonce", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let body = message(&tenant, 1);
    let sending = (0..20).map(|_| send(tenant.api.clone(), "same".to_owned(), body.clone()));
    let answers = futures_util::future::join_all(sending).await;
    let mut ids = Vec::new();
    for (status, answer) in answers.into_iter().flatten() {
        match status {
            202 => ids.push(answer["id"].clone()),
            409 => assert_eq!(answer["code"], "idempotency_in_flight"),
            _ => panic!("{status} {answer}"),
        }
    }
    let (status, again) = send(tenant.api.clone(), "same".to_owned(), body).await.unwrap();
    assert_eq!(status, 202);
    assert!(
        !ids.is_empty() && ids.iter().all(|id| *id == again["id"]),
        "{ids:?}"
    );
    let (status, other) = send(tenant.api.clone(), "same".to_owned(), message(&tenant, 2))
        .await
        .unwrap();
    assert_eq!((status, &other["code"]), (422, &json!("idempotency_key_reused")));
    let listed = tenant.api.get("/v1/messages").await.unwrap();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_of_a_killed_server_is_repeated_without_fear() {
    let mut installation = start("killed", Config::for_tests(), &[]).await;
    let mut tenant = Tenant::create(&installation, "killed", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let sending: Vec<_> = (0..REQUESTS)
        .map(|number| {
            tokio::spawn(send(
                tenant.api.clone(),
                format!("key {number}"),
                message(&tenant, number),
            ))
        })
        .collect();
    let watched = malote::trial::eventually("some are answered", crate::support::SOON, || async {
        let listed = tenant.api.get("/v1/messages?limit=200").await?;
        let stored = listed["items"].as_array().map_or(0, Vec::len);
        Ok((stored >= REQUESTS / 10).then_some(()))
    });
    watched.await.unwrap();
    installation.kill_and_restart().await.unwrap();
    tenant.reconnect(&installation);
    let mut before = BTreeMap::new();
    for (number, task) in sending.into_iter().enumerate() {
        match task.await.unwrap() {
            Some((202, answer)) => drop(before.insert(number, answer["id"].clone())),
            Some((status, answer)) => println!("{number} before the kill: {status} {answer}"),
            None => {}
        }
    }
    for number in 0..REQUESTS {
        let key = format!("key {number}");
        // The killed server's transaction may take a moment to end.
        let (status, answer) = eventually("the key is free", SOON, || async {
            let answer = send(tenant.api.clone(), key.clone(), message(&tenant, number)).await;
            Ok(Some(answer.expect("an answer")).filter(|(status, _)| *status != 409))
        })
        .await
        .unwrap();
        assert_eq!(status, 202, "{answer}");
        if let Some(id) = before.get(&number) {
            assert_eq!(answer["id"], *id, "another message than before the kill");
        }
    }
    let from = format!("messages WHERE tenant_id = '{}'", tenant.id);
    let stored = installation.count_rows(&from).await.unwrap();
    println!(
        "answered before the kill: {} of {REQUESTS}; messages after all repeats: {stored}",
        before.len()
    );
    assert_eq!(stored, i64::try_from(REQUESTS).unwrap());
    installation.stop().await.unwrap();
}
