//! The record of a tabletop, as a page.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::scenario::Scenario;
use super::walk::{LookedBack, Told};

/// A tabletop that was held.
pub(super) struct Held {
    pub(super) at: Timestamp,
    pub(super) led_by: String,
    pub(super) with: String,
    pub(super) is_rehearsal: bool,
    pub(super) faster: u32,
    pub(super) live: Option<String>,
    pub(super) file: String,
    pub(super) told: Told,
    pub(super) looked_back: LookedBack,
}

impl Held {
    /// Gives the page.
    pub(super) fn markdown(&self, scenario: &Scenario) -> String {
        let mut page = self.head(scenario);
        page.push_str("\n## What was done\n\n| clock | at the table |\n|---|---|\n");
        for (number, step) in scenario.steps.iter().enumerate() {
            line(
                &mut page,
                &format!("{:02}:00", step.minute),
                &format!("**{}** {}", step.tell, step.ask),
            );
            for said in self.told.said.iter().filter(|said| said.step == number) {
                let seconds = said.at.as_secs();
                line(
                    &mut page,
                    &format!("{:02}:{:02}", seconds / 60, seconds % 60),
                    &said.what,
                );
            }
        }
        page.push_str("\n## What was looked for\n\n| clock | expected | named |\n|---|---|---|\n");
        for (step, met) in scenario.steps.iter().zip(&self.looked_back.met) {
            for (expected, met) in step.expect.iter().zip(met) {
                let named = match met {
                    Some(true) => "yes",
                    Some(false) => "**no**",
                    None => "not said",
                };
                line(
                    &mut page,
                    &format!("{:02}:00 | {}", step.minute, cell(expected)),
                    named,
                );
            }
        }
        for (title, lines) in [
            ("What went well", &self.looked_back.went_well),
            ("What was missing", &self.looked_back.missing),
            ("Actions, owner, until", &self.looked_back.actions),
        ] {
            list(&mut page, title, lines);
        }
        page
    }

    fn head(&self, scenario: &Scenario) -> String {
        let kind = if self.is_rehearsal {
            "Rehearsal of a tabletop"
        } else {
            "Tabletop"
        };
        let mut page = format!("# {kind}: {}\n\n", scenario.title);
        if self.is_rehearsal {
            page.push_str("**A rehearsal.** It tried the scenario and the tools. It is no tabletop that a team held, and is no proof of one.\n\n");
        }
        page.push_str("| | |\n|---|---|\n");
        line(
            &mut page,
            "held at",
            &self.at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        );
        line(
            &mut page,
            "led by, with",
            &format!("{}; {}", self.led_by, self.with),
        );
        line(&mut page, "scenario", &format!("`{}`", self.file));
        let clock = match (self.faster, self.told.to_its_end) {
            (1, true) => format!("{} minutes", scenario.minutes),
            (faster, true) => format!("{} minutes, {faster} times as fast", scenario.minutes),
            (_, false) => "ended early".to_owned(),
        };
        line(&mut page, "clock", &clock);
        if let Some(live) = &self.live {
            line(
                &mut page,
                "live incident meanwhile",
                &format!("`dev/drill --hold {live}`"),
            );
        }
        let opened: BTreeSet<_> = scenario
            .steps
            .iter()
            .filter_map(|step| step.runbook.as_deref())
            .collect();
        let opened: Vec<_> = opened.into_iter().collect();
        line(&mut page, "runbooks", &opened.join(", "));
        page
    }
}

fn line(page: &mut String, first: &str, second: &str) {
    let _ = writeln!(page, "| {first} | {} |", cell(second)); // To a string: cannot fail.
}

/// What may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn list(page: &mut String, title: &str, lines: &[String]) {
    let _ = writeln!(page, "\n## {title}\n"); // To a string: cannot fail.
    if lines.is_empty() {
        page.push_str("Nothing was said.\n");
    }
    for one in lines {
        let _ = writeln!(page, "- {one}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::walk::Said;
    use super::*;

    #[test]
    fn a_rehearsal_says_so_and_what_was_said_stands_at_its_minute() {
        let scenario: Scenario = toml::from_str(
            "title = 'Meta refuses'\nminutes = 30\nsituation = 's'\n[[steps]]\nminute = 0\ntell = 'It pages.'\nask = 'What now?'\nexpect = ['Look | listen']\n",
        )
        .unwrap();
        let held = Held {
            at: "2026-11-25T10:00:00Z".parse().unwrap(),
            led_by: "ana".to_owned(),
            with: "bruno".to_owned(),
            is_rehearsal: true,
            faster: 3,
            live: Some("meta-errors-100".to_owned()),
            file: "a.toml".to_owned(),
            told: Told {
                said: vec![Said {
                    step: 0,
                    at: Duration::from_secs(75),
                    what: "open the runbook".to_owned(),
                }],
                to_its_end: true,
            },
            looked_back: LookedBack {
                met: vec![vec![Some(false)]],
                ..LookedBack::default()
            },
        };
        let page = held.markdown(&scenario);
        for wanted in [
            "# Rehearsal of a tabletop: Meta refuses",
            "is no proof of one",
            "| 01:15 | open the runbook |",
            "| 00:00 | Look \\| listen | **no** |",
            "30 minutes, 3 times as fast",
        ] {
            assert!(page.contains(wanted), "{wanted}\n{page}");
        }
    }
}
