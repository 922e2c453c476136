//! A single message while a campaign of the same tenant and number runs: from the API's answer to Meta's acceptance, measured
//! whole. Exit code 1 above the goal.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use malote::trial::{
    Installation, Latencies, Options, PlanChoice, Tenant, Transactional, measure_transactional,
};
use simulator::config::Config;

/// What a single message may take beside one emission interval of its number.
const GOAL: Duration = Duration::from_millis(100);

/// Measures single messages beside a campaign.
#[derive(Parser)]
struct Args {
    /// Recipients of the campaign that runs beside
    #[arg(long, default_value_t = 100_000)]
    recipients: u64,
    /// Single messages of each round
    #[arg(long, default_value_t = 300)]
    messages: usize,
    /// Rounds, each with an installation and a campaign of its own; every one must reach the goal
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The rate of the number, in messages a second
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let goal = GOAL + Duration::from_secs(1) / args.rate;
    let mut reached = true;
    for round in 1..=args.rounds {
        let latencies = measure(&args).await?;
        let holds = latencies.percentile(99) < goal;
        let mark = if holds { "ok" } else { "above" };
        println!("round {round}: {latencies}: {mark} (p99 under {goal:?})");
        reached = reached && holds;
    }
    Ok(if reached {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure(args: &Args) -> anyhow::Result<Latencies> {
    let installation = Installation::start(Options {
        name: "latency",
        program: PathBuf::from(env!("CARGO_BIN_EXE_malote")),
        simulator: Config::for_tests(),
        settings: vec![("MALOTE_TELEMETRY__LOG_FILTER".to_owned(), "warn".to_owned())],
    })
    .await?;
    let measured = measure_in(&installation, args).await;
    // Nothing is left behind, even when the measurement failed.
    let stopped = installation.stop().await;
    let latencies = measured?;
    stopped?;
    Ok(latencies)
}

async fn measure_in(installation: &Installation, args: &Args) -> anyhow::Result<Latencies> {
    let tenant = Tenant::create(installation, "latency", PlanChoice::FREE, args.rate).await?;
    let what = Transactional {
        recipients: args.recipients,
        messages: args.messages,
        messages_per_second: args.rate,
    };
    measure_transactional(installation, &tenant, what).await
}
