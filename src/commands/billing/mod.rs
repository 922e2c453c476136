//! `malote billing`: checking the books, setting them right, closing periods, taking anchors, invoices, exports, and what Meta takes.

mod correcting;
mod costs;
mod found;
mod writing;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use domain::ids::TenantId;

use self::correcting::{Correct, Corrections, Decide};
use self::costs::{Margin, Rates};
use self::found::{Explain, Findings};
use self::writing::{Export, Invoice};
use super::Config;
use crate::charges::{self, UNSETTLED_DAYS};
use crate::meta::{Client, Lease, Licence};
use crate::storage::anchors::{self, Anchored};
use crate::storage::audit::{self, Report};
use crate::storage::committer::closing;
use crate::storage::reconcile::{SAMPLE_USUAL, Sample, any_seed, reconcile, size_for};
use crate::storage::sender_directory::SenderDirectory;
use crate::storage::{Database, Role};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Hashes every ledger row again, draws every invoice up again and takes all counts again. Reads as readonly_audit; the server may
    /// be running.
    VerifyAudit {
        /// Only this tenant.
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        /// A file of exported anchors, which whoever owns the database cannot have changed.
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Compares ledger, counters, messages and Meta's statuses in SQL, sharing nothing with the code that keeps them. Reads as
    /// readonly_audit.
    Reconcile {
        /// Everything.
        #[arg(long, conflicts_with_all = ["seed", "size"], required_unless_present_any = ["sample", "meta"])]
        full: bool,
        /// Some attempts, drawn at random.
        #[arg(long, conflicts_with = "full")]
        sample: bool,
        /// A week's captured units by account, day (UTC) and category, against what Meta says it charged. Connects as app_system, for
        /// the tokens.
        #[arg(long, conflicts_with_all = ["full", "sample", "seed", "size", "tenant"])]
        meta: bool,
        /// How many days are left out of the comparison with Meta, today among them.
        #[arg(long, requires = "meta", value_name = "DAYS", default_value_t = UNSETTLED_DAYS)]
        unsettled_days: u32,
        /// What the sample is drawn by; the same seed draws the same attempts.
        #[arg(long)]
        seed: Option<i64>,
        /// How many attempts of all; some of each kind that is likelier to be wrong come besides. 299 find a fault that touches one in a
        /// hundred with a confidence of 95 %.
        #[arg(long, default_value_t = SAMPLE_USUAL)]
        size: i64,
        /// As many attempts as find, with `--confidence`, a fault that touches this share of them.
        #[arg(long, conflicts_with_all = ["size", "full"], value_name = "SHARE")]
        share: Option<f64>,
        /// How sure the finding shall be.
        #[arg(long, requires = "share", value_name = "SHARE", default_value_t = 0.95)]
        confidence: f64,
        /// Only this tenant.
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Lists what the planners' checks found, with its state: open, explained, gone.
    Findings(Findings),
    /// Notes what a finding comes from: it alerts no longer. Changes nothing in the books.
    Explain(Explain),
    Correct(Correct),
    /// Books a correction that somebody else asked for.
    Approve(Decide),
    /// Takes back a correction that was asked for and is not booked.
    Withdraw(Decide),
    /// Lists the corrections that wait for a second person.
    Corrections(Corrections),
    /// Closes the periods whose grace is over; a planner does so by itself.
    Close,
    /// Prints the invoice of a closed period, or the draft of the open one.
    Invoice(Invoice),
    /// Prints the ledger's rows of a period, each with its message and with what Meta said of it.
    Export(Export),
    /// Takes an anchor of all ledgers and prints it as one line of JSON; a planner does so daily.
    Anchor,
    Rates(Rates),
    Margin(Margin),
}

pub(super) async fn run(config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.action {
        Action::VerifyAudit {
            tenant,
            anchors,
            json,
        } => {
            let exported = match anchors {
                Some(file) => read_anchors(&file)?,
                None => Anchored::new(),
            };
            let database = Database::connect(&config.database, Role::ReadonlyAudit).await?;
            let report = audit::verify(&database, tenant, &exported).await?;
            Ok(tell(&report, json, summary))
        }
        Action::Reconcile {
            meta: true,
            unsettled_days,
            json,
            ..
        } => {
            let report = compare_with_meta(&config, unsettled_days).await?;
            Ok(tell(&report, json, summary_with_meta))
        }
        Action::Reconcile {
            sample,
            seed,
            size,
            share,
            confidence,
            tenant,
            json,
            ..
        } => {
            let seed = seed.unwrap_or_else(any_seed);
            let size = match share {
                Some(share) => {
                    size_for(share, confidence).context("--share and --confidence are between 0 and 1")?
                }
                None => size,
            };
            let sample = sample.then_some(Sample { seed, size });
            let database = Database::connect(&config.database, Role::ReadonlyAudit).await?;
            let report = reconcile(&database, tenant, sample).await?;
            if sample.is_some() && !json {
                println!("drawn by the seed {seed}: {}", strata(&report));
            }
            Ok(tell(&report, json, summary))
        }
        Action::Close => close(&config).await,
        Action::Findings(findings) => found::list(&config, &findings).await,
        Action::Explain(explain) => found::explain(&config, &explain).await,
        Action::Correct(correct) => correcting::correct(&config, &correct).await,
        Action::Approve(decide) => correcting::approve(&config, &decide).await,
        Action::Withdraw(decide) => correcting::withdraw(&config, &decide).await,
        Action::Corrections(corrections) => correcting::list(&config, &corrections).await,
        Action::Invoice(invoice) => writing::invoice(&config, &invoice).await,
        Action::Export(export) => writing::export(&config, &export).await,
        Action::Rates(rates) => costs::import(&config, &rates).await,
        Action::Margin(margin) => costs::margin(&config, &margin).await,
        Action::Anchor => anchor(&config).await,
    }
}

async fn close(config: &Config) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::AppSystem).await?;
    let grace = Duration::from_secs(config.billing.grace_hours * 3_600);
    println!("{} periods closed", closing::close_due(&database, grace).await?);
    Ok(ExitCode::SUCCESS)
}

async fn anchor(config: &Config) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::AppSystem).await?;
    println!("{}", serde_json::to_string(&anchors::take(&database).await?)?);
    Ok(ExitCode::SUCCESS)
}

async fn compare_with_meta(config: &Config, unsettled_days: u32) -> anyhow::Result<Report> {
    let database = Database::connect(&config.database, Role::AppSystem).await?;
    let senders = SenderDirectory::new(database.clone());
    // Nothing is sent: the licence is asked by nobody.
    let licence = Licence {
        lease: Lease::begin(),
        claim_deadline: Duration::ZERO,
    };
    let meta = Client::new(&config.meta, senders.clone(), licence);
    let now = jiff::Timestamp::now();
    Ok(charges::compare(&database, (&senders, &meta), now, unsettled_days).await?)
}

fn read_anchors(file: &std::path::Path) -> anyhow::Result<Anchored> {
    let lines = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    anchors::exported(&lines).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}

/// Prints what was found; exit code 1 if that is anything, or if something could not be looked at.
fn tell(report: &Report, json: bool, summary: fn(&Report) -> String) -> ExitCode {
    if json {
        println!("{}", as_json(report));
    } else {
        println!("{}: {} findings", summary(report), report.findings.len());
        print_findings(report);
        for account in &report.unanswered {
            println!("  not compared: {account}");
        }
    }
    if report.findings.is_empty() && report.unanswered.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn summary(report: &Report) -> String {
    format!(
        "{} tenants, {} ledger rows, {} invoices, {} campaigns",
        report.tenants, report.rows, report.invoices, report.campaigns
    )
}

fn strata(report: &Report) -> String {
    let strata = report.strata.iter();
    let told: Vec<String> = strata.map(|(kind, many)| format!("{many} of {kind}")).collect();
    told.join(", ")
}

fn summary_with_meta(report: &Report) -> String {
    format!(
        "{} accounts, {} messages that Meta charged",
        report.tenants, report.rows
    )
}

fn print_findings(report: &Report) {
    for finding in &report.findings {
        let invariant = finding.invariant;
        println!(
            "  {} ({}): tenant {}: {}",
            invariant.id, invariant.says, finding.tenant, finding.found
        );
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "invariant": finding.invariant.id,
                "says": finding.invariant.says,
                "tenant": finding.tenant.to_string(),
                "found": finding.found,
            })
        })
        .collect();
    serde_json::json!({
        "tenants": report.tenants,
        "ledger_rows": report.rows,
        "invoices": report.invoices,
        "campaigns": report.campaigns,
        "drawn": report.strata,
        "not_compared": report.unanswered,
        "findings": findings,
    })
}
