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
async fn analytics_count_what_arrived_by_day_and_category() {
    let bench = Bench::start(Config::for_tests()).await;
    for recipient in 0..3 {
        bench.send(&format!("1650555000{recipient}")).await.message_id();
    }
    bench.idle().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let today = now.expect("a time").as_secs() / 86_400 * 86_400;
    let ask = |start: u64, days: u64| {
        let end = start + days * 86_400;
        format!(
            "/v26.0/102290129340398?fields=pricing_analytics.start({start}).end({end}).granularity(DAILY)"
        )
    };
    let found = bench.get(&ask(today - 86_400, 3)).await.json();
    let points = found["pricing_analytics"]["data"][0]["data_points"]
        .as_array()
        .expect("points")
        .clone();
    let volume: u64 = points.iter().filter_map(|point| point["volume"].as_u64()).sum();
    assert_eq!(volume, 3, "{found}");
    assert_eq!(
        (&points[0]["pricing_category"], &points[0]["pricing_type"]),
        (&"UTILITY".into(), &"REGULAR".into())
    );
    let before = bench.get(&ask(today - 3 * 86_400, 1)).await.json();
    assert_eq!(
        before["pricing_analytics"]["data"][0]["data_points"],
        serde_json::json!([])
    );
    assert_eq!(bench.get(&ask(today, 91)).await.status, 400);
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
