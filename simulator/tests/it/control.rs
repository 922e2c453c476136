//! The control API, as a test in any language would use it.

use std::time::{Duration, Instant};

use serde_json::json;
use simulator::Config;

use crate::support::{Bench, Callback, LONG, NUMBER};

#[tokio::test]
async fn the_truth_is_told_and_forgotten() {
    let bench = Bench::start(Config::for_tests()).await;
    let id = bench.send("16505551234").await.message_id();
    assert_eq!(
        bench
            .control("GET", "idle?within_ms=5000", json!(null))
            .await
            .json()["idle"],
        true
    );
    let truth = bench.control("GET", "truth", json!(null)).await.json();
    assert_eq!((&truth["accepted"], &truth["delivered"]), (&json!(1), &json!(1)));
    assert_eq!(
        bench
            .control("GET", "recipients/+16505551234", json!(null))
            .await
            .json(),
        json!({"accepted": 1})
    );
    let all = bench.control("GET", "recipients", json!(null)).await.json();
    assert_eq!(all["accepted"], json!({"16505551234": 1}));
    let path = format!("messages?id={}", id.replace('+', "%2B"));
    let message = bench.control("GET", &path, json!(null)).await.json();
    assert_eq!(
        (&message["delivered"], &message["billable"]),
        (&json!(true), &json!(true))
    );
    bench.control("POST", "reset", json!(null)).await;
    assert_eq!(bench.simulator.truth(), simulator::Truth::default());
    assert_eq!(bench.simulator.accepted_for("16505551234"), 0);
}

#[tokio::test]
async fn acceptances_are_told_with_their_time_and_by_number() {
    let bench = Bench::start(Config::for_tests()).await;
    let tenth = Duration::from_micros(100);
    bench.send("16505550001").await;
    let first = Instant::now();
    while first.elapsed() <= 2 * tenth {
        // Times are kept in tenths of a millisecond: let another one begin.
        tokio::task::yield_now().await;
    }
    let between = Instant::now();
    bench.send("16505550002").await;
    bench.send("16505550003").await;
    let after = Instant::now();
    let found = bench.simulator.acceptances(NUMBER, between);
    let recipients: Vec<&str> = found.iter().map(|one| &*one.recipient).collect();
    assert_eq!(recipients, ["16505550002", "16505550003"]);
    assert!(
        found.iter().all(|one| one.at + tenth > between && one.at < after),
        "{found:?}"
    );
    assert_eq!(bench.simulator.acceptances("another number", between), []);
}

#[tokio::test]
async fn faults_are_replaced_while_it_runs() {
    let bench = Bench::start(Config::for_tests()).await;
    let put = bench
        .control("PUT", "faults", json!({"non_json_share": 1.0}))
        .await;
    assert_eq!(put.status, 200);
    assert_eq!(
        bench.control("GET", "faults", json!(null)).await.json()["non_json_share"],
        1.0
    );
    assert_eq!(bench.send("16505551234").await.status, 502);
    bench.control("PUT", "faults", json!({})).await;
    assert_eq!(bench.send("16505551234").await.status, 200);
    for bad in [json!({"non_json_share": 2}), json!({"nonjson_share": 0.5})] {
        assert_eq!(bench.control("PUT", "faults", bad).await.status, 400);
    }
}

#[tokio::test]
async fn callback_and_numbers_are_set_while_it_runs() {
    let callback = Callback::start(0).await;
    let bench = Bench::start(Config {
        read_share: 0.0,
        ..Config::for_tests()
    })
    .await;
    assert_eq!(
        bench
            .control("PUT", "callback", json!({"url": callback.url}))
            .await
            .status,
        200
    );
    assert_eq!(
        bench
            .control("PUT", "callback", json!({"url": "https://example.com"}))
            .await
            .status,
        400
    );
    let put = bench
        .control(
            "PUT",
            &format!("numbers/{NUMBER}"),
            json!({"rate": 1, "waba_id": "42"}),
        )
        .await
        .json();
    assert_eq!(
        (&put["rate"], &put["number"]["waba_id"]),
        (&json!(1), &json!("42"))
    );
    assert_eq!(bench.send("16505551234").await.status, 200);
    let refused = tokio::time::timeout(LONG, async {
        loop {
            let answer = bench.send("16505559999").await;
            if answer.status != 200 {
                return answer;
            }
        }
    });
    assert_eq!(refused.await.expect("a refusal").code(), 130429);
    bench.idle().await;
    let body: serde_json::Value = serde_json::from_slice(&callback.deliveries()[0].body).unwrap();
    assert_eq!(body["entry"][0]["id"], "42");
    assert_eq!(bench.control("GET", "nothing", json!(null)).await.status, 404);
}

#[tokio::test]
async fn it_stops_and_frees_its_port() {
    let bench = Bench::start(Config::for_tests()).await;
    let address = bench.simulator.address();
    bench.simulator.stop().await;
    tokio::net::TcpListener::bind(address).await.unwrap();
}
