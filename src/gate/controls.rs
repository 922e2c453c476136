//! What must be true before production: `docs/readiness/controls.yaml`, and the waivers beside it.

use std::collections::{BTreeMap, BTreeSet};

use domain::gate::{Binding, Severity, Terms, Waiver};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Checkout, GateError, READINESS};

/// Controls that a file may hold. More are a mistake.
const CONTROLS_MOST: usize = 500;

/// The file of controls, and of waivers.
#[derive(Debug)]
pub struct Controls {
    /// How many majors may be open.
    pub majors_most: usize,
    /// In the order of the file.
    pub all: Vec<Control>,
    waivers: BTreeMap<String, StoredWaiver>,
}

/// One thing that must be true.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its name for ever.
    pub id: String,
    /// Which part of the readiness it belongs to.
    pub area: Area,
    /// What must be true, in a sentence.
    pub requires: String,
    /// What it means when it is not.
    pub severity: Level,
    /// Who sees to it.
    pub owner: String,
    /// The line of the go-live plan that it fulfils, `day.line`.
    #[serde(default)]
    pub plan: Vec<String>,
    /// Whether a waiver may take its place.
    #[serde(default)]
    pub waivable: bool,
    /// What proves it.
    pub proof: Proof,
}

/// A part of the readiness.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each is its own name")]
pub enum Area {
    Security,
    Reliability,
    Operations,
    Data,
    Quality,
    Billing,
    Api,
}

/// `Severity`, as the file spells it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each is its own name")]
pub enum Level {
    Blocker,
    Major,
    Minor,
}

/// What proves a control.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Proof {
    /// A program of the repository that ends with 0, run when the gate is.
    Command(Vec<String>),
    /// The newest evidence of a kind in `docs/evidence/` or `docs/drills/`.
    Evidence(Wanted),
    /// Files that are there and hold each of these words.
    Files(BTreeMap<String, Vec<String>>),
    /// A signature: `docs/readiness/signatures/ID.sig`.
    Signed(Signature),
}

/// Evidence of an earlier run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Its field `kind`.
    pub kind: String,
    /// How old it may be.
    pub hours_most: u32,
    /// Whether it may be of an earlier commit of this history.
    #[serde(default)]
    pub earlier: bool,
}

/// A signature by a role of `docs/readiness/signers`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Which role.
    pub by: String,
    /// Over which file; without one, over the statement that names these sources.
    pub file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredControls {
    majors_most: usize,
    controls: Vec<Control>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredWaiver {
    control: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    owner: String,
    expires: Timestamp,
}

impl Controls {
    /// Reads both files.
    ///
    /// # Errors
    /// When one is missing or does not say what it must.
    pub fn read(checkout: &Checkout) -> Result<Self, GateError> {
        let stored: StoredControls = parse(checkout, "controls.yaml")?;
        let waivers: Vec<StoredWaiver> = parse(checkout, "waivers.yaml")?;
        let ids: BTreeSet<&str> = stored
            .controls
            .iter()
            .map(|control| control.id.as_str())
            .collect();
        if ids.len() != stored.controls.len() || ids.is_empty() || ids.len() > CONTROLS_MOST {
            return Err(refused(
                checkout,
                "controls.yaml",
                "ids repeat, or there are none".to_owned(),
            ));
        }
        if let Some(stray) = waivers
            .iter()
            .find(|waiver| !ids.contains(waiver.control.as_str()))
        {
            let what = format!("there is no control {}", stray.control);
            return Err(refused(checkout, "waivers.yaml", what));
        }
        let waivers = waivers.into_iter().map(|waiver| (waiver.control.clone(), waiver));
        Ok(Self {
            majors_most: stored.majors_most,
            waivers: waivers.collect(),
            all: stored.controls,
        })
    }

    /// The waiver of a control.
    pub fn waiver(&self, id: &str) -> Option<Waiver> {
        self.waivers.get(id).map(|waiver| Waiver {
            is_complete: !waiver.reason.trim().is_empty() && !waiver.owner.trim().is_empty(),
            expires_at: waiver.expires,
        })
    }

    /// The words of a waiver.
    pub fn waiver_in_words(&self, id: &str) -> Option<String> {
        let waiver = self.waivers.get(id)?;
        Some(format!(
            "{} ({}, until {})",
            waiver.reason, waiver.owner, waiver.expires
        ))
    }
}

impl Control {
    /// What is asked of it.
    pub fn terms(&self) -> Terms {
        let (binding, oldest) = match &self.proof {
            Proof::Evidence(wanted) if wanted.earlier => (Binding::History, wanted.hours_most),
            Proof::Evidence(wanted) => (Binding::Sources, wanted.hours_most),
            _ => (Binding::Sources, 0),
        };
        Terms {
            severity: self.severity.into(),
            is_waivable: self.waivable,
            binding,
            oldest: SignedDuration::from_hours(i64::from(oldest)),
        }
    }
}

impl Area {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Reliability => "reliability",
            Self::Operations => "operations",
            Self::Data => "data",
            Self::Quality => "quality",
            Self::Billing => "billing",
            Self::Api => "api",
        }
    }
}

impl Level {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocker => "blocker",
            Self::Major => "major",
            Self::Minor => "minor",
        }
    }
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Blocker => Self::Blocker,
            Level::Major => Self::Major,
            Level::Minor => Self::Minor,
        }
    }
}

fn parse<T: DeserializeOwned>(checkout: &Checkout, name: &str) -> Result<T, GateError> {
    let path = checkout.path(&format!("{READINESS}/{name}"));
    let text = std::fs::read_to_string(&path).map_err(|source| GateError::Read { path, source })?;
    serde_yaml_ng::from_str(&text).map_err(|error| refused(checkout, name, error.to_string()))
}

fn refused(checkout: &Checkout, name: &str, what: String) -> GateError {
    GateError::Refused {
        path: checkout.path(&format!("{READINESS}/{name}")),
        what,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_files_of_the_controls_hold_their_words() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(root.join(READINESS).join("controls.yaml")).unwrap();
        let stored: StoredControls = serde_yaml_ng::from_str(&text).unwrap();
        let (mut read, mut lacking) = (0, Vec::new());
        for control in stored.controls {
            let Proof::Files(files) = control.proof else {
                continue;
            };
            for (file, words) in files {
                let held = std::fs::read_to_string(root.join(&file)).unwrap_or_default();
                let gone = words.into_iter().filter(|word| !held.contains(word));
                lacking.extend(gone.map(|word| format!("{}: {file} lacks {word:?}", control.id)));
                read += 1;
            }
        }
        assert!(read > 10, "{read} files were read: the test proves nothing");
        assert!(lacking.is_empty(), "the gate would say no-go: {lacking:#?}");
    }
}
