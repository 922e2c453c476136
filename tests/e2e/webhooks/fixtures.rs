//! Every delivery that we have, ours and, where they are present, others', through both doors of a running server.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::scene::{Attempt, Scene, said};

fn directories() -> [PathBuf; 2] {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    [
        here.join("tests/fixtures/webhooks"),
        here.join("../shared/fixtures/meta-webhooks"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_delivery_is_accepted_at_both_doors_and_known_again_at_the_second() {
    let scene = Scene::open("fixtures").await;
    let now = Timestamp::now().as_second().to_string();
    let mut deliveries = 0;
    for directory in directories() {
        let Ok(files) = std::fs::read_dir(&directory) else {
            continue; // Others' are no part of the repository.
        };
        for file in files {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|end| end != "json") {
                continue;
            }
            let name = path.display().to_string();
            let text = std::fs::read_to_string(&path).unwrap();
            let body = text
                .replace("1764000000", &now)
                .replace("106540352242922", &scene.tenant.phone_number_id)
                .replace("102290129340398", &scene.account());
            assert_eq!(scene.meta(body.as_bytes()).await, said(200, ""), "{name}");
            let answer = scene.hop(&Attempt::now(), body.as_bytes()).await;
            assert_eq!(answer, said(200, "duplicate"), "{name}");
            deliveries += 1;
        }
    }
    assert!(deliveries > 60, "{deliveries}");
    assert!(
        scene
            .counter("malote_webhook_updates_total{field=\"unknown\"}")
            .await
            >= 2
    );
    assert!(scene.counter("malote_webhook_unknown_messages_total").await >= 2);
    // They all tell of one attempt, in every status that there is.
    assert_eq!(scene.statuses().await, 4);
    println!("{deliveries} deliveries accepted at each door");
    scene.close().await;
}
