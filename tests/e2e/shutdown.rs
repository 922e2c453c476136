//! SIGTERM in the middle of a campaign: the server finishes what is in flight, hands over, and ends well.

use std::time::{Duration, Instant};

use domain::message::MessageState;
use malote::trial::{PlanChoice, Tenant, eventually};
use simulator::config::Config;
use tokio::process::Command;

use crate::support::{SOON, check_promises, start};

const MESSAGES: u64 = 3_000;
const RATE: u32 = 300;
/// What config/default.toml allows for requests and for what is in flight.
const DRAINS_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_finishes_what_is_in_flight_and_the_next_one_the_rest() {
    let mut installation = start("shutdown", Config::for_tests(), &[]).await;
    let mut tenant = Tenant::create(&installation, "shutdown", PlanChoice::FREE, RATE)
        .await
        .unwrap();
    let campaign = tenant.launch_to("stopped", 90_000_000, MESSAGES).await.unwrap();
    eventually("the campaign is in the middle", SOON, || async {
        Ok((installation.simulator.truth().accepted > MESSAGES / 4).then_some(()))
    })
    .await
    .unwrap();

    let told = Instant::now();
    let id = installation.server_id().expect("it runs").to_string();
    for signal in ["-TERM", "-INT", "-TERM"] {
        // Whoever is impatient changes nothing: it ends well all the same.
        let status = Command::new("kill").args([signal, &id]).status().await.unwrap();
        assert!(status.success(), "kill {signal}: {status}");
    }
    installation.stop_node(0).await.expect("it ends with 0");
    let took = told.elapsed();
    assert!(took < DRAINS_WITHIN, "{took:?}");
    let accepted = installation.simulator.truth().accepted;
    assert!(
        accepted < MESSAGES,
        "the campaign was over too soon to show anything"
    );
    for state in [MessageState::Sending, MessageState::Unknown] {
        let rows = format!("messages WHERE state = '{}'", state.as_str());
        let left = installation.count_rows(&rows).await.unwrap();
        assert_eq!(left, 0, "{} are {}", left, state.as_str());
    }

    installation.start_node(0).await.unwrap();
    tenant.reconnect(&installation);
    let finished = tenant.finished(&campaign, SOON * 2).await.unwrap();
    installation.settle(Duration::from_secs(60)).await.unwrap();
    println!("ended within {took:?}; {accepted} of {MESSAGES} were accepted by then");
    let total = i64::try_from(MESSAGES).unwrap();
    check_promises(&installation, &tenant, &finished, total).await;
    assert_eq!(installation.simulator.truth().accepted, MESSAGES);
    installation.stop().await.unwrap();
}
