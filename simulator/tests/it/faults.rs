//! Faults of the answer: transient errors, gateways, lost answers, refused recipients.

use std::time::{Duration, Instant};

use serde_json::json;
use simulator::config::WebhookLatency;
use simulator::{Config, Faults};

use crate::support::{Bench, Callback, template, until};

async fn bench(faults: Faults) -> Bench {
    Bench::start(Config {
        number_rate: 0,
        faults,
        ..Config::for_tests()
    })
    .await
}

#[tokio::test]
async fn a_lost_answer_is_an_accepted_message() {
    let bench = bench(Faults {
        lost_answer_share: 1.0,
        ..Faults::default()
    })
    .await;
    assert!(
        bench.post(template("16505551234")).await.is_none(),
        "an answer came"
    );
    bench.idle().await;
    let truth = bench.simulator.truth();
    // The client library may have tried again by itself on a kept connection; here it had none.
    assert_eq!((truth.accepted, truth.lost_answers, truth.delivered), (1, 1, 1));
    assert_eq!(bench.simulator.accepted_for("16505551234"), 1);
}

#[tokio::test]
async fn the_first_attempts_fail_transiently() {
    let bench = bench(Faults {
        transient_first_attempts: 2,
        ..Faults::default()
    })
    .await;
    for _ in 0..2 {
        let answer = bench.send("16505551234").await;
        assert!(
            matches!(answer.code(), 2 | 131000 | 131016) && answer.status >= 500,
            "{answer:?}"
        );
        assert_eq!(answer.json()["error"]["is_transient"], true);
    }
    assert_eq!(bench.send("16505551234").await.status, 200);
    let truth = bench.simulator.truth();
    assert_eq!((truth.transient_errors, truth.accepted, truth.refused), (2, 1, 0));
}

#[tokio::test]
async fn a_gateway_answers_html_and_nothing_is_sent() {
    let bench = bench(Faults {
        non_json_share: 1.0,
        ..Faults::default()
    })
    .await;
    let answer = bench.send("16505551234").await;
    assert_eq!(answer.status, 502);
    assert!(answer.text.starts_with("<html>"));
    assert_eq!(bench.simulator.truth().accepted, 0);
}

#[tokio::test]
async fn a_refused_recipient_is_refused_however_it_is_written() {
    let bench = bench(Faults {
        refused_recipients: ["+16505551234".to_owned()].into(),
        ..Faults::default()
    })
    .await;
    let answer = bench.send("1 650 555-1234").await;
    assert_eq!((answer.status, answer.code()), (400, 131026));
    assert_eq!(bench.send("16505559999").await.status, 200);
    assert_eq!(bench.simulator.truth().refused, 1);
}

#[tokio::test]
async fn the_same_seed_repeats_the_same_faults() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let faults = Faults {
            transient_error_share: 0.3,
            ..Faults::default()
        };
        let bench = Bench::start(Config {
            seed,
            number_rate: 0,
            faults,
            ..Config::for_tests()
        })
        .await;
        let mut statuses = Vec::new();
        for n in 0..60 {
            statuses.push(bench.send(&format!("1650555{n:04}")).await.status);
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    assert!(runs[0].contains(&200) && runs[0].iter().any(|&status| status >= 500));
}

#[tokio::test]
async fn answers_take_their_time() {
    let bench = bench(Faults {
        answer_delay_min_ms: 60,
        ..Faults::default()
    })
    .await;
    let started = Instant::now();
    assert_eq!(bench.send("16505551234").await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn while_it_is_down_connections_are_refused_and_open_ones_are_cut() {
    let bench = bench(Faults {
        answer_delay_min_ms: 10_000,
        ..Faults::default()
    })
    .await;
    let cut = tokio::join!(bench.post(template("16505551234")), async {
        until("accepted", || bench.simulator.truth().accepted > 0).await;
        bench.simulator.set_down(Duration::from_secs(60));
    });
    assert!(cut.0.is_none(), "the call was answered: {:?}", cut.0);
    assert!(bench.simulator.is_down());
    assert!(bench.post(template("16505559999")).await.is_none(), "it listens");
    assert_eq!(
        bench.simulator.accepted_for("16505551234"),
        1,
        "the truth is kept"
    );
    bench.simulator.set_faults(Faults::default());
    bench.simulator.set_down(Duration::ZERO);
    until("it comes back", || !bench.simulator.is_down()).await;
    assert_eq!(
        bench.send("16505559999").await.status,
        200,
        "up, and whoever connects is refused"
    );
    assert_eq!(bench.simulator.accepted_for("16505559999"), 1);
}

#[tokio::test]
async fn an_outage_ends_by_itself_and_webhooks_wait_for_that() {
    let callback = Callback::start(0).await;
    let bench = Bench::start(Config {
        callback: Some(callback.url.clone()),
        webhook_latency: WebhookLatency {
            sent: Duration::from_millis(200),
            delivered: Duration::from_millis(200),
            read: Duration::from_millis(200),
            jitter: 0.0,
        },
        ..Config::for_tests()
    })
    .await;
    let started = Instant::now();
    let outage = Duration::from_millis(700);
    tokio::join!(bench.post(template("16505551234")), async {
        while bench.simulator.truth().accepted == 0 {
            tokio::task::yield_now().await;
        }
        bench.simulator.set_down(outage);
    });
    until("it comes back", || {
        let is_down = bench.simulator.is_down();
        assert!(
            !is_down || callback.deliveries().is_empty(),
            "told while it was down"
        );
        !is_down
    })
    .await;
    // Its clock counts whole milliseconds.
    assert!(
        started.elapsed() + Duration::from_millis(1) >= outage,
        "{:?}",
        started.elapsed()
    );
    bench.idle().await;
    assert!(!callback.deliveries().is_empty(), "never told");
    assert_eq!(bench.send("16505559999").await.status, 200);
}

#[tokio::test]
async fn an_outage_on_demand_begins_after_its_answer_and_ends_by_itself() {
    let bench = bench(Faults::default()).await;
    let told = bench.control("POST", "down", json!({"for_ms": 200})).await;
    assert_eq!(told.status, 200);
    until("it goes down", || bench.simulator.is_down()).await;
    until("it comes back", || !bench.simulator.is_down()).await;
    assert_eq!(bench.send("16505551234").await.status, 200);
}
