//! What was measured, as a table and as JSON.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::campaign;
use crate::ingest;
use crate::load::Taken;
use crate::reservations;
use crate::share::Share;

/// Everything of one run.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pipeline: Vec<Pipeline>,
    ingest: Vec<Ingest>,
    reservations: Vec<Reservations>,
}

#[derive(Serialize)]
struct Pipeline {
    messages: usize,
    messages_per_second: f64,
    sent_per_second: f64,
    ceiling_per_second: f64,
    ratio: f64,
    server_resident_mib: f64,
    server_peak_mib: f64,
    billing_share_of_statements: f64,
    billing_share_of_time: f64,
}

#[derive(Serialize)]
struct Ingest {
    deliveries: usize,
    acknowledged_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    bare_per_second: f64,
    bare_p50_ms: f64,
    bare_p99_ms: f64,
    ratio: f64,
}

#[derive(Serialize)]
struct Reservations {
    messages: usize,
    bare_per_second: f64,
    hot_per_second: f64,
    hot_ratio: f64,
    many_per_second: f64,
    many_ratio: f64,
    many_p50_ms: f64,
    many_p99_ms: f64,
}

impl Report {
    /// Adds a round of campaigns and the bare loop before it, both of equally many messages, and billing's share of the former.
    pub(crate) fn add_pipeline(&mut self, bare: (usize, Duration), round: &campaign::Round, share: Share) {
        let ceiling = per_second(bare.0, bare.1);
        let whole = per_second(round.messages, round.elapsed);
        self.pipeline.push(Pipeline {
            messages: round.messages,
            messages_per_second: whole,
            sent_per_second: per_second(round.messages, round.sending),
            ceiling_per_second: ceiling,
            ratio: whole / ceiling,
            server_resident_mib: mib(round.memory.resident_kib),
            server_peak_mib: mib(round.memory.peak_kib),
            billing_share_of_statements: share.of_statements,
            billing_share_of_time: share.of_time,
        });
    }

    /// Adds a round of reservations.
    pub(crate) fn add_reservations(&mut self, round: &reservations::Round) {
        let rate = |elapsed| per_second(round.messages, elapsed);
        self.reservations.push(Reservations {
            messages: round.messages,
            bare_per_second: rate(round.bare),
            hot_per_second: rate(round.hot),
            hot_ratio: rate(round.hot) / rate(round.bare),
            many_per_second: rate(round.many),
            many_ratio: rate(round.many) / rate(round.bare),
            many_p50_ms: milliseconds(round.waits.percentile(50)),
            many_p99_ms: milliseconds(round.waits.percentile(99)),
        });
    }

    /// Adds a round of deliveries.
    pub(crate) fn add_ingest(&mut self, round: &ingest::Round) {
        let rate = |taken: &Taken| per_second(taken.deliveries, taken.elapsed);
        self.ingest.push(Ingest {
            deliveries: round.server.deliveries,
            acknowledged_per_second: rate(&round.server),
            p50_ms: milliseconds(round.server.p50),
            p99_ms: milliseconds(round.server.p99),
            bare_per_second: rate(&round.bare),
            bare_p50_ms: milliseconds(round.bare.p50),
            bare_p99_ms: milliseconds(round.bare.p99),
            ratio: rate(&round.server) / rate(&round.bare),
        });
    }

    /// Prints a line for each figure, with a column for each round and the median.
    pub(crate) fn print(&self) {
        let rounds = self
            .pipeline
            .len()
            .max(self.ingest.len())
            .max(self.reservations.len());
        let heads: String = (1..=rounds)
            .map(|round| format!("{:>10}", format!("round {round}")))
            .collect();
        println!("\n{:44}{heads}{:>10}", "", "median");
        let row = |name: &str, digits, of: fn(&Pipeline) -> f64| print_row(name, digits, &self.pipeline, of);
        row("pipeline, messages/s end to end", 0, |round| {
            round.messages_per_second
        });
        row("  of which until accepted, messages/s", 0, |round| {
            round.sent_per_second
        });
        row("ceiling, messages/s", 0, |round| round.ceiling_per_second);
        row("pipeline / ceiling", 2, |round| round.ratio);
        row("server memory, MiB", 1, |round| round.server_resident_mib);
        row("server memory at most, MiB", 1, |round| round.server_peak_mib);
        row("billing, share of statements' time", 2, |round| {
            round.billing_share_of_statements
        });
        row("billing, share of the time at work", 2, |round| {
            round.billing_share_of_time
        });
        let row = |name: &str, digits, of: fn(&Ingest) -> f64| print_row(name, digits, &self.ingest, of);
        row("ingest, acknowledgements/s", 0, |round| {
            round.acknowledged_per_second
        });
        row("  p50, ms", 1, |round| round.p50_ms);
        row("  p99, ms", 1, |round| round.p99_ms);
        row("bare handler, acknowledgements/s", 0, |round| {
            round.bare_per_second
        });
        row("  p50, ms", 1, |round| round.bare_p50_ms);
        row("  p99, ms", 1, |round| round.bare_p99_ms);
        row("ingest / bare handler", 2, |round| round.ratio);
        self.print_reservations();
    }

    fn print_reservations(&self) {
        let row = |name: &str, digits, of: fn(&Reservations) -> f64| {
            print_row(name, digits, &self.reservations, of)
        };
        row("reservations of one tenant/s", 0, |round| round.hot_per_second);
        row(
            &format!("reservations of {} tenants/s", reservations::MANY),
            0,
            |round| round.many_per_second,
        );
        row("  p50, ms", 1, |round| round.many_p50_ms);
        row("  p99, ms", 1, |round| round.many_p99_ms);
        row("bare rows/s", 0, |round| round.bare_per_second);
        row("one tenant / bare rows", 2, |round| round.hot_ratio);
        row("many tenants / bare rows", 2, |round| round.many_ratio);
    }

    /// Writes `bench/pipeline.json` into the build directory and gives its path.
    pub(crate) fn write(&self) -> anyhow::Result<PathBuf> {
        // This program is <build directory>/release/deps/pipeline-<hash>.
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(3).context("no build directory")?;
        let directory = target.join("bench");
        std::fs::create_dir_all(&directory)?;
        let path = directory.join("pipeline.json");
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }
}

fn print_row<T>(name: &str, digits: usize, rounds: &[T], of: fn(&T) -> f64) {
    let mut figures: Vec<f64> = rounds.iter().map(of).collect();
    let cells: String = figures
        .iter()
        .map(|figure| format!("{figure:>10.digits$}"))
        .collect();
    figures.sort_by(f64::total_cmp);
    if let Some(median) = figures.get(figures.len() / 2) {
        println!("{name:44}{cells}{median:>10.digits$}");
    }
}

fn per_second(many: usize, elapsed: Duration) -> f64 {
    many as f64 / elapsed.as_secs_f64()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}
