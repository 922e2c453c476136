//! Breaks a stack of its own while campaigns run, and lets an auditor look at what is left. `make chaos` starts it.
//!
//! Exit codes: 0 every seed held; 1 a promise was broken; 3 a run is void, because a fault struck while nothing was in flight, or no
//! answer was lost: it proves nothing.

mod auditor;
mod faults;
mod report;
mod run;
mod sight;
mod stack;
mod strikes;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

use crate::report::Verdict;
use crate::run::Scale;

/// Seeds that are drawn when none are given.
const SEEDS_USUAL: usize = 5;
/// The seed of the short run, which every change must pass: each meets the same faults in the same order.
const SHORT_SEED: u64 = 4_711;

#[derive(clap::Parser)]
#[command(
    name = "chaos",
    about = "Breaks everything while campaigns run, and audits what is left"
)]
struct Arguments {
    /// Seeds to run, one after the other; the variable MALOTE_CHAOS_SEEDS names them too. Without any, five are drawn.
    #[arg(long, value_delimiter = ',', value_name = "SEED")]
    seeds: Vec<u64>,
    /// One short seed of about a minute and a half instead of five minutes each; without `--seeds` always the same one.
    #[arg(long)]
    short: bool,
    /// Strike only with these, by the names in the table.
    #[arg(long, value_delimiter = ',', value_name = "FAULT")]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match chaos(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chaos(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let seeds = seeds(arguments)?;
    let scale = if arguments.short {
        Scale::SHORT
    } else {
        Scale::FULL
    };
    let mut worst = Verdict::Held;
    for seed in seeds {
        println!("seed {seed} (again: make chaos ARGS='--seeds {seed}')");
        let report = runtime.block_on(run::run(seed, &scale, &arguments.only))?;
        worst = worst.max(report.verdict());
    }
    Ok(match worst {
        Verdict::Held => ExitCode::SUCCESS,
        Verdict::Void => ExitCode::from(3),
        Verdict::Broken => ExitCode::FAILURE,
    })
}

fn seeds(arguments: &Arguments) -> anyhow::Result<Vec<u64>> {
    let named = std::env::var("MALOTE_CHAOS_SEEDS").unwrap_or_default();
    let mut seeds = arguments.seeds.clone();
    for seed in named.split(',').filter(|seed| !seed.trim().is_empty()) {
        seeds.push(seed.trim().parse()?);
    }
    if seeds.is_empty() {
        seeds = if arguments.short {
            vec![SHORT_SEED]
        } else {
            (0..SEEDS_USUAL)
                .map(|_| rand::random_range(1..1_000_000))
                .collect()
        };
    }
    Ok(seeds)
}
