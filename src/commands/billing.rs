//! `malote billing`: checking the books.

use std::process::ExitCode;

use clap::Subcommand;
use domain::ids::TenantId;

use super::Config;
use crate::storage::audit::{self, Report};
use crate::storage::{Database, Role};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Hashes every ledger row again and takes all counts again. Reads as readonly_audit; the server may be running.
    VerifyAudit {
        /// Only this tenant.
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Action::VerifyAudit { tenant, json } = arguments.action;
    let database = Database::connect(&config.database, Role::ReadonlyAudit).await?;
    let report = audit::verify(&database, tenant).await?;
    if json {
        println!("{}", as_json(&report));
    } else {
        print(&report);
    }
    Ok(if report.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(report: &Report) {
    println!(
        "{} tenants, {} ledger rows, {} campaigns: {} findings",
        report.tenants,
        report.rows,
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
        "campaigns": report.campaigns,
        "findings": findings,
    })
}
