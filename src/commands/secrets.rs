//! `malote secrets`: the keys that wrap senders' access tokens.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::Config;
use crate::storage::sealing;
use crate::storage::token_rotation::{self, Report};
use crate::storage::{Database, Role, schema};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Makes a key for senders' access tokens and prints its line. Put it first in the secret `token_keys`, before the old ones.
    NewKey {
        /// Its id, stored beside what it wraps; by default the present day and time.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
    /// Seals every access token under the first key of `token_keys`. The server may be running; stopped, it goes on when run again.
    RotateKey {
        /// One JSON object at the end.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.action {
        Action::NewKey { id } => {
            let now = jiff::Timestamp::now().strftime("k%Y%m%d-%H%M").to_string();
            println!("{}", sealing::new_key(&id.unwrap_or(now))?);
            Ok(ExitCode::SUCCESS)
        }
        Action::RotateKey { json } => rotate(&config, json).await,
    }
}

async fn rotate(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let system = Database::connect(&config.database, Role::AppSystem).await?;
    schema::check_from(&system, token_rotation::SCHEMA_NEEDED).await?;
    let keys = sealing::keys(system.secrets())?;
    let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template(
        "{bar:40} {pos}/{len} tokens sealed",
    )?);
    let on_terminal = std::io::stderr().is_terminal() && !json;
    let report = token_rotation::seal_all(&system, &keys, |report| {
        if on_terminal {
            bar.set_length(report.total);
            bar.set_position(report.sealed);
        } else if !json {
            eprintln!("{} of {} tokens sealed", report.sealed, report.total);
        }
    })
    .await?;
    bar.finish_and_clear();
    show(&report, &keys.current().id, json);
    Ok(if report.unreadable == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(report: &Report, key: &str, json: bool) {
    if json {
        let line = serde_json::json!({"key": key, "sealed": report.sealed, "unreadable": report.unreadable});
        println!("{line}");
        return;
    }
    println!("{} tokens sealed under the key {key}", report.sealed);
    if report.unreadable > 0 {
        println!(
            "{} tokens open with no key of token_keys: put the key back that wrapped them, or let their tenants renew them",
            report.unreadable
        );
    }
}
