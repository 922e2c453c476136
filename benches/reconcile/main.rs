//! How long full reconciliation of a million messages takes, on books that are in order, and whether it names each of eleven faults that
//! are then planted in them. Exit code 1 above the goal, or when a fault is not found.

mod books;
mod faults;
mod rows;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use malote::config::{self, Config};
use malote::storage::{Database, Role, migrations, scratch};
use serde_json::Value;
use uuid::Uuid;

use crate::books::Books;

/// Within which a million messages must be reconciled.
const GOAL: Duration = Duration::from_secs(60);

/// Measures `malote billing reconcile --full` and `verify-audit` on made-up books.
#[derive(Parser)]
struct Args {
    /// Messages of all tenants together
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    /// Tenants, each with as many messages as the others
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(4..))]
    tenants: u16,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut config =
        config::load(None, None).context("settings (is the stack up? eval \"$(dev/stack env)\")")?;
    let id = Uuid::now_v7().simple().to_string();
    let name = format!("reconcile_{}", &id[20..]);
    scratch::create_database(&config.database, &name).await?;
    config.database.name.clone_from(&name);
    let measured = measure(&config, &args).await;
    // Nothing is left behind, even when the measurement failed.
    let dropped = scratch::drop_database(&config.database, &name).await;
    let holds = measured?;
    dropped?;
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure(config: &Config, args: &Args) -> anyhow::Result<bool> {
    let owner = Database::connect(&config.database, Role::MigrationAdmin).await?;
    migrations::up(&owner, None, |_| {}).await?;
    let begun = Instant::now();
    let books = Books::write(&owner, args.tenants, args.messages).await?;
    println!("{} (written in {:.0} s)", books, begun.elapsed().as_secs_f64());

    let clean = malote(config, &["billing", "reconcile", "--full", "--json"]).await?;
    let holds = clean.took < GOAL;
    let mark = if holds { "ok" } else { "above" };
    clean.print("reconcile --full");
    println!("{mark} (goal: under {} s)", GOAL.as_secs());
    anyhow::ensure!(
        clean.findings()?.is_empty(),
        "found in clean books: {}",
        clean.said
    );
    let audit = malote(config, &["billing", "verify-audit", "--json"]).await?;
    audit.print("verify-audit");
    anyhow::ensure!(
        audit.findings()?.is_empty(),
        "found in clean books: {}",
        audit.said
    );

    let planted = faults::plant(&owner, &books).await?;
    let broken = malote(config, &["billing", "reconcile", "--full", "--json"]).await?;
    broken.print("reconcile --full, with faults");
    let found = broken.findings()?;
    let missed: Vec<_> = planted.iter().filter(|fault| !fault.is_among(found)).collect();
    println!(
        "{} of {} planted faults were named",
        planted.len() - missed.len(),
        planted.len()
    );
    anyhow::ensure!(missed.is_empty(), "not named: {missed:?}; found were {found:?}");
    anyhow::ensure!(broken.code == Some(1), "with findings it must exit with 1");
    Ok(holds)
}

/// What a command came to.
struct Ran {
    took: Duration,
    code: Option<i32>,
    said: Value,
}

impl Ran {
    fn findings(&self) -> anyhow::Result<&Vec<Value>> {
        self.said["findings"]
            .as_array()
            .context("no findings in the answer")
    }

    fn print(&self, what: &str) {
        let (rows, seconds) = (&self.said["ledger_rows"], self.took.as_secs_f64());
        let findings = self.findings().map_or(0, Vec::len);
        println!("{what}: {seconds:.1} s for {rows} ledger rows, {findings} findings");
    }
}

async fn malote(config: &Config, arguments: &[&str]) -> anyhow::Result<Ran> {
    let begun = Instant::now();
    let output = tokio::process::Command::new(Path::new(env!("CARGO_BIN_EXE_malote")))
        .args(arguments)
        .env("MALOTE_DATABASE__NAME", &config.database.name)
        .output()
        .await?;
    let took = begun.elapsed();
    let said = serde_json::from_slice(&output.stdout);
    let said = said.with_context(|| format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(Ran {
        took,
        code: output.status.code(),
        said,
    })
}
