//! What the API answers: problems with stable codes, keys and their limits, pages, repeats.

use bytes::Bytes;
use hyper::Method;
use malote::trial::{Client, PlanChoice, Tenant, eventually};
use serde_json::{Value, json};
use simulator::config::Config;

use crate::support::{SOON, start};

/// Calls, and gives the status and the JSON.
async fn call(client: &Client, method: Method, path: &str, body: &str) -> (u16, Value) {
    let body = Bytes::from(body.to_owned());
    let (status, body) = client
        .raw(method, path, "application/json", body)
        .await
        .expect("an answer");
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    (status.as_u16(), json)
}

/// Checks that a call is refused, and what the sentence says.
async fn refused(client: &Client, method: Method, path: &str, body: &str, code: &str, says: &str) {
    let (status, problem) = call(client, method, path, body).await;
    assert_eq!(problem["code"], code, "{path}: {status} {problem}");
    assert_eq!(problem["status"], status, "{problem}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(says), "{path}: {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_refused_is_a_problem_that_says_why() {
    let installation = start("problems", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "problems", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let (api, admin) = (&tenant.api, &installation.admin);
    let stranger = &installation.public;
    let (get, post) = (Method::GET, Method::POST);
    refused(api, get.clone(), "/v1/nothing", "", "not_found", "/docs").await;
    refused(api, Method::PUT, "/v1/senders", "", "method_not_allowed", "/docs").await;
    refused(stranger, get.clone(), "/v1/senders", "", "unauthorized", "Bearer").await;
    refused(stranger, get.clone(), "/admin/v1/plans", "", "not_found", "path").await;
    refused(api, get.clone(), "/v1/senders?limti=5", "", "malformed", "limti").await;
    refused(api, get.clone(), "/v1/usage?limit=5", "", "malformed", "limit").await;
    refused(api, get.clone(), "/v1/senders?limit=0", "", "invalid", "limit").await;
    refused(api, get, "/v1/senders?cursor=x", "", "invalid", "next_cursor").await;
    refused(api, post.clone(), "/v1/senders", "{", "malformed", "line 1").await;
    refused(
        api,
        post.clone(),
        "/v1/senders",
        "{\"color\":1}",
        "invalid",
        "color",
    )
    .await;
    let zero = r#"{"phone_number_id":"1\u0000"}"#;
    refused(api, post.clone(), "/v1/senders", zero, "invalid", "u0000").await;
    let tenants = "/admin/v1/tenants";
    let nowhere = r#"{"name":"x","plan":"none","timezone":"Mars/Base"}"#;
    refused(admin, post.clone(), tenants, nowhere, "invalid", "Mars/Base").await;
    let no_plan = r#"{"name":"x","plan":"none","timezone":"UTC"}"#;
    refused(admin, post, tenants, no_plan, "invalid", "none").await;
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_what_it_says_until_it_is_ended() {
    let installation = start("keys", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "keys", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let keys = format!("/admin/v1/tenants/{}/api-keys", tenant.id);
    let narrow = json!({"name": "for the accountant", "scopes": ["billing"]});
    let made = installation.admin.post(&keys, &narrow).await.unwrap();
    let accountant = installation
        .public
        .clone()
        .with_key(made["key"].as_str().unwrap());
    accountant.get("/v1/usage").await.unwrap();
    refused(
        &accountant,
        Method::GET,
        "/v1/senders",
        "",
        "scope_missing",
        "senders:read",
    )
    .await;

    let listed = installation.admin.get(&keys).await.unwrap();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    assert!(!listed.to_string().contains(made["key"].as_str().unwrap()));

    let one = format!("{keys}/{}", made["id"].as_str().unwrap());
    assert_eq!(call(&installation.admin, Method::DELETE, &one, "").await.0, 204);
    malote::trial::eventually("the key ends", crate::support::SOON, || async {
        let (status, _) = call(&accountant, Method::GET, "/v1/usage", "").await;
        Ok((status == 401).then_some(()))
    })
    .await
    .unwrap();
    let suspended = format!("/admin/v1/tenants/{}/suspend", tenant.id);
    installation.admin.post(&suspended, &json!({})).await.unwrap();
    malote::trial::eventually("the tenant is kept out", crate::support::SOON, || async {
        let (status, _) = call(&tenant.api, Method::GET, "/v1/usage", "").await;
        Ok((status == 403).then_some(()))
    })
    .await
    .unwrap();
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_belongs_to_one_tenant_and_a_repeat_adds_nothing() {
    let installation = start("repeats", Config::for_tests(), &[]).await;
    let first = Tenant::create(&installation, "first", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let second = Tenant::create(&installation, "second", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let number = |id: &str| {
        json!({"phone_number_id": id, "waba_id": "9", "display_phone_number": "+351 910 000 000",
            "access_token": "a-token-that-is-never-shown"})
    };
    let taken = number(&first.phone_number_id).to_string();
    refused(
        &second.api,
        Method::POST,
        "/v1/senders",
        &taken,
        "conflict",
        "one tenant",
    )
    .await;

    let api = second.api.clone().with_idempotency_key("a key of our own");
    let added = api.post("/v1/senders", &number("55501")).await.unwrap();
    assert_eq!(api.post("/v1/senders", &number("55501")).await.unwrap(), added);
    let other = number("55502").to_string();
    refused(
        &api,
        Method::POST,
        "/v1/senders",
        &other,
        "idempotency_key_reused",
        "new one",
    )
    .await;

    let page = second.api.get("/v1/senders?limit=1").await.unwrap();
    assert_eq!(page["items"][0]["id"], added["id"]);
    assert!(!page.to_string().contains("never-shown"));
    let next = format!(
        "/v1/senders?limit=1&cursor={}",
        page["next_cursor"].as_str().unwrap()
    );
    let last = second.api.get(&next).await.unwrap();
    assert_eq!(
        (&last["items"][0]["id"], &last["next_cursor"]),
        (&json!(second.sender), &Value::Null)
    );
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_takes_effect_now_or_when_the_period_ends() {
    let installation = start("plans", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "plans", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let larger = json!({"code": "larger", "name": "Larger", "currency": "EUR", "fee_minor": 4_900,
        "allowance_units": 1_000, "policy": "hard"});
    installation.admin.post("/admin/v1/plans", &larger).await.unwrap();
    let path = format!("/admin/v1/tenants/{}/plan", tenant.id);
    let later = json!({"plan": "larger", "effective": "period_end"});
    let view = installation.admin.put(&path, &later).await.unwrap();
    assert_eq!(view["next_plan"], "larger", "{view}");
    let usage = tenant.api.get("/v1/usage").await.unwrap();
    assert_eq!(view["next_plan_from"], usage["period"]["ends_at"], "{usage}");

    let now = json!({"plan": "larger", "effective": "now"});
    installation.admin.put(&path, &now).await.unwrap();
    let usage = tenant.api.get("/v1/usage").await.unwrap();
    assert_eq!(
        (&usage["limit"], &usage["available"]),
        (&json!(1_000), &json!(1_000))
    );
    let invoices = tenant.api.get("/v1/invoices").await.unwrap();
    let draft = &invoices["items"][0];
    assert_eq!(
        (&draft["state"], &draft["total_minor"]),
        (&json!("draft"), &json!(4_900)),
        "{draft}"
    );
    assert_eq!(draft["lines"][0]["unit_price"], "49.00", "{draft}");
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_tells_how_it_fares_and_what_it_answers() {
    let installation = start("health", Config::for_tests(), &[]).await;
    eventually("it is ready and all that it needs answers", SOON, || async {
        let ready = installation.public.get("/readyz").await?;
        let mut dependencies = ready["dependencies"].as_array().unwrap().iter();
        let is_well = ready["status"] == "ready" && dependencies.all(|one| one["ok"] == true);
        Ok(is_well.then_some(()))
    })
    .await
    .unwrap();
    installation.admin.get("/healthz").await.unwrap();
    let document = installation.public.get("/openapi.json").await.unwrap();
    assert!(document["paths"]["/v1/campaigns/{id}/launch"].is_object());
    let page = installation.public.get_text("/docs").await.unwrap();
    assert!(!page.contains("https://"), "the page needs no other host");
    let metrics = installation.admin.get_text("/metrics").await.unwrap();
    assert!(metrics.ends_with("# EOF\n"));
    installation.stop().await.unwrap();
}
