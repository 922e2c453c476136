//! Each server behind the edge away in turn: what is answered meanwhile, and that nothing is lost.

use malote::trial::eventually;

use super::scene::{Attempt, Scene, said};
use crate::support::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_the_relay_is_told_to_keep_it_and_meta_is_served() {
    let scene = Scene::open("noredis").await;
    let (attempt, body) = (Attempt::now(), scene.one(0));
    scene.redis.cut();
    assert_eq!(scene.hop(&attempt, &body).await, said(503, "unavailable"));
    assert_eq!(scene.statuses().await, 0);
    assert_eq!(scene.meta(&scene.one(0)).await, said(200, ""));
    scene.redis.mend();
    eventually("the relay is believed again", SOON, || async {
        Ok((scene.hop(&attempt.again(), &body).await == said(200, "stored")).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(scene.statuses().await, 2);
    let away = "malote_webhook_deliveries_refused_total{door=\"relay\",reason=\"nonces_away\"}";
    assert!(scene.counter(away).await >= 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgresql_both_doors_say_come_again_and_a_repeat_is_kept() {
    let scene = Scene::open("nodatabase").await;
    let (attempt, by_relay, by_meta) = (Attempt::now(), scene.one(0), scene.one(0));
    assert_eq!(scene.meta(&scene.one(0)).await, said(200, ""));
    scene.database.cut();
    assert_eq!(scene.meta(&by_meta).await, said(503, "unavailable"));
    assert_eq!(scene.hop(&attempt, &by_relay).await, said(503, "unavailable"));
    scene.database.mend();
    eventually("Meta's repeat is kept", SOON, || async {
        Ok((scene.meta(&by_meta).await == said(200, "")).then_some(()))
    })
    .await
    .unwrap();
    // The nonce was used up by the attempt that could not be stored; the next attempt has one of its own.
    assert_eq!(scene.hop(&attempt, &by_relay).await, said(409, "replay_detected"));
    assert_eq!(scene.hop(&attempt.again(), &by_relay).await, said(200, "stored"));
    assert_eq!(scene.statuses().await, 3);
    let not_stored = |door: &str| {
        format!("malote_webhook_deliveries_refused_total{{door=\"{door}\",reason=\"not_stored\"}}")
    };
    assert!(scene.counter(&not_stored("native")).await >= 1);
    assert_eq!(scene.counter(&not_stored("relay")).await, 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rabbitmq_everything_is_answered_200_and_applied_later() {
    let scene = Scene::open("nobroker").await;
    scene.broker.cut();
    for _ in 0..20 {
        assert_eq!(scene.meta(&scene.one(0)).await, said(200, ""));
        assert_eq!(
            scene.hop(&Attempt::now(), &scene.one(0)).await,
            said(200, "stored")
        );
    }
    assert_eq!(scene.statuses().await, 40);
    let unapplied = "events WHERE applied_at IS NULL";
    assert_eq!(scene.installation.count_rows(unapplied).await.unwrap(), 40);
    scene.broker.mend();
    eventually("every event is applied", SOON, || async {
        Ok((scene.installation.count_rows(unapplied).await? == 0).then_some(()))
    })
    .await
    .unwrap();
    scene.close().await;
}
