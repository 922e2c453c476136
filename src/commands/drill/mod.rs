//! `malote drill`: what people practise. What machines practise is `make drill` and `make restore-drill`.

mod record;
mod scenario;
mod walk;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;

use self::record::Held;
use self::scenario::Scenario;
use self::walk::Walk;

const RECORDS: &str = "docs/drills";

const EXAMPLES: &str = "Examples:
  malote drill tabletop docs/readiness/scenarios/meta-refuses.toml --led-by ana --with 'bruno, carla'
  malote drill tabletop docs/readiness/scenarios/stolen-key.toml --led-by ana --rehearsal --faster 10

Type what somebody says they would do, a line each; /next goes on before its time, /end ends. What is typed is kept with its minute.
Exit codes: 0 held to its end and recorded, 1 refused or ended early, 2 misuse.";

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Half an hour around a table: tells an incident by the clock, keeps what the team would do, and writes the record.
    #[command(after_help = EXAMPLES)]
    Tabletop(Tabletop),
}

#[derive(clap::Args)]
struct Tabletop {
    /// The scenario; docs/readiness/scenarios/ has some.
    scenario: PathBuf,
    /// Who leads.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    led_by: String,
    /// Who takes part.
    #[arg(long, value_name = "NAMES", default_value = "nobody else")]
    with: String,
    /// Only to practise the practice: the record says so.
    #[arg(long)]
    rehearsal: bool,
    /// How many times as fast as the scenario the clock runs.
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=600))]
    faster: u32,
    /// The incident that is really there meanwhile (`dev/drill --hold NAME`).
    #[arg(long, value_name = "NAME")]
    live: Option<String>,
    /// Where the record goes; docs/drills/ of this checkout if absent.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Action::Tabletop(tabletop) = &arguments.action;
    let scenario = Scenario::read(&tabletop.scenario)?;
    let held_at = Timestamp::now();
    let file = tabletop
        .record
        .clone()
        .unwrap_or_else(|| usual_file(held_at, tabletop.rehearsal));
    let mut walk = Walk::begin(tabletop.faster);
    let told = walk.through(&scenario);
    let looked_back = walk.look_back(&scenario);
    let held = Held {
        at: held_at,
        led_by: tabletop.led_by.clone(),
        with: tabletop.with.clone(),
        is_rehearsal: tabletop.rehearsal,
        faster: tabletop.faster,
        live: tabletop.live.clone(),
        file: tabletop.scenario.display().to_string(),
        told,
        looked_back,
    };
    write(&file, &held.markdown(&scenario))?;
    println!("\nrecord: {}", file.display());
    Ok(if held.told.to_its_end {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn usual_file(at: Timestamp, rehearsal: bool) -> PathBuf {
    let kind = if rehearsal {
        "tabletop-rehearsal"
    } else {
        "tabletop"
    };
    Path::new(RECORDS).join(format!("{}-{kind}.md", at.strftime("%Y-%m-%d-%H%M")))
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    std::fs::write(file, text).with_context(|| file.display().to_string())
}
