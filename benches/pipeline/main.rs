//! Speed as ratios: the whole pipeline beside a bare loop, webhook ingest beside a bare handler, interleaved in one run on one
//! machine. `docs/performance.md` says what the figures mean.

mod campaign;
mod ceiling;
mod ingest;
mod load;
mod queue;
mod receiver;
mod report;
mod rows;
mod scratch;
mod simulated;

use clap::Parser;

use crate::campaign::Trial;
use crate::report::Report;
use crate::scratch::Scratch;

/// Measures the pipeline and webhook ingest beside their bare counterparts.
#[derive(Parser)]
struct Args {
    /// Messages of each round, and deliveries of each round of ingest
    #[arg(long, default_value_t = 40_000)]
    messages: usize,
    /// Rounds of each measurement; an odd number has a median
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tenants, each with a number of 1,000 messages a second
    #[arg(long, default_value_t = 8)]
    tenants: usize,
    /// Small numbers: tells whether the benchmark works, not how fast anything is
    #[arg(long)]
    quick: bool,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    if args.quick {
        (args.messages, args.rounds) = (4_000, 1);
    }
    let scratch = Scratch::make().await?;
    let mut trial = Trial::start(args.tenants.max(1)).await?;
    let measured = measure(&args, &scratch, &mut trial).await.and_then(show);
    // Nothing is left behind, even when the measurement failed; and no figure is lost when clearing up fails.
    let (stopped, removed) = (trial.installation.stop().await, scratch.remove().await);
    measured.and(stopped).and(removed)
}

fn show(report: Report) -> anyhow::Result<()> {
    report.print();
    println!("\n{}", report.write()?.display());
    Ok(())
}

async fn measure(args: &Args, scratch: &Scratch, trial: &mut Trial) -> anyhow::Result<Report> {
    let mut report = Report::default();
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}: the bare loop", args.rounds);
        let bare = ceiling::run(scratch, args.messages).await?;
        eprintln!("round {round} of {}: the pipeline", args.rounds);
        let whole = trial.round(args.messages).await?;
        report.add_pipeline((args.messages, bare), &whole);
    }
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}: ingest", args.rounds);
        let taken = ingest::round(scratch, trial, args.messages).await?;
        report.add_ingest(&taken);
    }
    Ok(report)
}
