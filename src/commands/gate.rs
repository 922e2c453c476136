//! `malote gate`: whether to go live, computed from evidence.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;

use crate::gate::{self, Checkout, Controls, Record};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// The checkout that is judged.
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = ".")]
    checkout: PathBuf,
}

#[derive(Subcommand)]
enum Action {
    /// Looks at every control and decides. Exit codes: 0 go, 1 no-go, 2 the gate itself cannot work.
    Run {
        /// Write the decision to docs/readiness/decisions/, as JSON and as Markdown.
        #[arg(long)]
        record: bool,
        /// The decision as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Computes a decision again, as of its moment, and refuses it if it says anything else.
    Verify {
        /// The JSON that `run --record` wrote.
        record: PathBuf,
    },
    /// Tells of one control what it asks, what was seen, and what would make it hold.
    Explain {
        /// Its id.
        control: String,
    },
    /// Prints what those who approve sign: `malote gate statement | ssh-keygen -Y sign -n malote-gate -f KEY`.
    Statement,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    act(arguments).unwrap_or_else(|error| {
        eprintln!("malote: the gate cannot work, which is no reason to go: {error:#}");
        ExitCode::from(2)
    })
}

fn act(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let checkout = Checkout::open(&arguments.checkout)?;
    match &arguments.action {
        Action::Run { record, json } => decide(&checkout, *record, *json),
        Action::Verify { record } => verify(&checkout, record),
        Action::Explain { control } => explain(&checkout, control),
        Action::Statement => {
            print!("{}", gate::statement(&checkout));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn decide(checkout: &Checkout, keep: bool, json: bool) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !checkout.is_dirty()?,
        "there are changes in no commit: a decision is about a commit"
    );
    let record = gate::decide(checkout, &Controls::read(checkout)?, Timestamp::now())?;
    if json {
        println!("{}", serde_json::to_string_pretty(&record)?);
    } else {
        print!("{}", gate::terminal(&record));
    }
    if keep {
        write(checkout, &record)?;
    }
    Ok(code(record.goes()))
}

fn write(checkout: &Checkout, record: &Record) -> anyhow::Result<()> {
    let directory = checkout.path(gate::READINESS).join("decisions");
    std::fs::create_dir_all(&directory)?;
    let moment = record.decided_at.strftime("%Y-%m-%d-%H%M%S");
    let file = directory.join(format!("{moment}-{}.json", &record.commit[..12]));
    std::fs::write(&file, serde_json::to_string_pretty(record)? + "\n")?;
    std::fs::write(file.with_extension("md"), gate::markdown(record))?;
    eprintln!("{}", file.display());
    Ok(())
}

fn verify(checkout: &Checkout, file: &Path) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !checkout.is_dirty()?,
        "there are changes in no commit: a decision is about a commit"
    );
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let record: Record = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    anyhow::ensure!(
        record.decided_at <= Timestamp::now(),
        "the record is from the future"
    );
    let mut wrong = Vec::new();
    if checkout.origin(&record.commit) != domain::gate::Origin::SameSources {
        wrong.push(format!(
            "these are other sources than those of {}: check that commit out",
            record.commit
        ));
    } else {
        let again = gate::decide(checkout, &Controls::read(checkout)?, record.decided_at)?;
        wrong.extend(record.differences(&again));
    }
    for one in &wrong {
        println!("{one}");
    }
    if wrong.is_empty() {
        println!(
            "{}, computed again from {} controls",
            record.decision,
            record.findings.len()
        );
    }
    Ok(code(wrong.is_empty()))
}

fn explain(checkout: &Checkout, id: &str) -> anyhow::Result<ExitCode> {
    let controls = Controls::read(checkout)?;
    let control = controls
        .all
        .iter()
        .find(|control| control.id == id)
        .with_context(|| format!("there is no control {id}"))?;
    let now = Timestamp::now();
    let (seen, source) = gate::observe(checkout, control, now)?;
    let verdict = domain::gate::judge(control.terms(), seen, controls.waiver(id), now);
    println!("{id}: {}", control.requires);
    println!(
        "area {}, {}, owner {}",
        control.area.as_str(),
        control.severity.as_str(),
        control.owner
    );
    println!("lines of the plan: {}", control.plan.join(", "));
    println!("proof: {:?}", control.proof);
    println!(
        "seen: {seen:?}{}",
        source.map_or_else(String::new, |source| format!(" in {}", source.path))
    );
    println!("verdict: {verdict:?}");
    if let Some(waiver) = controls.waiver_in_words(id) {
        println!(
            "waiver: {waiver}{}",
            if control.waivable {
                ""
            } else {
                " (this control can never be waived)"
            }
        );
    }
    Ok(code(!matches!(verdict, domain::gate::Verdict::Fail(_))))
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
