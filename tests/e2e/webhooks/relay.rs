//! The decision table of the relay's door: here a replay is refused.

use domain::hop::{HopKey, sign_hop};
use jiff::{SignedDuration, Timestamp};

use super::scene::{Attempt, PREVIOUS_RELAY_KEY, RELAY_KEY, Scene, said, unended, whole};

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_of_a_relay_is_believed_once_and_for_five_minutes() {
    let scene = Scene::open("hop").await;
    let (body, other) = (scene.one(0), scene.one(0));
    let first = Attempt::now();
    let second = first.again();
    let moved = |seconds: i64| Attempt {
        at: Timestamp::now() + SignedDuration::from_secs(seconds),
        ..Attempt::now()
    };
    let signed_by = |keys: Vec<&'static str>| Attempt {
        keys,
        ..Attempt::now()
    };
    let stranger = signed_by(vec!["a key that nobody here has heard of"]);
    let stale = moved(-310);
    let day = 24 * 3_600;
    let rows = [
        (
            "the first time",
            first.clone(),
            body.clone(),
            said(200, "stored"),
            1,
        ),
        (
            "the same request again",
            first.clone(),
            body.clone(),
            said(409, "replay_detected"),
            0,
        ),
        (
            "its nonce with another body",
            first,
            other.clone(),
            said(409, "replay_detected"),
            0,
        ),
        (
            "the same delivery, a new attempt",
            second.clone(),
            body.clone(),
            said(200, "duplicate"),
            0,
        ),
        (
            "that attempt again",
            second,
            body,
            said(409, "replay_detected"),
            0,
        ),
        (
            "five minutes and more ago",
            stale.clone(),
            other.clone(),
            said(401, "timestamp_stale"),
            0,
        ),
        (
            "five minutes and more ahead",
            moved(310),
            other.clone(),
            said(401, "timestamp_stale"),
            0,
        ),
        (
            "a key of nobody",
            stranger.clone(),
            other.clone(),
            said(401, "signature_invalid"),
            0,
        ),
        (
            "the nonce of the stale one, in time: it was not used up",
            Attempt {
                at: Timestamp::now(),
                ..stale
            },
            other.clone(),
            said(200, "stored"),
            1,
        ),
        (
            "the nonce of the stranger, signed: it was not used up",
            Attempt {
                keys: vec![RELAY_KEY],
                ..stranger
            },
            other,
            said(200, "duplicate"),
            0,
        ),
        (
            "four minutes ago",
            moved(-240),
            scene.one(0),
            said(200, "stored"),
            1,
        ),
        (
            "the previous key",
            signed_by(vec![PREVIOUS_RELAY_KEY]),
            scene.one(0),
            said(200, "stored"),
            1,
        ),
        (
            "two signatures, one of them ours",
            signed_by(vec!["a key that nobody here has heard of", RELAY_KEY]),
            scene.one(0),
            said(200, "stored"),
            1,
        ),
        (
            "an event of six days ago",
            Attempt::now(),
            scene.one(6 * day),
            said(200, "stored"),
            1,
        ),
        (
            "an event of more than eight days ago",
            Attempt::now(),
            scene.one(8 * day + 60),
            said(200, "stored"),
            0,
        ),
    ];
    for (name, attempt, body, expected, new) in rows {
        let before = scene.statuses().await;
        assert_eq!(scene.hop(&attempt, &body).await, expected, "{name}");
        assert_eq!(scene.statuses().await - before, new, "{name}: new statuses");
    }
    assert_eq!(scene.counter("malote_webhook_replays_total").await, 3);
    assert_eq!(scene.quarantined("too_old").await, 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_send_the_same_attempt_at_once_one_is_believed() {
    let scene = Scene::open("race").await;
    let (attempt, body) = (Attempt::now(), scene.one(0));
    let answers = futures_util::future::join_all((0..32).map(|_| scene.hop(&attempt, &body))).await;
    let stored = answers.iter().filter(|&answer| *answer == said(200, "stored"));
    assert_eq!(stored.count(), 1, "{answers:?}");
    let replays = answers
        .iter()
        .filter(|&answer| *answer == said(409, "replay_detected"));
    assert_eq!(replays.count(), 31, "{answers:?}");
    assert_eq!(scene.statuses().await, 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_without_all_of_its_headers_is_not_believed() {
    let scene = Scene::open("headers").await;
    let (attempt, body) = (Attempt::now(), scene.one(0));
    let at = attempt.at.as_second().to_string();
    let key = HopKey::parse(RELAY_KEY).unwrap();
    let signature = sign_hop(&key, &attempt.id, attempt.at, &attempt.nonce, &body);
    let headers = [
        ("webhook-id", attempt.id.as_str()),
        ("webhook-timestamp", &at),
        ("webhook-nonce", &attempt.nonce),
        ("webhook-signature", &signature),
    ];
    for left_out in 0..headers.len() {
        let mut some = headers.to_vec();
        let (name, _) = some.remove(left_out);
        let answer = scene.post("/webhooks/relay", &some, whole(&body)).await;
        assert_eq!(answer, said(401, "signature_invalid"), "without {name}");
    }
    let mut with_plain = headers;
    with_plain[2].1 = "short";
    let answer = scene.post("/webhooks/relay", &with_plain, whole(&body)).await;
    assert_eq!(
        answer,
        said(401, "signature_invalid"),
        "a nonce that is too short"
    );
    let length = [("content-length", "4000000")];
    let answer = scene.post("/webhooks/relay", &length, unended(vec![1])).await;
    assert_eq!(answer, said(413, "too_large"));
    let answer = scene.post("/webhooks/relay", &headers, whole(&body)).await;
    assert_eq!(answer, said(200, "stored"), "with all of them");
    scene.close().await;
}
