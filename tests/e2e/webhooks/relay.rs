//! The decision table of the relay's door: here a replay is refused.

use domain::hop::{HopKey, sign_hop};
use jiff::{SignedDuration, Timestamp};

use super::scene::{Attempt, PREVIOUS_RELAY_KEY, RELAY_KEY, Said, Scene, said, unended, whole};

const STRANGER: &str = "a key that nobody here has heard of";

/// A row of the table: the attempt, its body, the answer, and how many statuses are new.
type Row = (&'static str, Attempt, Vec<u8>, Said, i64);

fn moved(seconds: i64) -> Attempt {
    Attempt {
        at: Timestamp::now() + SignedDuration::from_secs(seconds),
        ..Attempt::now()
    }
}

fn signed_by(keys: &[&'static str]) -> Attempt {
    Attempt {
        keys: keys.to_vec(),
        ..Attempt::now()
    }
}

/// An attempt counts once, a delivery as often as it is attempted.
fn replays(scene: &Scene) -> Vec<Row> {
    let (body, other) = (scene.one(0), scene.one(0));
    let (first, replayed) = (Attempt::now(), said(409, "replay_detected"));
    let second = first.again();
    let again = second.clone();
    vec![
        (
            "the first time",
            first.clone(),
            body.clone(),
            said(200, "stored"),
            1,
        ),
        (
            "the same request",
            first.clone(),
            body.clone(),
            replayed.clone(),
            0,
        ),
        ("its nonce with another body", first, other, replayed.clone(), 0),
        (
            "the same delivery, a new attempt",
            second,
            body.clone(),
            said(200, "duplicate"),
            0,
        ),
        ("that attempt again", again, body, replayed, 0),
    ]
}

/// Who is not believed uses up no nonce.
fn strangers(scene: &Scene) -> Vec<Row> {
    let body = scene.one(0);
    let (stale, early, stranger) = (moved(-310), moved(310), signed_by(&[STRANGER]));
    let in_time = Attempt {
        at: Timestamp::now(),
        ..stale.clone()
    };
    let signed = Attempt {
        keys: vec![RELAY_KEY],
        ..stranger.clone()
    };
    let late = said(401, "timestamp_stale");
    vec![
        ("five minutes and more ago", stale, body.clone(), late.clone(), 0),
        ("five minutes and more ahead", early, body.clone(), late, 0),
        (
            "a key of nobody",
            stranger,
            body.clone(),
            said(401, "signature_invalid"),
            0,
        ),
        (
            "the stale one's nonce in time",
            in_time,
            body.clone(),
            said(200, "stored"),
            1,
        ),
        (
            "the stranger's nonce, signed",
            signed,
            body,
            said(200, "duplicate"),
            0,
        ),
    ]
}

/// Keys while they change, and times that are no matter of the hop.
fn keys_and_times(scene: &Scene) -> Vec<Row> {
    let stored = || said(200, "stored");
    let day = 24 * 3_600;
    let previous = signed_by(&[PREVIOUS_RELAY_KEY]);
    let both = signed_by(&[STRANGER, RELAY_KEY]);
    vec![
        ("four minutes ago", moved(-240), scene.one(0), stored(), 1),
        ("the previous key", previous, scene.one(0), stored(), 1),
        ("two signatures, one ours", both, scene.one(0), stored(), 1),
        (
            "an event of six days ago",
            Attempt::now(),
            scene.one(6 * day),
            stored(),
            1,
        ),
        (
            "an event of nine days ago",
            Attempt::now(),
            scene.one(9 * day),
            stored(),
            0,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_of_a_relay_is_believed_once_and_for_five_minutes() {
    let scene = Scene::open("hop").await;
    let rows = [replays(&scene), strangers(&scene), keys_and_times(&scene)].concat();
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
    // Who waits too long for one of the few connections to Redis is told to come again, and not believed either.
    let replays = answers
        .iter()
        .filter(|&answer| *answer == said(409, "replay_detected"));
    let sent_away = answers.iter().filter(|answer| answer.0 == 503);
    let (replays, sent_away) = (replays.count(), sent_away.count());
    assert_eq!(replays + sent_away, 31, "{answers:?}");
    assert!(replays > sent_away, "{answers:?}");
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
