//! `malote relay` before a core that is away, dies or fills up: what Meta was answered 200 arrives, and is in effect once.

use bytes::Bytes;
use domain::signature::sign_meta;
use futures_util::{StreamExt as _, stream};
use malote::trial::eventually;

use super::cable::Cable;
use super::edge_host::EdgeHost;
use super::scene::{Said, Scene, said, whole};
use crate::support::{SOON, check_promises};

/// Deliveries that wait on the disk when the relay is killed.
const SPOOLED: usize = 10_000;
/// Deliveries that Meta makes at once.
const AT_ONCE: usize = 64;

impl Scene {
    /// Lays a cable to the door of this core.
    async fn cable(&self) -> Cable {
        let address = self
            .installation
            .public
            .base()
            .trim_start_matches("http://")
            .to_owned();
        Cable::to(address).await
    }

    /// Delivers to a relay as Meta does.
    async fn to_edge(&self, edge: &EdgeHost, body: &[u8]) -> Said {
        let signature = sign_meta(self.app_secret.as_bytes(), body);
        let url = format!("{}/webhooks/meta", edge.public.base());
        self.post_to(&url, &[("x-hub-signature-256", &signature)], whole(body))
            .await
    }

    /// Delivers one status each, many at once, all of which must be answered 200.
    async fn fill(&self, edge: &EdgeHost, deliveries: usize) {
        let answers = stream::iter((0..deliveries).map(|_| self.one(0)))
            .map(|body| async move { self.to_edge(edge, &body).await })
            .buffer_unordered(AT_ONCE);
        let refused: Vec<Said> = answers
            .filter(|answer| std::future::ready(*answer != said(200, "")))
            .collect()
            .await;
        assert!(refused.is_empty(), "{refused:?}");
    }

    /// Waits until every event that is stored is applied.
    async fn applied(&self) {
        let unapplied = "events WHERE applied_at IS NULL";
        eventually("every event is applied", 4 * SOON, || async {
            Ok((self.installation.count_rows(unapplied).await? == 0).then_some(()))
        })
        .await
        .expect("applied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_deliveries_outlive_two_kills_of_the_relay() {
    let scene = Scene::open("spooled").await;
    let cable = scene.cable().await;
    cable.cut();
    let mut edge = EdgeHost::start(&cable.address().to_string(), &[]).await;
    scene.fill(&edge, SPOOLED).await;
    assert_eq!(edge.metric("malote_relay_pending").await.unwrap(), SPOOLED as u64);
    assert_eq!(scene.statuses().await, 0);

    edge.kill().await;
    edge.start_again().await;
    assert_eq!(edge.metric("malote_relay_pending").await.unwrap(), SPOOLED as u64);
    assert!(edge.metric("malote_relay_oldest_pending_seconds").await.unwrap() < 600);
    cable.mend();
    eventually("half of it is forwarded", 2 * SOON, || async {
        let pending = edge.metric("malote_relay_pending").await?;
        Ok((pending < SPOOLED as u64 / 2).then_some(()))
    })
    .await
    .unwrap();
    edge.kill().await;
    edge.start_again().await;
    edge.drained().await;
    scene.applied().await;
    assert_eq!(scene.statuses().await, SPOOLED as i64);
    assert_eq!(edge.metric("malote_relay_damaged").await.unwrap(), 0);
    let twice = edge
        .metric("malote_relay_deliveries_forwarded_total{outcome=\"duplicate\"}")
        .await
        .unwrap();
    println!("{SPOOLED} deliveries arrived, {twice} of them in two attempts, each in effect once");

    let had = edge.replay(&cable.address().to_string(), "1h").await;
    assert!(
        had.contains(&format!(": 0 deliveries were new to the core, {SPOOLED} it had")),
        "{had}"
    );
    assert_eq!(edge.stop().await, Some(0));
    edge.discard();
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_followed_through_a_relay_while_the_core_dies() {
    let mut scene = Scene::open("edge").await;
    let cable = scene.cable().await;
    let mut edge = EdgeHost::start(&cable.address().to_string(), &[]).await;
    cable.cut();
    let callback = format!("{}/webhooks/meta", edge.public.base());
    scene.installation.simulator.set_callback(callback);
    let campaign = scene.tenant.launch_to("followed", 20_000_000, 100).await.unwrap();
    scene.tenant.finished(&campaign, SOON).await.unwrap();
    assert!(
        scene.installation.simulator.wait_until_idle(SOON).await,
        "the relay answered all of it"
    );
    assert_eq!(scene.statuses().await, 0);
    scene.installation.kill_node(0).await.unwrap();
    scene.installation.start_node(0).await.unwrap();
    scene.tenant.reconnect(&scene.installation);
    let restored = scene.cable().await;
    assert_eq!(edge.stop().await, Some(0));
    edge.forward_to(&restored.address().to_string());
    edge.start_again().await;
    edge.drained().await;
    scene.applied().await;
    let found = scene.tenant.campaign(&campaign).await.unwrap();
    check_promises(&scene.installation, &scene.tenant, &found, 100).await;
    let arrived = scene.installation.simulator.truth().delivered;
    assert_eq!(arrived, 100);
    edge.stop().await;
    edge.discard();
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_believes_nobody_but_meta_and_is_full_before_its_disk_is() {
    let scene = Scene::open("full").await;
    let cable = scene.cable().await;
    cable.cut();
    let mut edge = EdgeHost::start(
        &cable.address().to_string(),
        &[("MALOTE_RELAY__SPOOL_MOST_MB", "4")],
    )
    .await;
    let url = format!("{}/webhooks/meta", edge.public.base());
    let forged = sign_meta(b"guessed", b"{}");
    let answer = scene
        .post_to(&url, &[("x-hub-signature-256", &forged)], whole(b"{}"))
        .await;
    assert_eq!(answer, said(401, "signature_invalid"));
    assert_eq!(
        scene.post_to(&url, &[], whole(b"{}")).await,
        said(401, "signature_invalid")
    );
    assert!(edge.is_ready().await);
    let large = format!("{{\"entry\":[]}}{}", " ".repeat(2 * 1_024 * 1_024));
    assert_eq!(scene.to_edge(&edge, large.as_bytes()).await, said(200, ""));
    assert_eq!(
        scene.to_edge(&edge, large.as_bytes()).await,
        said(503, "unavailable")
    );
    assert!(!edge.is_ready().await);
    cable.mend();
    edge.drained().await;
    assert_eq!(scene.to_edge(&edge, large.as_bytes()).await, said(200, ""));
    let (_, body) = edge
        .public
        .raw(hyper::Method::GET, "/metrics", "text/plain", Bytes::new())
        .await
        .unwrap();
    assert!(
        !String::from_utf8_lossy(&body).contains("malote_relay"),
        "metrics are not public"
    );
    assert_eq!(edge.stop().await, Some(0));
    edge.discard();
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_brings_a_restored_core_what_it_missed() {
    let (first, restored) = (Scene::open("before").await, Scene::open("restored").await);
    let cable = first.cable().await;
    let mut edge = EdgeHost::start(&cable.address().to_string(), &[]).await;
    first.fill(&edge, 50).await;
    edge.drained().await;
    let other = restored.cable().await;
    let target = other.address().to_string();
    let brought = edge.replay(&target, "1h").await;
    assert!(
        brought.contains(": 50 deliveries were new to the core, 0 it had"),
        "{brought}"
    );
    let again = edge.replay(&target, "1h").await;
    assert!(
        again.contains(": 0 deliveries were new to the core, 50 it had"),
        "{again}"
    );
    assert_eq!(edge.stop().await, Some(0));
    edge.discard();
    first.close().await;
    restored.close().await;
}
