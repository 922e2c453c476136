//! `malote migrate`: up, down, status, plan, lint.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use super::Config;
use crate::storage::migrations::{self, ALL, Migration, Standing};
use crate::storage::migrator::{self, Options, Progress};
use crate::storage::{Database, Role, schema};

/// The rollback checklists of critical migrations.
const CHECKLISTS: &str = include_str!("../../docs/migrations.md");

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Applies what is pending. A contract for which an old program was alive too recently waits: exit code 1, after everything else.
    Up {
        /// Stop after this version.
        #[arg(long, value_name = "VERSION")]
        to: Option<i32>,
        /// How long to wait for another run to end.
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        wait: u64,
        /// A contract needs this long without an old program's heartbeat; 0 when they are gone for good.
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        retired_for: u64,
    },
    /// Takes back everything after a version. Destroys the data of what it takes back.
    Down {
        /// The version to go back to; 0 empties the database.
        #[arg(long, value_name = "VERSION")]
        to: i32,
        /// How long to wait for another run to end.
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        wait: u64,
    },
    /// Lists each migration and whether it is applied. Exit code 1 when one is pending or altered.
    Status {
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Prints the SQL that `up` would run, and what it would refuse.
    Plan,
    /// Checks all migrations against our rules; needs no database. Exit code 1 when one breaks a rule.
    Lint {
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Action::Lint { json } = arguments.action {
        return Ok(lint(json));
    }
    let database = Database::connect(&config.database, Role::MigrationAdmin).await?;
    migrator::check_role(&database).await?;
    match arguments.action {
        Action::Up {
            to,
            wait,
            retired_for,
        } => {
            let options = Options {
                to,
                wait: Duration::from_secs(wait),
                retired_for: Duration::from_secs(retired_for * 60 * 60),
                ..Options::default()
            };
            migrator::up(&database, options, say).await?;
        }
        Action::Down { to, wait } => {
            let options = Options {
                wait: Duration::from_secs(wait),
                ..Options::default()
            };
            migrator::down(&database, to, options, say).await?;
        }
        Action::Status { json } => return status(&database, json).await,
        Action::Plan => plan(&database).await?,
        Action::Lint { .. } => {}
    }
    println!("schema version {}", schema::version(&database).await?);
    Ok(ExitCode::SUCCESS)
}

fn say(progress: Progress<'_>) {
    match progress {
        Progress::Waiting { holder } => {
            eprintln!("another run of migrations is under way: {holder}; waiting")
        }
        Progress::Retrying {
            migration,
            attempt,
            because,
        } => eprintln!("{}: {because}; undone, trying again ({attempt})", migration.name),
        Progress::Healed { index } => println!("dropped the half-built index {index} of a failed run"),
        Progress::Applied(migration) => println!("applied {} ({})", migration.name, migration.phase()),
        Progress::TookBack(migration) => println!("took back {} ({})", migration.name, migration.phase()),
    }
}

async fn plan(database: &Database) -> anyhow::Result<()> {
    for (migration, standing) in migrations::status(database).await? {
        if standing != Standing::Pending {
            continue;
        }
        if let Some(refusal) = migrator::refusal_of(database, &migration, Options::default()).await? {
            println!("-- refused now: {refusal}");
        }
        println!("-- {}\n{}", migration.name, migration.up);
    }
    Ok(())
}

fn lint(json: bool) -> ExitCode {
    let findings = migrator::lint(ALL, CHECKLISTS);
    for finding in &findings {
        if json {
            println!(
                "{}",
                serde_json::json!({"migration": finding.name, "problem": finding.problem})
            );
        } else {
            println!("{}: {}", finding.name, finding.problem);
        }
    }
    if findings.is_empty() {
        if !json {
            println!("{} migrations keep the rules", ALL.len());
        }
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn status(database: &Database, json: bool) -> anyhow::Result<ExitCode> {
    let mut whole = true;
    for (migration, standing) in migrations::status(database).await? {
        let word = match standing {
            Standing::Applied => "applied",
            Standing::Altered => "altered",
            Standing::Pending => "pending",
        };
        whole = whole && standing == Standing::Applied;
        show(&migration, word, json);
    }
    Ok(if whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(migration: &Migration, standing: &str, json: bool) {
    if json {
        let line = serde_json::json!({"version": migration.version, "name": migration.name,
            "phase": migration.phase(), "standing": standing});
        println!("{line}");
    } else {
        println!("{:<32} {:<9} {standing}", migration.name, migration.phase());
    }
}
