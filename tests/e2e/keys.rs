//! API keys from their making to their end, and what is written down about them.

use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::Method;
use malote::storage::{Database, Role};
use malote::trial::{Client, Installation, PlanChoice, Tenant, eventually};
use serde_json::{Value, json};
use simulator::config::Config;

use crate::support::{SOON, start};

/// Calls, and gives the status and the JSON.
async fn call(client: &Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let method = Method::from_bytes(method.as_bytes()).expect("it succeeds");
    let body = if method == Method::GET {
        Bytes::new()
    } else {
        body.to_string().into()
    };
    let (status, body) = client
        .raw(method, path, "application/json", body)
        .await
        .expect("an answer");
    (
        status.as_u16(),
        serde_json::from_slice(&body).unwrap_or(Value::Null),
    )
}

/// Brings a key's end forward, which nobody may over the API.
async fn expire_now(installation: &Installation, tenant: &Tenant, key: &str) {
    let rows = Database::connect(&installation.config().database, Role::AppRw)
        .await
        .expect("it succeeds");
    let mut transaction = rows.begin_for(tenant.id).await.expect("it succeeds");
    let expired = transaction
        .execute(
            "UPDATE api_keys SET expires_at = now() WHERE id::text = $1",
            &[&key],
        )
        .await
        .expect("it succeeds");
    assert_eq!(expired, 1);
    transaction.commit().await.expect("it succeeds");
}

async fn key_with(installation: &Installation, keys: &str, body: Value) -> (Client, Value) {
    let made = installation.admin.post(keys, &body).await.expect("it succeeds");
    let client = installation
        .public
        .clone()
        .with_key(made["key"].as_str().expect("text"));
    (client, made)
}

async fn audit(installation: &Installation, query: &str) -> Vec<Value> {
    let path = format!("/admin/v1/audit?{query}");
    let listed = installation.admin.get(&path).await.expect("it succeeds");
    listed["items"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_the_scope_that_its_document_names() {
    let installation = start("scopes", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "scopes", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let document = installation.public.get("/openapi.json").await.unwrap();
    let mut operations = Vec::new();
    for (path, verbs) in document["paths"].as_object().unwrap() {
        for (verb, operation) in verbs.as_object().unwrap() {
            if let Some(scope) = operation["x-required-scope"].as_str() {
                let called = path
                    .replace("{id}", "0198f2c0-0000-7000-8000-000000000000")
                    .replace("{recipient}", "+351910000000");
                assert!(!called.contains('{'), "{path}: say here what to call it with");
                operations.push((verb.to_uppercase(), called, scope.to_owned()));
            }
        }
    }
    let scopes: BTreeSet<String> = operations.iter().map(|(_, _, scope)| scope.clone()).collect();
    assert!(operations.len() > 25 && scopes.len() >= 9, "{scopes:?}");
    let keys = format!("/admin/v1/tenants/{}/api-keys", tenant.id);
    for scope in &scopes {
        let others: Vec<&String> = scopes.iter().filter(|other| *other != scope).collect();
        let without = json!({"name": format!("without {scope}"), "scopes": others});
        let (without, _) = key_with(&installation, &keys, without).await;
        let with = json!({"name": format!("with {scope}"), "scopes": [scope]});
        let (with, _) = key_with(&installation, &keys, with).await;
        for (verb, path, _) in operations.iter().filter(|(_, _, needed)| needed == scope) {
            let (status, problem) = call(&without, verb, path, &json!({})).await;
            assert_eq!(
                (status, &problem["code"]),
                (403, &json!("scope_missing")),
                "{verb} {path}"
            );
            assert!(
                problem["detail"].as_str().unwrap().contains(scope.as_str()),
                "{problem}"
            );
            let (status, problem) = call(&with, verb, path, &json!({})).await;
            assert!(
                status != 401 && status != 403,
                "{verb} {path}: {status} {problem}"
            );
        }
    }
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_of_a_name_are_live_while_one_replaces_the_other() {
    let installation = start("rotation", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "rotation", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let keys = format!("/admin/v1/tenants/{}/api-keys", tenant.id);
    let named = json!({"name": "shop"});
    let (old, old_made) = key_with(&installation, &keys, named.clone()).await;
    let (new, _) = key_with(&installation, &keys, named.clone()).await;
    old.get("/v1/usage").await.unwrap();
    new.get("/v1/usage").await.unwrap();
    let (status, problem) = call(&installation.admin, "POST", &keys, &named).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
    let one = format!("{keys}/{}", old_made["id"].as_str().unwrap());
    installation.admin.delete(&one).await.unwrap();
    key_with(&installation, &keys, named).await;
    eventually("the old key ends", SOON, || async {
        Ok((call(&old, "GET", "/v1/usage", &Value::Null).await.0 == 401).then_some(()))
    })
    .await
    .unwrap();
    eventually("the last use is written", SOON, || async {
        let listed = installation.admin.get(&keys).await?;
        let used = listed["items"].as_array().unwrap().iter();
        Ok((used.filter(|key| key["last_used_at"].is_string()).count() >= 2).then_some(()))
    })
    .await
    .unwrap();
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3_600)).to_string();
    let (short, short_made) =
        key_with(&installation, &keys, json!({"name": "short", "expires_at": soon})).await;
    short.get("/v1/usage").await.unwrap();
    expire_now(&installation, &tenant, short_made["id"].as_str().unwrap()).await;
    let expired = eventually("the short key expires", SOON, || async {
        let (status, problem) = call(&short, "GET", "/v1/usage", &Value::Null).await;
        Ok((status == 401).then_some(problem))
    })
    .await
    .unwrap();
    assert_eq!(expired["code"], "key_expired", "{expired}");
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_written_down_and_then_told_to_wait() {
    let few = [
        ("MALOTE_API__WRONG_KEYS_AT_ONCE", "3"),
        ("MALOTE_API__WRONG_KEY_EVERY_MS", "600000"),
    ];
    let installation = start("wrong_keys", Config::for_tests(), &few).await;
    let tenant = Tenant::create(&installation, "wrong", PlanChoice::FREE, 80)
        .await
        .unwrap();
    // The prefix of a key that exists, and another secret.
    let guess = format!("{}{}", &tenant.key[..17], "0".repeat(64));
    let guesser = installation.public.clone().with_key(&guess);
    for _ in 0..3 {
        assert_eq!(call(&guesser, "GET", "/v1/usage", &Value::Null).await.0, 401);
    }
    let answer = guesser
        .answer(Method::GET, "/v1/usage", "application/json", Bytes::new())
        .await
        .unwrap();
    assert_eq!(answer.status(), 429);
    let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=600).contains(&seconds), "{seconds}");
    tenant.api.get("/v1/usage").await.expect("a right key is let in");
    let written = audit(&installation, &format!("tenant_id={}&outcome=refused", tenant.id)).await;
    assert_eq!(written.len(), 3, "{written:?}");
    assert_eq!(written[0]["target"], "mismatch", "{written:?}");
    assert_eq!(written[0]["actor_kind"], "api_key", "{written:?}");
    assert!(
        !json!(written).to_string().contains(&guess[17..]),
        "a key is written down"
    );
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_do_is_written_down_and_nobody_changes_it() {
    let installation = start("audit", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "audit", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let suspend = format!("/admin/v1/tenants/{}/suspend", tenant.id);
    installation.admin.post(&suspend, &json!({})).await.unwrap();
    let nowhere = "/admin/v1/tenants/0198f2c0-0000-7000-8000-000000000000/suspend";
    assert_eq!(
        call(&installation.admin, "POST", nowhere, &json!({})).await.0,
        404
    );

    let written = audit(&installation, &format!("tenant_id={}", tenant.id)).await;
    let told: Vec<String> = written
        .iter()
        .rev()
        .map(|row| {
            format!(
                "{} {}",
                row["action"].as_str().unwrap(),
                row["outcome"].as_str().unwrap()
            )
        })
        .collect();
    let keys = "POST /admin/v1/tenants/{id}/api-keys";
    let suspended = "POST /admin/v1/tenants/{id}/suspend";
    let expected = [
        "POST /admin/v1/tenants done".to_owned(),
        format!("{keys} begun"),
        format!("{keys} done"),
        format!("{suspended} begun"),
        format!("{suspended} done"),
    ];
    assert_eq!(told, expected, "{written:?}");
    assert_eq!(written[0]["from_address"], "127.0.0.1");
    assert_eq!(written[0]["actor_kind"], "operator");
    assert_eq!(written[0]["request_id"], written[1]["request_id"]);
    assert!(
        !json!(written).to_string().contains(&tenant.key),
        "a key is written down"
    );
    let refused = audit(&installation, "outcome=refused").await;
    assert_eq!(refused[0]["status"], 404, "{refused:?}");
    let first = audit(&installation, "limit=1").await;
    let rest = audit(
        &installation,
        &format!("limit=200&cursor={}", first[0]["id"].as_str().unwrap()),
    )
    .await;
    assert!(rest.iter().all(|row| row["id"] != first[0]["id"]) && rest.len() >= 5);

    for role in [Role::AppSystem, Role::AppRw, Role::MigrationAdmin] {
        let database = Database::connect(&installation.config().database, role)
            .await
            .unwrap();
        for change in [
            "UPDATE app.audit_log SET outcome = 'done'",
            "DELETE FROM app.audit_log",
            "TRUNCATE app.audit_log",
        ] {
            let mut connection = database.get().await.unwrap();
            let changed = connection.execute(change, &[]).await;
            assert!(changed.is_err(), "{role:?} was allowed: {change}");
        }
    }
    installation.stop().await.unwrap();
}
