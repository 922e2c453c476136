//! Many campaigns push against a hard plan through two nodes: exactly the limit leaves. `make limit` does it at full size.

use malote::trial::{Push, push_to_limit};
use simulator::config::Config;

use crate::support::{check_promises, start};

const PUSH: Push = Push {
    campaigns: 40,
    each: 60,
    limit: 600,
    // Slow enough that messages are on their way when the owner leaves, and when it comes back.
    messages_per_second: 60,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_plan_lets_exactly_its_limit_through_two_nodes() {
    let mut installation = start("limit", Config::for_tests(), &[]).await;
    let seen = push_to_limit(&mut installation, PUSH).await.expect("exact");
    println!("{seen}");
    assert!(seen.takeovers >= 3, "the owner left and came back: {seen}");
    // One that ran while the owner was away, and one that began when it was back.
    let [first, .., last] = &seen.campaigns[..] else {
        panic!("{seen}")
    };
    for campaign in [first, last] {
        let found = seen.tenant.campaign(campaign).await.expect("the campaign");
        check_promises(&installation, &seen.tenant, &found, 60).await;
    }
    installation.stop().await.expect("a clean end");
}
