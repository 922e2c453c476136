//! Tells a scenario by the clock, and hears what the team says meanwhile.

use std::io::BufRead as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::scenario::{Scenario, Step};

/// What was said, and when by the scenario's clock.
pub(super) struct Said {
    pub(super) step: usize,
    pub(super) at: Duration,
    pub(super) what: String,
}

/// What was told and said.
pub(super) struct Told {
    pub(super) said: Vec<Said>,
    pub(super) to_its_end: bool,
}

/// What the team thinks of it afterwards.
#[derive(Default)]
pub(super) struct LookedBack {
    /// For each expectation of each step: whether somebody named it; nothing if nobody answered.
    pub(super) met: Vec<Vec<Option<bool>>>,
    pub(super) went_well: Vec<String>,
    pub(super) missing: Vec<String>,
    pub(super) actions: Vec<String>,
}

/// Why a step is over.
enum Over {
    /// Its time, or `/next`.
    Next,
    /// `/end`, or nobody can say anything any more.
    End,
}

/// A clock, and the lines that are typed.
pub(super) struct Walk {
    faster: u32,
    begun: Instant,
    /// How far `/next` moved the clock.
    skipped: Duration,
    lines: Receiver<String>,
}

impl Walk {
    /// Begins to listen.
    pub(super) fn begin(faster: u32) -> Self {
        let (sender, lines) = channel();
        // Reading cannot be given up at a moment, waiting for a channel can.
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            faster,
            begun: Instant::now(),
            skipped: Duration::ZERO,
            lines,
        }
    }

    /// Tells the scenario from its beginning to its end.
    pub(super) fn through(&mut self, scenario: &Scenario) -> Told {
        println!("{}\n\n{}", scenario.title, scenario.situation);
        self.begun = Instant::now();
        let mut said = Vec::new();
        for (number, step) in scenario.steps.iter().enumerate() {
            tell(step);
            let until = minutes(scenario.end_of(number));
            if matches!(self.hear(number, until, &mut said), Over::End) {
                return Told {
                    said,
                    to_its_end: false,
                };
            }
        }
        println!("\nThe time is over.");
        Told {
            said,
            to_its_end: true,
        }
    }

    /// Keeps what is said until the scenario's clock has come so far.
    fn hear(&mut self, step: usize, until: Duration, said: &mut Vec<Said>) -> Over {
        loop {
            let left = until.saturating_sub(self.now()) / self.faster;
            match self.lines.recv_timeout(left) {
                Err(RecvTimeoutError::Timeout) => return Over::Next,
                Err(RecvTimeoutError::Disconnected) => return Over::End,
                Ok(line) => match line.trim() {
                    "" => {}
                    "/end" => return Over::End,
                    "/next" => {
                        self.skipped += until.saturating_sub(self.now());
                        return Over::Next;
                    }
                    what => said.push(Said {
                        step,
                        at: self.now(),
                        what: what.to_owned(),
                    }),
                },
            }
        }
    }

    /// Where the scenario's clock is.
    fn now(&self) -> Duration {
        self.begun.elapsed() * self.faster + self.skipped
    }

    /// Asks what was met, what went well, what was missing and who will do what.
    pub(super) fn look_back(&self, scenario: &Scenario) -> LookedBack {
        println!("\nLooking back. Did somebody name it: y or n?");
        let asked = |expectation: &String| {
            println!("  {expectation}");
            match self.lines.recv().as_deref().map(str::trim) {
                Ok("y" | "yes") => Some(true),
                Ok("n" | "no") => Some(false),
                _ => None,
            }
        };
        let met = scenario
            .steps
            .iter()
            .map(|step| step.expect.iter().map(asked).collect())
            .collect();
        LookedBack {
            met,
            went_well: self.lines_for("What went well?"),
            missing: self.lines_for("What was missing?"),
            actions: self.lines_for("Actions: what, owner, until when?"),
        }
    }

    /// Lines until an empty one.
    fn lines_for(&self, question: &str) -> Vec<String> {
        println!("\n{question} A line each, an empty line ends.");
        let lines = self.lines.iter().map(|line| line.trim().to_owned());
        lines.take_while(|line| !line.is_empty()).collect()
    }
}

fn tell(step: &Step) {
    println!("\n{:02}:00  {}\n       {}", step.minute, step.tell, step.ask);
}

fn minutes(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 60)
}
