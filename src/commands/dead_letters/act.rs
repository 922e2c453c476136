//! Replays and purges from the command line: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use uuid::Uuid;

use super::Which;
use crate::broker::Broker;
use crate::commands::Config;
use crate::dead_letters;
use crate::storage::Database;
use crate::storage::dead_letters::{Action, Done, Order};

/// The time between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(2);

/// How letters are replayed or purged.
#[derive(Args, Debug)]
pub(super) struct How {
    /// Who does it; kept with the record. Needed unless nothing is done.
    #[arg(long, value_name = "NAME", required_unless_present = "dry_run",
        value_parser = clap::builder::NonEmptyStringValueParser::new())]
    by: Option<String>,
    /// Only tell what would happen.
    #[arg(long)]
    dry_run: bool,
    /// All letters there are; else say which.
    #[arg(long)]
    all: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn replay(
    config: &Config,
    database: &Database,
    which: &Which,
    how: &How,
    force: bool,
    reason: String,
) -> anyhow::Result<ExitCode> {
    act(config, database, which, how, Action::Replay { force }, reason).await
}

pub(super) async fn purge(
    config: &Config,
    database: &Database,
    which: &Which,
    how: &How,
    reason: String,
) -> anyhow::Result<ExitCode> {
    act(config, database, which, how, Action::Purge, reason).await
}

async fn act(
    config: &Config,
    database: &Database,
    which: &Which,
    how: &How,
    action: Action,
    reason: String,
) -> anyhow::Result<ExitCode> {
    if which.is_empty() != how.all {
        eprintln!("malote: say which letters (--tenant, --campaign, --id, --class, --kind), or --all");
        return Ok(ExitCode::from(2));
    }
    let filter = which.filter();
    let would = dead_letters::weigh(database, &filter, action).await?;
    let done = if how.dry_run {
        would
    } else {
        let broker = Broker::new(&config.broker, config.pipeline.partitions)?;
        let order = Order {
            operation: Uuid::now_v7(),
            action,
            by: format!("operator {}", how.by.as_deref().unwrap_or_default()),
            reason,
        };
        let mut progress = Progress::start(would.moved, how.json);
        let mut show = |done: &Done| progress.show(done);
        let done = dead_letters::act(database, Some(&broker), &filter, &order, &mut show).await?;
        progress.end();
        done
    };
    let missing = missing(which, &done);
    report(action, how, &done, missing);
    let left = done.skipped() + missing > 0;
    Ok(if left {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Gives how many of the named letters there are not, or no longer.
fn missing(which: &Which, done: &Done) -> i64 {
    let named = i64::try_from(which.ids.len()).unwrap_or(i64::MAX);
    (named - done.moved - done.skipped()).max(0)
}

fn report(action: Action, how: &How, done: &Done, missing: i64) {
    let gone = done.gone + missing;
    if how.json {
        let line = json!({
            "action": action.as_str(), "dry_run": how.dry_run, "moved": done.moved,
            "skipped": {
                "unsafe_to_replay": done.unsafe_to_replay, "campaign_cancelled": done.campaign_cancelled, "gone": gone,
            },
        });
        println!("{line}");
        return;
    }
    let verb = match (action, how.dry_run) {
        (Action::Replay { .. }, false) => "replayed",
        (Action::Replay { .. }, true) => "would be replayed",
        (Action::Purge, false) => "purged",
        (Action::Purge, true) => "would be purged",
    };
    println!("{} {verb}", letters(done.moved));
    for (count, why) in [
        (
            done.unsafe_to_replay,
            "not safe to repeat (see `show`; --force insists)",
        ),
        (done.campaign_cancelled, "their campaign was cancelled"),
        (gone, "not there, or no longer"),
    ] {
        if count > 0 {
            println!("{} left as they are: {why}", letters(count));
        }
    }
}

fn letters(count: i64) -> String {
    format!("{count} {}", if count == 1 { "letter" } else { "letters" })
}

/// How far it is.
struct Progress {
    bar: Option<ProgressBar>,
    total: i64,
    is_quiet: bool,
    line_at: Instant,
}

impl Progress {
    fn start(total: i64, is_quiet: bool) -> Self {
        let length = u64::try_from(total).unwrap_or(0);
        let is_terminal = std::io::stderr().is_terminal() && !is_quiet;
        let bar = is_terminal.then(|| {
            let style = ProgressStyle::with_template("{bar:40.cyan/black} {pos}/{len} letters");
            ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self {
            bar,
            total,
            is_quiet,
            line_at: Instant::now(),
        }
    }

    fn show(&mut self, done: &Done) {
        if let Some(bar) = &self.bar {
            bar.set_position(u64::try_from(done.moved).unwrap_or(0));
        } else if !self.is_quiet && self.line_at.elapsed() >= LINE {
            self.line_at = Instant::now();
            eprintln!("{} of {} letters", done.moved, self.total);
        }
    }

    fn end(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}
