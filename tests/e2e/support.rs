//! What every test needs: an installation that logs where it can be found, and checks that hold after any campaign.

use std::time::Duration;

use domain::message::MessageState;
use malote::trial::{Installation, Options, Tenant, counts_of};
use serde_json::Value;
use simulator::config::Config;

/// How long a campaign of a few hundred messages may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Starts an installation of this build.
pub(crate) async fn start(name: &'static str, simulator: Config, settings: &[(&str, &str)]) -> Installation {
    let options = Options {
        name,
        program: env!("CARGO_BIN_EXE_malote").into(),
        simulator,
        settings: settings
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    };
    Installation::start(options).await.expect("an installation")
}

/// Checks what must hold after any campaign: every recipient in exactly one state, none sent to twice, the books in order.
pub(crate) async fn check_promises(
    installation: &Installation,
    tenant: &Tenant,
    campaign: &Value,
    recipients: i64,
) {
    let sum: i64 = MessageState::ALL
        .iter()
        .map(|state| counts_of(campaign, state.as_str()).expect("a count"))
        .sum();
    assert_eq!(
        counts_of(campaign, "total").expect("a count"),
        recipients,
        "{campaign}"
    );
    assert_eq!(sum, recipients, "{campaign}");
    let truth = installation.simulator.truth();
    assert!(
        truth.most_accepted_for_one_recipient <= 1,
        "somebody was sent to twice: {truth:?}"
    );
    let report = installation
        .verify_audit(Some(tenant.id))
        .await
        .expect("an answer");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

/// Reads the usage of the open period.
pub(crate) async fn usage(tenant: &Tenant, field: &str) -> i64 {
    let usage = tenant.api.get("/v1/usage").await.expect("an answer");
    usage[field]
        .as_i64()
        .unwrap_or_else(|| panic!("no {field} in {usage}"))
}

/// The simulator's count of messages that were delivered and are billed.
pub(crate) fn billable(installation: &Installation) -> i64 {
    i64::try_from(installation.simulator.truth().billable).expect("an answer")
}
