//! `malote demo`: the main job, end to end, on a database and queues of its own, with a simulated Meta that misbehaves a little.

mod balance;
mod contacts;
mod screen;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use simulator::{Config as SimulatorConfig, Faults};

use self::balance::Balance;
use self::contacts::Contacts;
use self::screen::Screen;
use crate::config::stack_variable;
use crate::trial::{Installation, Options, PlanChoice, Tenant};

/// What the demo's tenant pays for.
const PLAN: PlanChoice = PlanChoice {
    allowance_units: 3_000,
    policy: "overage",
    overage_price_micros: 45_000,
    fee_minor: 14_900,
};
/// The number's throughput, messages a second.
const RATE: u32 = 500;
/// How long the campaign, and then the last webhooks, may take.
const WITHIN: Duration = Duration::from_secs(120);
/// The load of a demo that stays up: a message this often.
const LOAD_EVERY: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// End when the campaign is done; exit code 0 only if everything adds up.
    #[arg(long)]
    exit: bool,
    /// Feeds the contacts and what goes wrong: the same seed makes the same demo.
    #[arg(long, default_value_t = 7, value_name = "NUMBER")]
    seed: u64,
    /// Rows of the contact list.
    #[arg(long, default_value_t = 5_000, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(100..=50_000))]
    contacts: u64,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let screen = Screen::new();
    let contacts = Contacts::make(arguments.seed, arguments.contacts);
    screen.title("Malote, end to end");
    screen.step("a database, queues, a simulated Meta that misbehaves a little, and a server");
    let installation = Installation::start(Options {
        name: "demo",
        program: std::env::current_exe().context("the path of this program")?,
        simulator: misbehaving(arguments.seed, &contacts),
        settings: Vec::new(),
    })
    .await?;
    let tenant = prepare(&screen, &installation, &contacts).await?;
    let campaign = send(&screen, &tenant, &contacts).await?;
    screen.step("waiting for the last webhooks");
    installation.settle(WITHIN).await?;
    let balance = Balance::take(&installation, &tenant, &campaign, &contacts, PLAN).await?;
    balance.show(&screen);
    show_addresses(&screen, &installation, &tenant)?;
    if !arguments.exit {
        keep_busy(&screen, &tenant).await?;
    }
    installation.stop().await?;
    Ok(if balance.adds_up() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What goes wrong at this Meta: a little of everything.
fn misbehaving(seed: u64, contacts: &Contacts) -> SimulatorConfig {
    SimulatorConfig {
        seed,
        webhook_batch: 20,
        faults: Faults {
            transient_error_share: 0.01,
            lost_answer_share: 0.002,
            answer_delay_min_ms: 5,
            answer_delay_ms: 40,
            answer_delay_p99_ms: 250,
            failed_share: 0.01,
            free_share: 0.03,
            duplicated_webhook_share: 0.05,
            reordered_webhook_share: 0.05,
            late_webhook_share: 0.01,
            refused_recipients: contacts.refused.iter().cloned().collect(),
            ..Faults::default()
        },
        ..SimulatorConfig::for_tests()
    }
}

async fn prepare(
    screen: &Screen,
    installation: &Installation,
    contacts: &Contacts,
) -> anyhow::Result<Tenant> {
    screen.step(&format!(
        "a tenant: {RATE} messages a second, {} included in EUR {:.2}, EUR {} for each beyond",
        PLAN.allowance_units,
        PLAN.fee_minor as f64 / 100.0,
        PLAN.overage_price_micros as f64 / 1e6
    ));
    let tenant = Tenant::create(installation, "demo", PLAN, RATE).await?;
    for recipient in &contacts.suppressed {
        let path = format!("/v1/suppressions/{recipient}").replace('+', "%2B");
        tenant
            .api
            .put(&path, &json!({"reason": "asked to be left alone"}))
            .await?;
    }
    Ok(tenant)
}

async fn send(screen: &Screen, tenant: &Tenant, contacts: &Contacts) -> anyhow::Result<String> {
    let campaign = tenant.draft("Spring greetings").await?;
    screen.step(&format!("uploading {} contacts", contacts.rows));
    let report = tenant.upload(&campaign, contacts.csv.clone()).await?;
    screen.line(&format!(
        "{} accepted, {} rejected, {} duplicates, {} suppressed",
        report["accepted"], report["rejected"], report["duplicates"], report["suppressed"]
    ));
    for error in report["errors"].as_array().into_iter().flatten().take(3) {
        screen.line(&format!("row {}: {}", error["row"], text(&error["reason"])));
    }
    let preflight = tenant
        .api
        .get(&format!("/v1/campaigns/{campaign}/preflight"))
        .await?;
    let cost = &preflight["estimated_cost"];
    screen.line(&format!(
        "preflight: {} to send, at most {} {} beyond the fee, done by {}",
        preflight["valid"],
        text(&cost["currency"]),
        text(&cost["amount"]),
        text(&preflight["would_finish_at"])
    ));
    tenant.tell(&campaign, "launch").await?;
    screen.step("launched");
    screen.follow(tenant, &campaign, WITHIN).await?;
    Ok(campaign)
}

/// Shows a JSON string without its quotes.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn show_addresses(screen: &Screen, installation: &Installation, tenant: &Tenant) -> anyhow::Result<()> {
    screen.title("Look around");
    screen.line(&format!("API page      {}/docs", installation.public.base()));
    screen.line(&format!("metrics       {}/metrics", installation.admin.base()));
    for (name, variable) in [("Prometheus", "PROMETHEUS"), ("Alertmanager", "ALERTMANAGER")] {
        if let Some(address) = stack_variable(variable) {
            screen.line(&format!("{name:<13} {address}"));
        }
    }
    screen.line(&format!("server's log  {}", installation.log().display()));
    screen.line(&format!("tenant's key  {}", tenant.key));
    if let Some(directory) = stack_variable("TARGETS") {
        let address = installation.admin.base().trim_start_matches("http://");
        let targets = json!([{"targets": [address], "labels": {"job": "malote"}}]);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(format!("{directory}/malote.json"), targets.to_string())?;
    }
    Ok(())
}

/// Keeps a light load going until the demo is interrupted.
async fn keep_busy(screen: &Screen, tenant: &Tenant) -> anyhow::Result<()> {
    screen.title("A light load goes on; Ctrl-C ends the demo");
    let mut number = 0_u64;
    let mut ticks = tokio::time::interval(LOAD_EVERY);
    loop {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
            _ = ticks.tick() => {}
        }
        number += 1;
        let message = json!({
            "sender_id": tenant.sender, "to": format!("+3519{:08}", 90_000_000 + number % 1_000_000), "category": "utility",
            "template": {"name": "order_update", "language": "en_US", "components": [
                {"type": "body", "parameters": [{"type": "text", "text": format!("visitor {number}")}]}]},
        });
        if let Err(error) = tenant.api.post("/v1/messages", &message).await {
            screen.line(&format!("{error:#}"));
        }
    }
}
