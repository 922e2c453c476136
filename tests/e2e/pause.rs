//! A campaign of 100,000 is paused while it runs: it stops within a second, and goes on without repeating anybody.

use std::time::{Duration, Instant};

use malote::trial::{Installation, PlanChoice, Tenant, counts_of, eventually};
use serde_json::Value;
use simulator::config::Config;

use crate::support::{SOON, check_promises, start};

const RECIPIENTS: u64 = 100_000;
/// How long a pause may take to answer, and to take effect afterwards.
const PROMPTLY: Duration = Duration::from_secs(1);
/// How long nothing may be accepted after a pause for it to have held.
const WATCHED: Duration = Duration::from_secs(3);
/// Pauses of one campaign.
const PAUSES: usize = 3;

/// How many messages a number had accepted since a moment.
fn accepted_since(installation: &Installation, tenant: &Tenant, since: Instant) -> usize {
    let found = installation.simulator.acceptances(&tenant.phone_number_id, since);
    found.len()
}

/// Waits until so many more messages are accepted.
async fn wait_for(installation: &Installation, tenant: &Tenant, messages: usize) {
    let since = Instant::now();
    eventually("the campaign goes on", SOON, || async {
        Ok((accepted_since(installation, tenant, since) >= messages).then_some(()))
    })
    .await
    .expect("an answer");
}

/// Pauses and watches until nothing of the campaign is in flight. Gives it, and how long the answer or the last message after it took,
/// whichever was longer.
async fn pause(
    installation: &Installation,
    tenant: &Tenant,
    campaign: &str,
    rate: usize,
) -> (Value, Duration) {
    let asked = Instant::now();
    tenant.tell(campaign, "pause").await.expect("an answer");
    let answered = Instant::now();
    // What is looked at is that nothing happens: only time can show that.
    tokio::time::sleep(WATCHED).await;
    let after = installation
        .simulator
        .acceptances(&tenant.phone_number_id, answered);
    let last = after.last().map(|one| one.at - answered).unwrap_or_default();
    println!(
        "{rate}/s: the pause was answered after {:?}; then {} were accepted, the last {last:?} later",
        answered - asked,
        after.len()
    );
    assert!(
        after.len() <= rate,
        "{} were accepted after the answer",
        after.len()
    );
    let found = eventually("nothing is in flight", SOON, || async {
        let found = tenant.campaign(campaign).await?;
        let idle = counts_of(&found, "queued")? == 0 && counts_of(&found, "sending")? == 0;
        Ok(idle.then_some(found))
    });
    (found.await.expect("an answer"), (answered - asked).max(last))
}

/// Pauses and resumes a running campaign again and again, then cancels it.
async fn pause_again_and_again(rate: u32) {
    let installation = start("pause", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "pause", PlanChoice::FREE, rate)
        .await
        .expect("an answer");
    let began = Instant::now();
    let campaign = tenant
        .launch_to("paused", 20_000_000, RECIPIENTS)
        .await
        .expect("an answer");
    println!(
        "{rate}/s: {RECIPIENTS} recipients were uploaded and launched in {:?}",
        began.elapsed()
    );
    let per_second = usize::try_from(rate).expect("an answer");
    let mut took = Vec::new();
    for _ in 0..PAUSES {
        wait_for(&installation, &tenant, per_second).await;
        let (paused, longest) = pause(&installation, &tenant, &campaign, per_second).await;
        assert_eq!(
            (&paused["state"], &paused["reason"]),
            (&"paused".into(), &"manual".into())
        );
        tenant.tell(&campaign, "resume").await.expect("an answer");
        took.push(longest);
    }
    took.sort_unstable();
    // The one between: a machine at work on other tests may stand still once.
    assert!(took[PAUSES / 2] <= PROMPTLY, "{took:?}");
    assert!(took[PAUSES - 1] < WATCHED, "{took:?}");
    wait_for(&installation, &tenant, per_second).await;
    tenant.tell(&campaign, "cancel").await.expect("an answer");
    let cancelled = eventually("the cancelled rows have moved", SOON, || async {
        let found = tenant.campaign(&campaign).await?;
        let mut left = 0;
        for state in ["planned", "queued", "sending"] {
            left += counts_of(&found, state)?;
        }
        Ok((left == 0).then_some(()))
    });
    cancelled.await.expect("an answer");
    installation.settle(SOON).await.expect("an answer");
    let campaign = tenant.campaign(&campaign).await.expect("an answer");
    check_promises(
        &installation,
        &tenant,
        &campaign,
        i64::try_from(RECIPIENTS).expect("an answer"),
    )
    .await;
    let accepted = i64::try_from(installation.simulator.truth().accepted).expect("an answer");
    let arrived = counts_of(&campaign, "delivered").expect("an answer")
        + counts_of(&campaign, "read").expect("an answer");
    assert_eq!(arrived, accepted, "{campaign}");
    installation.stop().await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_at_the_usual_rate_stops_within_a_second() {
    pause_again_and_again(80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_at_the_highest_rate_stops_within_a_second() {
    pause_again_and_again(1_000).await;
}
