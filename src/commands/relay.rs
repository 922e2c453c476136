//! `malote relay`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::Config;
use crate::{relay, signals, telemetry};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Write the addresses to this file once they are served: {"public":"...","internal":"..."}.
    #[arg(long, value_name = "FILE")]
    announce: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Posts again what was received since a time; the core knows what it has. Run it after the core was restored from a backup.
    Replay {
        /// A time (2026-11-24T21:00:00Z), or how long ago (36h, 90m).
        #[arg(long, value_name = "TIME")]
        since: String,
    },
}

pub(super) async fn run(config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    telemetry::start_logging(&config.telemetry)?;
    match arguments.command {
        Some(Command::Replay { since }) => replay(&config, &since).await,
        None => {
            let stop = CancellationToken::new();
            let told = stop.clone();
            tokio::spawn(async move {
                if let Err(error) = signals::told_to_stop().await {
                    tracing::error!(%error, "signals cannot be heard");
                }
                told.cancel();
            });
            let announce = arguments.announce;
            relay::serve(&config, stop, |addresses| match &announce {
                Some(file) => super::serve::announce(file, addresses.public, addresses.internal),
                None => Ok(()),
            })
            .await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn replay(config: &Config, since: &str) -> anyhow::Result<ExitCode> {
    let since = time(since, Timestamp::now())?;
    let replayed = relay::replay(config, since).await?;
    println!(
        "since {since}: {} deliveries were new to the core, {} it had, {} it refused",
        replayed.stored, replayed.duplicate, replayed.refused
    );
    Ok(if replayed.refused == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn time(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago: SignedDuration = text.parse().with_context(|| {
        format!("--since {text:?} is neither a time (2026-11-24T21:00:00Z) nor a duration (36h)")
    })?;
    Ok(now - ago.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_a_while_ago() {
        let now: Timestamp = "2026-11-24T21:00:00Z".parse().unwrap();
        assert_eq!(
            time("2026-11-23T00:00:00Z", now).unwrap(),
            "2026-11-23T00:00:00Z".parse().unwrap()
        );
        assert_eq!(time("36h", now).unwrap(), "2026-11-23T09:00:00Z".parse().unwrap());
        assert_eq!(time("90m", now).unwrap(), "2026-11-24T19:30:00Z".parse().unwrap());
        let error = time("yesterday", now).unwrap_err().to_string();
        assert!(error.contains("yesterday") && error.contains("36h"), "{error}");
    }
}
