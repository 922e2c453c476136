//! A scenario: what happens, minute by minute, and what a good answer to it holds.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// What is told around a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// What it is about.
    pub(super) title: String,
    /// How long it takes.
    pub(super) minutes: u32,
    /// When and where it begins.
    pub(super) situation: String,
    /// What happens.
    pub(super) steps: Vec<Step>,
}

/// Something that happens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// When.
    pub(super) minute: u32,
    /// What the team hears.
    pub(super) tell: String,
    /// What they are asked.
    pub(super) ask: String,
    /// What a good answer holds; the team sees it afterwards.
    pub(super) expect: Vec<String>,
    /// The runbook that they should have opened, in docs/runbooks.
    #[serde(default)]
    pub(super) runbook: Option<String>,
}

impl Scenario {
    /// Reads a scenario.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let scenario: Self = toml::from_str(&text).with_context(|| file.display().to_string())?;
        scenario.check().with_context(|| file.display().to_string())?;
        Ok(scenario)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.steps.first().is_some_and(|step| step.minute == 0),
            "the first step is at minute 0"
        );
        ensure!(
            self.steps.is_sorted_by(|one, next| one.minute < next.minute),
            "each step comes after the one before"
        );
        ensure!(
            self.steps.iter().all(|step| step.minute < self.minutes),
            "each step comes before the end"
        );
        ensure!(
            self.steps.iter().all(|step| !step.expect.is_empty()),
            "each step expects something"
        );
        Ok(())
    }

    /// When a step ends: with the next one, or with the scenario.
    pub(super) fn end_of(&self, step: usize) -> u32 {
        self.steps.get(step + 1).map_or(self.minutes, |next| next.minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_told_and_its_runbooks_exist() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let mut told = 0;
        for entry in std::fs::read_dir(docs.join("readiness/scenarios")).unwrap() {
            let scenario = Scenario::read(&entry.unwrap().path()).unwrap();
            for runbook in scenario.steps.iter().filter_map(|step| step.runbook.as_ref()) {
                assert!(docs.join("runbooks").join(runbook).exists(), "{runbook}");
            }
            assert_eq!(scenario.end_of(scenario.steps.len() - 1), scenario.minutes);
            told += 1;
        }
        assert!(told >= 3);
    }

    #[test]
    fn what_cannot_be_told_by_the_clock_is_refused() {
        let step = "[[steps]]\nminute = 1\ntell = 'x'\nask = 'y'\nexpect = ['z']\n";
        let scenario: Scenario =
            toml::from_str(&format!("title = 't'\nminutes = 30\nsituation = 's'\n{step}")).unwrap();
        assert_eq!(
            scenario.check().unwrap_err().to_string(),
            "the first step is at minute 0"
        );
    }
}
