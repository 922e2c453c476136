//! A single message is not kept waiting by a campaign of 100,000 of the same tenant and number.

use std::time::Duration;

use malote::trial::{PlanChoice, Tenant, Transactional, measure_transactional};
use simulator::config::Config;

use crate::support::start;

/// What this unoptimised build may take on a machine that runs other tests as well: without its lane a message would wait for
/// the two seconds that the campaign has queued ahead. `make latency` holds the release build to the goal, at the 99th percentile.
const MOST: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_single_message_overtakes_a_campaign() {
    let installation = start("latency", Config::for_tests(), &[]).await;
    let what = Transactional {
        recipients: 100_000,
        messages: 200,
        messages_per_second: 80,
    };
    let tenant = Tenant::create(
        &installation,
        "latency",
        PlanChoice::FREE,
        what.messages_per_second,
    )
    .await
    .unwrap();
    let latencies = measure_transactional(&installation, &tenant, what).await.unwrap();
    println!("from the API's answer to Meta's acceptance: {latencies}");
    assert!(latencies.percentile(90) < MOST, "{latencies}");
    assert!(latencies.percentile(99) < 2 * MOST, "{latencies}");
    installation.stop().await.unwrap();
}
