//! Templates, phone numbers and message history.

use simulator::Config;

use crate::support::{Bench, NUMBER};

#[tokio::test]
async fn templates_come_in_pages() {
    let bench = Bench::start(Config::for_tests()).await;
    let first = bench
        .get("/v26.0/102290129340398/message_templates?limit=3")
        .await
        .json();
    assert_eq!(first["data"].as_array().unwrap().len(), 3);
    assert_eq!(first["data"][0]["name"], "order_update");
    assert_eq!(first["data"][0]["components"][0]["type"], "BODY");
    let next = first["paging"]["next"].as_str().unwrap();
    let rest = bench
        .get(next.strip_prefix(&bench.simulator.base_url()).unwrap())
        .await
        .json();
    assert!(rest["paging"].get("next").is_none());
    assert_eq!(rest["data"].as_array().unwrap().len(), 1);
    let named = bench
        .get("/v26.0/1/message_templates?name=order_update&language=en_US")
        .await
        .json();
    assert_eq!(named["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_number_shows_the_fields_that_were_asked_for() {
    let bench = Bench::start(Config::for_tests()).await;
    let all = bench.get(&format!("/v26.0/{NUMBER}")).await.json();
    assert_eq!(
        (&all["quality_rating"], &all["throughput"]["level"]),
        (&"GREEN".into(), &"STANDARD".into())
    );
    let some = bench
        .get(&format!(
            "/v26.0/{NUMBER}?fields=display_phone_number,throughput{{level}}"
        ))
        .await
        .json();
    let keys: Vec<&String> = some.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["display_phone_number", "id", "throughput"]);
    let listed = bench.get("/v26.0/102290129340398/phone_numbers").await.json();
    assert_eq!(listed["data"][0]["id"], NUMBER);
}

#[tokio::test]
async fn history_knows_its_own_messages_only() {
    let bench = Bench::start(Config {
        read_share: 0.0,
        ..Config::for_tests()
    })
    .await;
    let id = bench.send("16505551234").await.message_id();
    bench.idle().await;
    let path = |id: &str| {
        format!(
            "/v26.0/{NUMBER}/message_history?message_id={}",
            id.replace('+', "%2B")
        )
    };
    let found = bench.get(&path(&id)).await.json();
    assert_eq!(found["data"][0]["message_id"], id);
    let statuses = found["data"][0]["events"]["data"].as_array().unwrap();
    let names: Vec<&str> = statuses
        .iter()
        .map(|event| event["delivery_status"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["SENT", "DELIVERED"]);
    let unknown = bench
        .get(&path(
            "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQUYzMjEzNDM2RTZGQ0MzMDJBRgA=",
        ))
        .await;
    assert_eq!((unknown.status, unknown.code()), (422, 100));
    assert_eq!(bench.get(&path("nonsense")).await.status, 400);
    let newest = bench
        .get(&format!("/v26.0/{NUMBER}/message_history"))
        .await
        .json();
    assert_eq!(newest["data"].as_array().unwrap().len(), 1);
}
