//! What the demo shows: colours and live bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::trial::{Tenant, counts_of};

/// The states that are shown while a campaign runs.
const STATES: [&str; 11] = [
    "planned",
    "queued",
    "sending",
    "accepted",
    "sent",
    "delivered",
    "read",
    "failed",
    "unknown",
    "dead",
    "suppressed",
];
/// The time between two looks at a terminal, and between two lines elsewhere.
const LOOK: Duration = Duration::from_millis(150);
const LINE: Duration = Duration::from_secs(2);

/// Where the demo shows itself.
pub(super) struct Screen {
    is_terminal: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: std::io::stdout().is_terminal(),
        }
    }

    /// Begins a part.
    pub(super) fn title(&self, text: &str) {
        println!("\n{}", self.styled("1", text));
    }

    /// Says what happens now.
    pub(super) fn step(&self, text: &str) {
        println!("{} {text}", self.styled("36", "->"));
    }

    /// Says something about the step.
    pub(super) fn line(&self, text: &str) {
        println!("   {text}");
    }

    /// Says whether something holds.
    pub(super) fn check(&self, holds: bool, text: &str) {
        let mark = if holds {
            self.styled("32", "ok")
        } else {
            self.styled("31;1", "WRONG")
        };
        println!("   {mark}  {text}");
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.is_terminal {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Shows a campaign until it is finished.
    pub(super) async fn follow(
        &self,
        tenant: &Tenant,
        campaign: &str,
        within: Duration,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let bars = self.is_terminal.then(Bars::new);
        let mut last_line = None::<Instant>;
        loop {
            let found = tenant.campaign(campaign).await?;
            let is_finished = found["state"] == "finished";
            if let Some(bars) = &bars {
                bars.show(&found)?;
            } else if is_finished || last_line.is_none_or(|last| last.elapsed() >= LINE) {
                last_line = Some(Instant::now());
                self.line(&format!(
                    "{:>5.1} s  {}",
                    started.elapsed().as_secs_f64(),
                    summary(&found)?
                ));
            }
            if is_finished {
                return Ok(());
            }
            anyhow::ensure!(
                started.elapsed() < within,
                "the campaign is not finished after {within:?}: {found}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn summary(campaign: &Value) -> anyhow::Result<String> {
    let mut words = Vec::new();
    for state in STATES {
        match counts_of(campaign, state)? {
            0 => {}
            count => words.push(format!("{count} {state}")),
        }
    }
    Ok(words.join(", "))
}

/// A bar for each state.
struct Bars {
    bars: Vec<(&'static str, ProgressBar)>,
    // Kept: dropping it ends the drawing.
    _drawing: MultiProgress,
}

impl Bars {
    fn new() -> Self {
        let drawing = MultiProgress::new();
        let style = ProgressStyle::with_template("   {prefix:>10} {bar:40.cyan/black} {pos:>6}");
        let style = style
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━━ ");
        let bars = STATES
            .iter()
            .map(|state| {
                let bar = drawing.add(ProgressBar::new(1).with_style(style.clone()).with_prefix(*state));
                (*state, bar)
            })
            .collect();
        Self {
            bars,
            _drawing: drawing,
        }
    }

    fn show(&self, campaign: &Value) -> anyhow::Result<()> {
        let total = u64::try_from(counts_of(campaign, "total")?)?;
        for (state, bar) in &self.bars {
            bar.set_length(total);
            bar.set_position(u64::try_from(counts_of(campaign, state)?)?);
        }
        Ok(())
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for (_, bar) in &self.bars {
            bar.abandon();
        }
    }
}
