//! The decision, with all that it was computed from.

use domain::gate::{Severity, Verdict, judge, may_go};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Checkout, Controls, GateError, observe};

/// A decision that anybody with the repository can compute again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// `go` or `no-go`.
    pub decision: String,
    /// The commit that was judged.
    pub commit: String,
    /// The digest of its sources: what approvals name.
    pub sources: String,
    /// As of when evidence was fresh or stale.
    pub decided_at: Timestamp,
    /// The ids of the blockers that are open, and of majors beyond those allowed.
    pub open: Vec<String>,
    /// Every control.
    pub findings: Vec<Finding>,
}

/// How one control fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The control.
    pub id: String,
    /// Its area.
    pub area: String,
    /// What must be true.
    pub requires: String,
    /// What it means when it is not.
    pub severity: String,
    /// Who sees to it.
    pub owner: String,
    /// `pass`, `waived` or `fail`.
    pub verdict: String,
    /// Why it does not hold.
    pub because: Option<String>,
    /// The waiver that takes its place.
    pub waiver: Option<String>,
    /// The file that proves it.
    pub source: Option<Source>,
}

/// A file, by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Which.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
}

/// Judges every control as of a moment, and decides.
///
/// # Errors
/// When the gate itself cannot work.
pub fn decide(checkout: &Checkout, controls: &Controls, now: Timestamp) -> Result<Record, GateError> {
    let mut verdicts = Vec::new();
    let mut findings = Vec::new();
    for control in &controls.all {
        let (seen, source) = observe(checkout, control, now)?;
        let verdict = judge(control.terms(), seen, controls.waiver(&control.id), now);
        verdicts.push((control.terms().severity, verdict));
        let (word, fault) = match verdict {
            Verdict::Pass => ("pass", None),
            Verdict::Waived(fault) => ("waived", Some(fault)),
            Verdict::Fail(fault) => ("fail", Some(fault)),
        };
        findings.push(Finding {
            id: control.id.clone(),
            area: control.area.as_str().to_owned(),
            requires: control.requires.clone(),
            severity: control.severity.as_str().to_owned(),
            owner: control.owner.clone(),
            verdict: word.to_owned(),
            because: fault.map(|fault| fault.as_str().to_owned()),
            waiver: (word == "waived")
                .then(|| controls.waiver_in_words(&control.id))
                .flatten(),
            source,
        });
    }
    let goes = may_go(&verdicts, controls.majors_most);
    let open = verdicts
        .iter()
        .zip(&findings)
        .filter(|((severity, verdict), _)| {
            *severity != Severity::Minor && matches!(verdict, Verdict::Fail(_))
        })
        .map(|(_, finding)| finding.id.clone())
        .collect();
    Ok(Record {
        decision: if goes { "go" } else { "no-go" }.to_owned(),
        commit: checkout.commit.clone(),
        sources: checkout.sources.clone(),
        decided_at: now,
        open,
        findings,
    })
}

impl Record {
    /// Whether it says go.
    pub fn goes(&self) -> bool {
        self.decision == "go"
    }

    /// Where another record of the same moment differs; empty when they are the same.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let heads = [
            ("decision", &self.decision, &other.decision),
            ("sources", &self.sources, &other.sources),
        ];
        let mut found: Vec<String> = heads
            .iter()
            .filter(|(_, said, computed)| said != computed)
            .map(|(name, said, computed)| {
                format!("{name}: the record says {said}, computed again it is {computed}")
            })
            .collect();
        if self.open != other.open {
            found.push(format!(
                "open: the record says {:?}, computed again {:?}",
                self.open, other.open
            ));
        }
        if self.findings.len() != other.findings.len() {
            found.push("it does not list the controls of these sources".to_owned());
        }
        let pairs = self.findings.iter().zip(&other.findings);
        found.extend(
            pairs
                .filter(|(said, computed)| said != computed)
                .map(|(said, computed)| {
                    format!(
                        "{}: the record says {said:?}, computed again {computed:?}",
                        said.id
                    )
                }),
        );
        found
    }
}
