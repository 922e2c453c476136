//! `kill -9` between the answer and the publishing: what was answered 200 is applied all the same.

use malote::trial::eventually;

use super::scene::{Attempt, Scene, said};
use crate::support::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_the_kill_is_applied_after_it() {
    let mut scene = Scene::open("killed").await;
    // The broker is away, so that nothing can have been published when the server dies.
    scene.broker.cut();
    for _ in 0..50 {
        assert_eq!(scene.meta(&scene.one(0)).await, said(200, ""));
        assert_eq!(
            scene.hop(&Attempt::now(), &scene.one(0)).await,
            said(200, "stored")
        );
    }
    scene.installation.kill_node(0).await.unwrap();
    let unapplied = "events WHERE applied_at IS NULL";
    assert_eq!(scene.installation.count_rows(unapplied).await.unwrap(), 100);
    scene.broker.mend();
    scene.installation.start_node(0).await.unwrap();
    eventually("every event is applied", SOON, || async {
        Ok((scene.installation.count_rows(unapplied).await? == 0).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(scene.statuses().await, 100);
    scene.close().await;
}
