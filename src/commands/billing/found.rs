//! `malote billing findings` and `explain`: what is known to be wrong in the books, and from what it comes.

use std::process::ExitCode;

use uuid::Uuid;

use crate::config::Config;
use crate::storage::findings::{self, KeptFinding};
use crate::storage::{Database, Role};

#[derive(clap::Args)]
pub(super) struct Findings {
    /// Those too that a later check no longer found.
    #[arg(long)]
    all: bool,
    /// A JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct Explain {
    /// Which finding.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Who found out what.
    #[arg(long, value_name = "TEXT")]
    note: String,
}

/// Lists findings; exit code 1 if one of them is open.
pub(super) async fn list(config: &Config, wanted: &Findings) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::ReadonlyAudit).await?;
    let found = findings::list(&mut database.get().await?, wanted.all).await?;
    for finding in &found {
        if wanted.json {
            println!("{}", serde_json::to_string(finding)?);
        } else {
            print(finding);
        }
    }
    Ok(if found.iter().any(|finding| finding.state == "open") {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(finding: &KeptFinding) {
    println!(
        "{} {}: {} of tenant {}: {} (seen first {}, last {} by {})",
        finding.id,
        finding.state,
        finding.invariant,
        finding.tenant_id,
        finding.found,
        finding.first_seen_at,
        finding.last_seen_at,
        finding.job
    );
    if let Some(note) = &finding.note {
        println!("  {note}");
    }
}

pub(super) async fn explain(config: &Config, wanted: &Explain) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!wanted.note.trim().is_empty(), "--note must say something");
    let database = Database::connect(&config.database, Role::AppSystem).await?;
    let is_there = findings::explain(&mut database.get().await?, wanted.id, wanted.note.trim()).await?;
    anyhow::ensure!(is_there, "there is no finding {} that is not gone", wanted.id);
    println!("explained");
    Ok(ExitCode::SUCCESS)
}
