//! How much is let in: a key's rate, requests in flight, and what every answer carries.

use bytes::Bytes;
use hyper::{Method, Response};
use malote::trial::{Client, PlanChoice, Tenant};
use serde_json::Value;
use simulator::config::Config;

use crate::support::start;

async fn get(client: &Client, path: &str) -> Response<Bytes> {
    let answer = client.answer(Method::GET, path, "application/json", Bytes::new());
    answer.await.expect("an answer")
}

fn header<'a>(answer: &'a Response<Bytes>, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value
        .unwrap_or_else(|| panic!("no {name} in {answer:?}"))
        .to_str()
        .expect("text")
}

fn code(answer: &Response<Bytes>) -> String {
    let problem: Value = serde_json::from_slice(answer.body()).expect("a problem");
    problem["code"].as_str().expect("a code").to_owned()
}

/// Five requests at once and one a minute: the sixth is told when to come again, another key is not.
async fn a_key_is_limited(name: &'static str, redis: &[(&str, &str)]) {
    let mut settings = vec![
        ("MALOTE_API__REQUESTS_PER_SECOND", "1"),
        ("MALOTE_API__REQUESTS_AT_ONCE", "5"),
    ];
    settings.extend(redis);
    let installation = start(name, Config::for_tests(), &settings).await;
    let one = Tenant::create(&installation, "one", PlanChoice::FREE, 80)
        .await
        .expect("it succeeds");
    let other = Tenant::create(&installation, "other", PlanChoice::FREE, 80)
        .await
        .expect("it succeeds");
    let mut refused = None;
    for _ in 0..20 {
        let answer = get(&one.api, "/v1/usage").await;
        assert_eq!(header(&answer, "ratelimit-limit"), "5");
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), 200);
    }
    let refused = refused.expect("the sixth or so is refused");
    assert_eq!(code(&refused), "rate_limited");
    assert_eq!(header(&refused, "ratelimit-remaining"), "0");
    assert_eq!(header(&refused, "retry-after"), "1");
    let answer = get(&other.api, "/v1/usage").await;
    assert_eq!(answer.status(), 200, "another key has its own limit");
    let reset: u64 = header(&answer, "ratelimit-reset").parse().expect("a number");
    assert!((1..=5).contains(&reset), "{reset}");
    installation.stop().await.expect("it stops as it should");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_calls_too_often_is_told_when_to_come_again() {
    a_key_is_limited("limited", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_keys_are_limited_all_the_same_and_not_shut_out() {
    a_key_is_limited("unredis", &[("MALOTE_REDIS__ADDRESS", "127.0.0.1:1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_shed_before_webhooks_health_and_operators() {
    let none = [("MALOTE_API__IN_FLIGHT_MOST", "0")];
    let installation = start("shed", Config::for_tests(), &none).await;
    let shed = get(&installation.public, "/v1/usage").await;
    assert_eq!(
        (shed.status().as_u16(), code(&shed).as_str()),
        (503, "overloaded")
    );
    assert_eq!(header(&shed, "retry-after"), "2");
    assert_eq!(get(&installation.public, "/healthz").await.status(), 200);
    assert_eq!(get(&installation.admin, "/admin/v1/tenants").await.status(), 200);
    let webhook = installation
        .public
        .raw(
            Method::POST,
            "/webhooks/meta",
            "application/json",
            Bytes::from("{}"),
        )
        .await
        .unwrap();
    assert_eq!(webhook.0, 401, "it is looked at");
    installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_dressed_and_a_wrong_method_names_the_right_ones() {
    let installation = start("headers", Config::for_tests(), &[]).await;
    for path in ["/healthz", "/v1/usage", "/nothing", "/docs", "/openapi.json"] {
        let answer = get(&installation.public, path).await;
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&answer, "cache-control"), "no-store", "{path}");
        assert_eq!(header(&answer, "x-frame-options"), "DENY", "{path}");
        let policy = header(&answer, "content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(header(&answer, "x-request-id").len(), 36, "{path}");
    }
    let wrong = installation
        .public
        .answer(Method::DELETE, "/v1/campaigns", "application/json", Bytes::new())
        .await
        .unwrap();
    assert_eq!(wrong.status(), 405);
    assert_eq!(header(&wrong, "allow"), "GET, POST");
    installation.stop().await.unwrap();
}
