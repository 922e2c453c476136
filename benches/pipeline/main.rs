//! Speed as ratios: the whole pipeline beside a bare loop, webhook ingest beside a bare handler, reservations beside bare row batches,
//! and billing's share of the pipeline, interleaved in one run on one machine. `docs/performance.md` says what the figures mean.

mod campaign;
mod ceiling;
mod ingest;
mod load;
mod queue;
mod receiver;
mod report;
mod reservations;
mod rows;
mod scratch;
mod share;
mod simulated;

use clap::Parser;

use crate::campaign::Trial;
use crate::report::Report;
use crate::reservations::Reservations;
use crate::scratch::Scratch;
use crate::share::Looking;

/// Measures the pipeline, webhook ingest and reservations beside their bare counterparts.
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
        let looking = Looking::begin(&trial.installation).await?;
        let whole = trial.round(args.messages).await;
        let share = looking.end().await?;
        report.add_pipeline((args.messages, bare), &whole?, share);
    }
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}: ingest", args.rounds);
        let taken = ingest::round(scratch, trial, args.messages).await?;
        report.add_ingest(&taken);
    }
    let reservations = Reservations::open().await?;
    let reserved = reserve(args, scratch, &reservations, &mut report).await;
    let closed = reservations.close().await;
    reserved.and(closed)?;
    Ok(report)
}

async fn reserve(
    args: &Args,
    scratch: &Scratch,
    reservations: &Reservations,
    report: &mut Report,
) -> anyhow::Result<()> {
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}: reservations", args.rounds);
        report.add_reservations(&reservations.round(scratch, args.messages).await?);
    }
    Ok(())
}
