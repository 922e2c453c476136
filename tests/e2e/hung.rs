//! A node whose actors hang keeps its connections, and with them its partitions: only its own watchdog can free them.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use malote::trial::eventually;
use serde_json::json;

use crate::nodes::{Bench, HANDOVER_WITHIN, WITHIN};
use crate::support::SOON;

/// It ends itself after 30 s of silence, and is not ready before.
const ENDED_WITHIN: Duration = Duration::from_secs(45);
/// The signal by which a process ends that aborts.
const SIGABRT: i32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_actors_hang_is_not_ready_ends_itself_and_is_replaced() {
    let mut bench = Bench::start("hung").await;
    let before = bench.accepted_of_second();
    bench.all_of_second_go_on(&before, SOON).await;

    let second = bench.installation.admin_of(bench.second).unwrap();
    let fault = json!({"child": "send_queue", "step": "handle", "deed": "block"});
    second.post("/admin/v1/faults", &fault).await.unwrap();
    let hung = Instant::now();
    eventually("it is not ready", ENDED_WITHIN, || async {
        let (status, _) = second
            .raw(Method::GET, "/readyz", "application/json", "".into())
            .await?;
        Ok((status == StatusCode::SERVICE_UNAVAILABLE).then_some(()))
    })
    .await
    .unwrap();
    println!("hung: it was not ready after {:?}", hung.elapsed());
    let ended = eventually("it ends itself", ENDED_WITHIN, || {
        let ended = bench.installation.ended_nodes();
        async move { ended.map(|ended| ended.into_iter().next()) }
    })
    .await
    .unwrap();
    println!("{ended} after {:?}", hung.elapsed());
    assert!(ended.contains(&format!("signal: {SIGABRT} ")), "{ended}");
    let before = bench.accepted_of_second();
    let took = bench.all_of_second_go_on(&before, WITHIN).await;
    println!("the other node sent for each of its tenants within {took:?} of that");
    assert!(took < HANDOVER_WITHIN, "it took {took:?}");

    bench.installation.start_node(bench.second).await.unwrap();
    bench.is_balanced().await;
    bench.finish().await;
}
