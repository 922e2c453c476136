//! The limit of a hard plan at full size: 40 campaigns and two nodes push 50,000 messages against 10,000 units. `make limit` brings the
//! servers up; `tests/e2e/exact_limit.rs` does the same in small.

use std::time::Duration;

use malote::trial::{Installation, Options, Push, push_to_limit};
use simulator::config::Config;

const PUSH: Push = Push {
    campaigns: 40,
    each: 1_250,
    limit: 10_000,
    messages_per_second: 1_000,
};
/// Until an upgrade lets everything go on.
const RELEASED_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn exactly_ten_thousand_of_fifty_thousand_leave_until_the_upgrade() {
    let options = Options {
        name: "limit",
        program: env!("CARGO_BIN_EXE_malote").into(),
        simulator: Config::for_tests(),
        settings: vec![("MALOTE_TELEMETRY__LOG_FILTER".to_owned(), "warn".to_owned())],
    };
    let mut installation = Installation::start(options).await.expect("an installation");
    let seen = push_to_limit(&mut installation, PUSH).await.expect("exact");
    println!(
        "exactly {} of {} messages: {seen}",
        PUSH.limit,
        PUSH.campaigns * PUSH.each
    );
    assert!(seen.next_accepted_after < RELEASED_WITHIN, "{seen}");
    assert!(seen.released_after < RELEASED_WITHIN, "{seen}");
    for check in [
        &["billing", "verify-audit"][..],
        &["billing", "reconcile", "--full"],
    ] {
        let output = installation.command(check).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{}: {}", check.join(" "), said.trim());
        assert!(output.status.success(), "{check:?}: {output:?}");
    }
    installation.stop().await.expect("a clean end");
}
