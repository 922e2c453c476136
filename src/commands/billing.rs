//! `malote billing`: checking the books, closing periods, taking anchors.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use domain::ids::TenantId;

use super::Config;
use crate::storage::anchors::{self, Anchored};
use crate::storage::audit::{self, Report};
use crate::storage::committer::closing;
use crate::storage::reconcile::{SAMPLE_USUAL, Sample, any_seed, reconcile};
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
        #[arg(long, conflicts_with_all = ["seed", "size"], required_unless_present = "sample")]
        full: bool,
        /// Some attempts, drawn at random.
        #[arg(long, conflicts_with = "full")]
        sample: bool,
        /// What the sample is drawn by; the same seed draws the same attempts.
        #[arg(long)]
        seed: Option<i64>,
        /// How many attempts; 299 find a fault that touches one in a hundred with a confidence of 95 %.
        #[arg(long, default_value_t = SAMPLE_USUAL)]
        size: i64,
        /// Only this tenant.
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Closes the periods whose grace is over; a planner does so by itself.
    Close,
    /// Takes an anchor of all ledgers and prints it as one line of JSON; a planner does so daily.
    Anchor,
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
            Ok(tell(&audit::verify(&database, tenant, &exported).await?, json))
        }
        Action::Reconcile {
            full: _,
            sample,
            seed,
            size,
            tenant,
            json,
        } => {
            let seed = seed.unwrap_or_else(any_seed);
            let sample = sample.then_some(Sample { seed, size });
            if sample.is_some() && !json {
                println!("a sample of {size} attempts, drawn by the seed {seed}");
            }
            let database = Database::connect(&config.database, Role::ReadonlyAudit).await?;
            Ok(tell(&reconcile(&database, tenant, sample).await?, json))
        }
        Action::Close => {
            let database = Database::connect(&config.database, Role::AppSystem).await?;
            let grace = Duration::from_secs(config.billing.grace_hours * 3_600);
            println!("{} periods closed", closing::close_due(&database, grace).await?);
            Ok(ExitCode::SUCCESS)
        }
        Action::Anchor => {
            let database = Database::connect(&config.database, Role::AppSystem).await?;
            println!("{}", serde_json::to_string(&anchors::take(&database).await?)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read_anchors(file: &std::path::Path) -> anyhow::Result<Anchored> {
    let lines = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    anchors::exported(&lines).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}

/// Prints what was found; exit code 1 if that is anything.
fn tell(report: &Report, json: bool) -> ExitCode {
    if json {
        println!("{}", as_json(report));
    } else {
        print(report);
    }
    if report.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(report: &Report) {
    println!(
        "{} tenants, {} ledger rows, {} invoices, {} campaigns: {} findings",
        report.tenants,
        report.rows,
        report.invoices,
        report.campaigns,
        report.findings.len()
    );
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
        "findings": findings,
    })
}
