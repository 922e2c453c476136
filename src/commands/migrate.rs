//! `malote migrate`: up, down, status, plan.

use std::process::ExitCode;

use clap::Subcommand;

use super::Config;
use crate::storage::migrations::{self, Migration, Standing};
use crate::storage::{Database, Role};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Applies what is pending.
    Up {
        /// Stop after this version.
        #[arg(long, value_name = "VERSION")]
        to: Option<i32>,
    },
    /// Takes back everything after a version. Destroys the data of what it takes back.
    Down {
        /// The version to go back to; 0 empties the database.
        #[arg(long, value_name = "VERSION")]
        to: i32,
    },
    /// Lists each migration and whether it is applied. Exit code 1 when one is pending or altered.
    Status {
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Prints the SQL that `up` would run.
    Plan,
}

pub(super) async fn run(config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::MigrationAdmin).await?;
    match arguments.action {
        Action::Up { to } => migrations::up(&database, to, |done| say("applied", done)).await?,
        Action::Down { to } => migrations::down(&database, to, |done| say("took back", done)).await?,
        Action::Status { json } => return status(&database, json).await,
        Action::Plan => {
            for (migration, _) in pending(&database).await? {
                println!("-- {}\n{}", migration.name, migration.up);
            }
        }
    }
    println!(
        "schema version {}",
        crate::storage::schema::version(&database).await?
    );
    Ok(ExitCode::SUCCESS)
}

fn say(what: &str, migration: &Migration) {
    println!("{what} {} ({})", migration.name, migration.phase());
}

async fn pending(database: &Database) -> anyhow::Result<Vec<(Migration, Standing)>> {
    let mut all = migrations::status(database).await?;
    all.retain(|(_, standing)| *standing == Standing::Pending);
    Ok(all)
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
        if json {
            let line = serde_json::json!({"version": migration.version, "name": migration.name, "phase": migration.phase(), "standing": word});
            println!("{line}");
        } else {
            println!("{:<32} {:<9} {word}", migration.name, migration.phase());
        }
    }
    Ok(if whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
