//! What a run showed: a table for people, JSON for whoever keeps records.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::invariants::Invariant;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::sight::Flight;

/// Findings of one kind that are printed; the file has all.
const PRINTED_MOST: usize = 5;

/// How a run ended. The worst is last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Every promise held.
    Held,
    /// It proves nothing.
    Void,
    /// A promise was broken.
    Broken,
}

/// A fault that struck.
pub(crate) struct Struck {
    pub(crate) fault: Fault,
    pub(crate) in_flight: Vec<Flight>,
    pub(crate) lasted: Duration,
    pub(crate) recovered: Duration,
    pub(crate) neighbours: Option<f64>,
    /// Of the messages in flight: those that nobody can account for.
    pub(crate) lost: usize,
    /// Of the messages in flight: those that Meta accepted twice.
    pub(crate) doubled: usize,
    /// Of the messages in flight: those that were charged twice.
    pub(crate) charged_twice: usize,
}

/// What a run showed.
pub(crate) struct Report {
    seed: u64,
    logs: PathBuf,
    pub(crate) struck: Vec<Struck>,
    pub(crate) most_unknown: i64,
    pub(crate) seconds: f64,
    /// Figures of the audit, by name.
    pub(crate) figures: BTreeMap<&'static str, i64>,
    findings: BTreeMap<&'static str, Vec<String>>,
    /// Whether the audit came to its end.
    pub(crate) audited: bool,
}

impl Report {
    pub(crate) fn new(seed: u64, logs: &Path) -> Self {
        Self {
            seed,
            logs: logs.to_owned(),
            struck: Vec::new(),
            most_unknown: 0,
            seconds: 0.0,
            figures: BTreeMap::new(),
            findings: BTreeMap::new(),
            audited: false,
        }
    }

    /// Notes that an invariant was looked at, and what was found, if anything.
    pub(crate) fn look(&mut self, invariant: Invariant, found: Vec<String>) {
        self.findings.entry(invariant.id).or_default().extend(found);
    }

    /// Notes that the run did not go as it should.
    pub(crate) fn broken(&mut self, what: String) {
        self.findings.entry("run").or_default().push(what);
    }

    /// Why the run proves nothing, if it does not.
    fn void(&self) -> Vec<String> {
        let mut why: Vec<String> = self
            .struck
            .iter()
            .filter(|struck| struck.in_flight.is_empty())
            .map(|struck| format!("{} struck while nothing was in flight", struck.fault.name()))
            .collect();
        if self.most_unknown == 0 {
            why.push("no message was ever unknown".to_owned());
        }
        why
    }

    pub(crate) fn holds(&self) -> bool {
        self.verdict() != Verdict::Broken
    }

    pub(crate) fn verdict(&self) -> Verdict {
        if !self.audited || self.findings.values().any(|found| !found.is_empty()) {
            Verdict::Broken
        } else if self.void().is_empty() {
            Verdict::Held
        } else {
            Verdict::Void
        }
    }

    /// Prints the table and the verdict.
    pub(crate) fn print(&self) {
        println!(
            "\n{:<24}{:>6}{:>11}{:>9}{:>10}{:>12}{:>6}{:>9}{:>15}",
            "fault",
            "times",
            "in flight",
            "lasted",
            "recovery",
            "neighbours",
            "lost",
            "doubled",
            "charged twice"
        );
        for one in &self.struck {
            println!(
                "{:<24}{:>6}{:>11}{:>7.1} s{:>8.1} s{:>12}{:>6}{:>9}{:>15}",
                one.fault.name(),
                1,
                one.in_flight.len(),
                one.lasted.as_secs_f64(),
                one.recovered.as_secs_f64(),
                one.neighbours
                    .map_or_else(String::new, |pace| format!("{:.0} %", 100.0 * pace)),
                one.lost,
                one.doubled,
                one.charged_twice
            );
        }
        println!(
            "\n{:.0} s; at most {} messages were unknown at a time",
            self.seconds, self.most_unknown
        );
        for (name, figure) in &self.figures {
            println!("  {name:<40}{figure:>8}");
        }
        for (invariant, found) in &self.findings {
            println!(
                "  {invariant:<5}{}",
                if found.is_empty() { "holds" } else { "BROKEN" }
            );
            for what in found.iter().take(PRINTED_MOST) {
                println!("       {what}");
            }
            if found.len() > PRINTED_MOST {
                println!("       and {} more", found.len() - PRINTED_MOST);
            }
        }
        match self.verdict() {
            Verdict::Held => println!("seed {}: every promise held\n", self.seed),
            Verdict::Void => println!("seed {}: VOID: {}\n", self.seed, self.void().join("; ")),
            Verdict::Broken => println!("seed {}: BROKEN; logs in {}\n", self.seed, self.logs.display()),
        }
    }

    /// Writes the JSON beside what the build leaves behind.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/chaos");
        std::fs::create_dir_all(&directory)?;
        let file = directory.join(format!("seed-{}.json", self.seed));
        std::fs::write(&file, serde_json::to_string_pretty(&self.json())?)?;
        Ok(())
    }

    fn json(&self) -> Value {
        let struck: Vec<Value> = self
            .struck
            .iter()
            .map(|one| {
                json!({
                    "fault": one.fault.name(), "times": 1, "in_flight": one.in_flight.len(),
                    "lasted_s": one.lasted.as_secs_f64(), "recovery_s": one.recovered.as_secs_f64(),
                    "neighbours": one.neighbours, "lost": one.lost, "doubled": one.doubled,
                    "charged_twice": one.charged_twice,
                })
            })
            .collect();
        json!({
            "seed": self.seed, "verdict": format!("{:?}", self.verdict()).to_lowercase(), "void": self.void(),
            "seconds": self.seconds, "most_unknown": self.most_unknown, "faults": struck, "figures": self.figures,
            "findings": self.findings,
        })
    }
}
