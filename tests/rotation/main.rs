//! The rotation drill (`make rotation`): every secret is changed on running servers under 200 requests a second, and no request fails.
//! Needs servers of its own, because it changes their passwords.

mod load;
mod servers;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use malote::trial::{Installation, Options, PlanChoice, Tenant, eventually};
use serde_json::json;

use load::Load;
use servers::Servers;

/// How long the load runs before, between and after changes.
const BREATH: Duration = Duration::from_secs(3);
/// How long a changed value may take until the process has taken it.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

struct Drill {
    installation: Installation,
    tenant: Tenant,
    servers: Servers,
    load: Load,
}

impl Drill {
    async fn start() -> anyhow::Result<Self> {
        let servers = Servers::find()?;
        let directory = servers.copy_of_secrets()?;
        let mut settings: Vec<(String, String)> = servers.settings(&directory);
        settings.push(("MALOTE_SECRETS__POLL_MS".to_owned(), "500".to_owned()));
        let options = Options {
            name: "rotation",
            program: env!("CARGO_BIN_EXE_malote").into(),
            simulator: simulator::config::Config::default(),
            settings,
        };
        let installation = Installation::start(options).await?;
        let tenant = Tenant::create(&installation, "rotation", PlanChoice::FREE, 80).await?;
        let load = Load::start(&installation, &tenant, &servers);
        tokio::time::sleep(BREATH).await;
        Ok(Self {
            installation,
            tenant,
            servers,
            load,
        })
    }

    /// Changes a secret: the source first, then whatever the server must be told; waits until the process has taken it.
    async fn change(
        &self,
        name: &str,
        value: &str,
        at_server: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let before = self.renewals(name).await?;
        self.servers.write(name, value)?;
        // Long enough for a look at the source while the server does not know the new value.
        tokio::time::sleep(Duration::from_millis(700)).await;
        at_server().await?;
        eventually(&format!("{name} is taken"), TAKEN_WITHIN, || async {
            Ok((self.renewals(name).await? > before).then_some(()))
        })
        .await?;
        // Enough at once that the pools open connections.
        self.load.burst(30).await;
        tokio::time::sleep(BREATH).await;
        println!("{name:<14} changed; so far {}", self.load.figures());
        Ok(())
    }

    async fn renewals(&self, name: &str) -> anyhow::Result<u64> {
        let page = self.installation.admin.get_text("/metrics").await?;
        let start = format!("malote_secret_renewals_total{{secret=\"{name}\"}} ");
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(&start))
            .context("no such metric")?;
        Ok(line.trim().parse()?)
    }
}

/// A line of `token_keys`, with an id of this run's: the stack may be here from an earlier one.
fn new_line() -> String {
    let id = format!("drill-{}", jiff::Timestamp::now().as_second());
    malote::storage::sealing::new_key(&id).expect("randomness")
}

fn fresh() -> String {
    new_line()
        .split_once(':')
        .expect("a key behind its id")
        .1
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_secret_changes_under_load_and_no_request_fails() -> anyhow::Result<()> {
    let mut drill = Drill::start().await?;
    change_passwords(&drill).await?;
    change_what_callers_show(&drill).await?;
    change_tokens(&drill).await?;
    let figures = drill.load.stop().await;
    println!("rotation: {figures}");
    if let Some(failure) = figures.first_failure.clone() {
        anyhow::bail!(
            "{} of {} requests failed, the first: {failure}",
            figures.failed,
            figures.asked
        );
    }
    anyhow::ensure!(
        figures.per_second() >= 190.0,
        "the load was too small to prove anything: {figures}"
    );
    check_log(&drill.installation.log(), &drill.servers)?;
    drill.installation.settle(Duration::from_secs(60)).await?;
    drill.installation.stop().await
}

/// What opens other servers' doors.
async fn change_passwords(drill: &Drill) -> anyhow::Result<()> {
    let servers = &drill.servers;
    for role in ["app_rw", "app_system"] {
        let (old, new) = (servers.read(role)?, fresh());
        drill
            .change(role, &new, async || servers.set_role_password(role, &new).await)
            .await?;
        anyhow::ensure!(
            !servers.role_password_works(role, &old).await,
            "{role}: the old password still opens"
        );
        anyhow::ensure!(
            servers.role_password_works(role, &new).await,
            "{role}: the new password opens nothing"
        );
    }
    let new = fresh();
    drill
        .change("redis", &new, async || servers.set_redis_password(&new).await)
        .await?;
    let new = fresh();
    drill
        .change("rabbitmq", &new, async || servers.set_broker_password(&new).await)
        .await?;
    drill.load.expect_ready(&drill.installation).await
}

/// Tells callers of a new value.
type Tell = fn(&Load, &str);

/// What opens our own doors: callers learn the new one after us.
async fn change_what_callers_show(drill: &Drill) -> anyhow::Result<()> {
    let told: [(&str, Tell); 3] = [
        ("admin", Load::use_admin_key),
        ("app_secret", Load::use_app_secret),
        ("verify_token", Load::use_verify_token),
    ];
    for (name, tell) in told {
        let new = fresh();
        drill.change(name, &new, async || Ok(())).await?;
        tell(&drill.load, &new);
        tokio::time::sleep(BREATH).await;
    }
    Ok(())
}

/// The keys that wrap access tokens, and then a sender's own token.
async fn change_tokens(drill: &Drill) -> anyhow::Result<()> {
    let keys = format!("{}\n{}", new_line(), drill.servers.read("token_keys")?);
    drill.change("token_keys", &keys, async || Ok(())).await?;
    let body = json!({"access_token": "a-renewed-token-of-the-trial"}).to_string();
    let path = format!("/v1/senders/{}", drill.tenant.sender);
    let api = &drill.tenant.api;
    let (status, _) = api
        .raw(hyper::Method::PATCH, &path, "application/json", body.into())
        .await?;
    anyhow::ensure!(status.is_success(), "the token was not renewed: {status}");
    // Longer than a number is remembered: messages now go out under the renewed token.
    tokio::time::sleep(Duration::from_secs(6)).await;
    println!("{:<14} renewed; so far {}", "access token", drill.load.figures());
    Ok(())
}

/// No value of any secret is in the log.
fn check_log(log: &Path, servers: &Servers) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(log)?;
    anyhow::ensure!(
        text.contains("a renewed secret works"),
        "the log says nothing of renewals"
    );
    for value in servers.all_values() {
        anyhow::ensure!(!text.contains(&value), "a secret is in {}", log.display());
    }
    Ok(())
}
