//! Status webhooks: signed, repeated until taken, and faulty on demand.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Config, Faults};

use crate::support::{Bench, Callback, NUMBER, signature, until};

/// Statuses far enough apart to arrive in order on a busy machine.
async fn started(callback: &Callback, faults: Faults, read_share: f64) -> Bench {
    let mut config = Config {
        number_rate: 0,
        faults,
        read_share,
        ..Config::for_tests()
    };
    config.callback = Some(callback.url.clone());
    config.webhook_latency.delivered = Duration::from_millis(80);
    config.webhook_latency.read = Duration::from_millis(200);
    Bench::start(config).await
}

#[tokio::test]
async fn a_message_is_sent_delivered_and_read_in_signed_webhooks() {
    let callback = Callback::start(0).await;
    let bench = started(&callback, Faults::default(), 1.0).await;
    let id = bench.send("+16505551234").await.message_id();
    bench.idle().await;
    assert_eq!(callback.names(), ["sent", "delivered", "read"]);
    for delivery in callback.deliveries() {
        assert_eq!(
            delivery.signature,
            signature("simulator-app-secret", &delivery.body)
        );
    }
    let body: Value = serde_json::from_slice(&callback.deliveries()[1].body).unwrap();
    let status = &body["entry"][0]["changes"][0]["value"]["statuses"][0];
    assert!(status["timestamp"].as_str().unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    let expected = json!({"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": [{
    "field": "messages", "value": {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15552242922", "phone_number_id": NUMBER},
        "contacts": [{"profile": {"name": "Simulated Recipient"}, "wa_id": "16505551234", "user_id": "US.16505551234"}],
        "statuses": [{
            "id": id, "status": "delivered", "timestamp": status["timestamp"], "recipient_id": "16505551234",
            "biz_opaque_callback_data": "our-+16505551234",
            "pricing": {"billable": true, "pricing_model": "PMP", "type": "regular", "category": "utility"},
        }],
    }}]}]});
    assert_eq!(body, expected);
    let priced: Vec<bool> = callback
        .statuses()
        .iter()
        .map(|status| status.get("pricing").is_some())
        .collect();
    assert_eq!(priced, [true, true, false]);
    let truth = bench.simulator.truth();
    assert_eq!(
        (truth.delivered, truth.read, truth.billable, truth.webhooks_sent),
        (1, 1, 1, 3)
    );
}

#[tokio::test]
async fn a_webhook_is_repeated_until_it_is_answered_with_200() {
    let callback = Callback::start(3).await;
    let bench = started(&callback, Faults::default(), 0.0).await;
    bench.send("16505551234").await;
    bench.idle().await;
    let mut names = callback.names();
    names.sort();
    assert_eq!(names, ["delivered", "sent"]);
    let truth = bench.simulator.truth();
    assert_eq!(
        (
            truth.webhook_requests,
            truth.webhook_requests_failed,
            truth.webhooks_sent
        ),
        (5, 3, 2)
    );
}

#[tokio::test]
async fn a_webhook_nobody_takes_is_dropped_in_the_end() {
    let callback = Callback::start(u32::MAX).await;
    let bench = Bench::start(Config {
        callback: Some(callback.url.clone()),
        webhook_give_up: Duration::from_millis(50),
        ..Config::for_tests()
    })
    .await;
    bench.send("16505551234").await;
    bench.idle().await;
    let truth = bench.simulator.truth();
    assert_eq!((truth.webhooks_sent, truth.delivered), (0, 1));
    assert!(truth.webhooks_given_up >= 2, "{truth:?}");
}

#[tokio::test]
async fn duplicates_say_the_same_twice() {
    let callback = Callback::start(0).await;
    let bench = started(
        &callback,
        Faults {
            duplicated_webhook_share: 1.0,
            ..Faults::default()
        },
        0.0,
    )
    .await;
    bench.send("16505551234").await;
    bench.idle().await;
    let delivered: Vec<Value> = callback
        .statuses()
        .into_iter()
        .filter(|status| status["status"] == "delivered")
        .collect();
    assert_eq!(delivered.len(), 2);
    assert_eq!(delivered[0], delivered[1]);
    let truth = bench.simulator.truth();
    assert_eq!(
        (
            truth.webhooks_sent,
            truth.webhooks_duplicated,
            truth.delivered,
            truth.billable
        ),
        (4, 2, 1, 1)
    );
}

#[tokio::test]
async fn a_late_status_has_happened_before_it_is_told() {
    let callback = Callback::start(0).await;
    let faults = Faults {
        late_webhook_share: 1.0,
        late_webhook_ms: Some(1_500),
        ..Faults::default()
    };
    let bench = started(&callback, faults, 0.0).await;
    let id = bench.send("16505551234").await.message_id();
    until("delivered", || bench.simulator.truth().delivered > 0).await;
    assert_eq!(callback.names().len(), 0, "it is told too early");
    let path = format!(
        "/v26.0/{NUMBER}/message_history?message_id={}",
        id.replace('+', "%2B")
    );
    let history = bench.get(&path).await.json();
    let told = &history["data"][0]["events"]["data"][1];
    assert_eq!(
        (&told["delivery_status"], &told["webhook_update_state"]),
        (&json!("DELIVERED"), &json!("PENDING"))
    );
    bench.idle().await;
    let told_at = callback.statuses()[1]["timestamp"]
        .as_str()
        .unwrap()
        .parse::<u64>()
        .unwrap();
    assert_eq!(
        (told_at, bench.simulator.truth().webhooks_late),
        (told["timestamp"].as_u64().unwrap(), 2)
    );
}

#[tokio::test]
async fn delivered_may_overtake_sent() {
    let callback = Callback::start(0).await;
    let bench = started(
        &callback,
        Faults {
            reordered_webhook_share: 1.0,
            ..Faults::default()
        },
        0.0,
    )
    .await;
    bench.send("16505551234").await;
    bench.idle().await;
    assert_eq!(callback.names(), ["delivered", "sent"]);
}

#[tokio::test]
async fn a_failed_message_says_why_and_costs_nothing() {
    let callback = Callback::start(0).await;
    let faults = Faults {
        failed_share: 1.0,
        failed_code: Some(131049),
        ..Faults::default()
    };
    let bench = started(&callback, faults, 1.0).await;
    assert_eq!(bench.send("16505551234").await.status, 200);
    bench.idle().await;
    let [status] = &callback.statuses()[..] else {
        panic!("{:?}", callback.statuses())
    };
    assert_eq!(
        (&status["status"], &status["errors"][0]["code"]),
        (&json!("failed"), &json!(131049))
    );
    assert!(status.get("pricing").is_none());
    let truth = bench.simulator.truth();
    assert_eq!((truth.failed_async, truth.delivered, truth.billable), (1, 0, 0));
}

#[tokio::test]
async fn free_messages_are_delivered_but_not_billable() {
    let callback = Callback::start(0).await;
    let bench = started(
        &callback,
        Faults {
            free_share: 1.0,
            ..Faults::default()
        },
        0.0,
    )
    .await;
    bench.send("16505551234").await;
    bench.idle().await;
    let pricing = &callback.statuses()[1]["pricing"];
    assert_eq!(
        (&pricing["billable"], &pricing["type"]),
        (&json!(false), &json!("free_entry_point"))
    );
    let truth = bench.simulator.truth();
    assert_eq!((truth.delivered, truth.billable), (1, 0));
}

#[tokio::test]
async fn read_may_come_without_delivered_and_carries_the_price() {
    let callback = Callback::start(0).await;
    let bench = started(
        &callback,
        Faults {
            read_without_delivered_share: 1.0,
            ..Faults::default()
        },
        1.0,
    )
    .await;
    bench.send("16505551234").await;
    bench.idle().await;
    assert_eq!(callback.names(), ["sent", "read"]);
    assert!(callback.statuses()[1].get("pricing").is_some());
    let truth = bench.simulator.truth();
    assert_eq!((truth.delivered, truth.billable), (1, 1));
}

#[tokio::test]
async fn statuses_share_requests_up_to_the_batch_and_split_ones_do_not() {
    for (split, most) in [(0.0, 20), (1.0, 1)] {
        let callback = Callback::start(0).await;
        let bench = Bench::start(Config {
            number_rate: 0,
            callback: Some(callback.url.clone()),
            webhook_batch: 20,
            webhook_linger: Duration::from_millis(200),
            faults: Faults {
                split_webhook_share: split,
                ..Faults::default()
            },
            ..Config::for_tests()
        })
        .await;
        // At once: a batch holds what is due within its wait.
        let (bench, mut sends) = (Arc::new(bench), tokio::task::JoinSet::new());
        for n in 0..30 {
            let bench = Arc::clone(&bench);
            sends.spawn(async move { bench.send(&format!("1650555{n:04}")).await.status });
        }
        assert!(sends.join_all().await.iter().all(|status| *status == 200));
        bench.idle().await;
        let sizes = callback
            .deliveries()
            .iter()
            .map(|d| crate::support::statuses_of(&d.body).len())
            .collect::<Vec<_>>();
        assert_eq!(sizes.iter().max(), Some(&most), "{sizes:?}");
        assert_eq!(
            sizes.iter().sum::<usize>() as u64,
            bench.simulator.truth().webhooks_sent
        );
    }
}
