//! Looks at what proves a control: runs its command, reads its evidence, checks its files or its signature.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use domain::gate::Observation;
use jiff::Timestamp;
use serde::Deserialize;

use super::checkout::sha256;
use super::controls::{Proof, Signature, Wanted};
use super::record::Source;
use super::{Checkout, Control, GateError, READINESS};

/// Where runs leave their evidence.
const PLACES: [&str; 2] = ["docs/evidence", "docs/drills"];
/// What signatures are made for, so that none made for something else counts.
const NAMESPACE: &str = "malote-gate";

/// What every piece of evidence says. It may say more.
#[derive(Debug, Deserialize)]
struct Evidence {
    kind: String,
    passed: bool,
    commit: String,
    dirty: bool,
    finished_at: Timestamp,
}

/// Looks at a control as of a moment: what was left later does not count. Gives what was seen, and in which file.
///
/// # Errors
/// When the gate itself cannot look.
pub fn observe(
    checkout: &Checkout,
    control: &Control,
    now: Timestamp,
) -> Result<(Observation, Option<Source>), GateError> {
    match &control.proof {
        Proof::Command(words) => Ok((run(checkout, words)?, None)),
        Proof::Files(files) => {
            let holds = files.iter().all(|(name, words)| {
                std::fs::read_to_string(checkout.path(name)).is_ok_and(|text| {
                    !text.trim().is_empty() && words.iter().all(|word| text.contains(word.as_str()))
                })
            });
            Ok((Observation::Checked { holds }, None))
        }
        Proof::Evidence(wanted) => newest(checkout, wanted, now),
        Proof::Signed(signature) => signed(checkout, control, signature),
    }
}

fn run(checkout: &Checkout, words: &[String]) -> Result<Observation, GateError> {
    let [program, arguments @ ..] = words else {
        return Ok(Observation::Missing);
    };
    let path = checkout.path(program);
    if !path.exists() {
        return Ok(Observation::Missing);
    }
    let ended = Command::new(&path)
        .args(arguments)
        .current_dir(checkout.root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| GateError::Program {
            program: program.clone(),
            what: error.to_string(),
        })?;
    Ok(Observation::Checked {
        holds: ended.success(),
    })
}

fn newest(
    checkout: &Checkout,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<(Observation, Option<Source>), GateError> {
    let mut best: Option<(Evidence, Source)> = None;
    for path in evidence_files(checkout) {
        let bytes = std::fs::read(&path).map_err(|source| GateError::Read {
            path: path.clone(),
            source,
        })?;
        let Ok(evidence) = serde_json::from_slice::<Evidence>(&bytes) else {
            continue;
        };
        let is_newer = best
            .as_ref()
            .is_none_or(|(other, _)| other.finished_at < evidence.finished_at);
        if evidence.kind == wanted.kind && evidence.finished_at <= now && is_newer {
            let name = path.strip_prefix(checkout.root()).unwrap_or(&path);
            let source = Source {
                path: name.display().to_string(),
                sha256: sha256(&bytes),
            };
            best = Some((evidence, source));
        }
    }
    let Some((evidence, source)) = best else {
        return Ok((Observation::Missing, None));
    };
    let seen = Observation::Evidence {
        passed: evidence.passed,
        finished_at: evidence.finished_at,
        origin: checkout.origin(&evidence.commit),
        is_dirty: evidence.dirty,
    };
    Ok((seen, Some(source)))
}

fn evidence_files(checkout: &Checkout) -> Vec<PathBuf> {
    let entries = PLACES
        .iter()
        .filter_map(|place| std::fs::read_dir(checkout.path(place)).ok())
        .flatten();
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    files
}

/// What whoever approves of going live puts their name to: these sources, and no others.
pub fn statement(checkout: &Checkout) -> String {
    format!(
        "I approve of going live with malote, sources {}\n",
        checkout.sources
    )
}

fn signed(
    checkout: &Checkout,
    control: &Control,
    wanted: &Signature,
) -> Result<(Observation, Option<Source>), GateError> {
    let name = format!("{READINESS}/signatures/{}.sig", control.id);
    let Ok(signature) = std::fs::read(checkout.path(&name)) else {
        return Ok((Observation::Missing, None));
    };
    let content = match &wanted.file {
        None => statement(checkout).into_bytes(),
        Some(file) => match std::fs::read(checkout.path(file)) {
            Ok(content) => content,
            Err(_) => return Ok((Observation::Missing, None)),
        },
    };
    let source = Source {
        path: name.clone(),
        sha256: sha256(&signature),
    };
    let is_valid = verify(checkout, &wanted.by, &name, &content)?;
    Ok((Observation::Signed { is_valid }, Some(source)))
}

fn verify(checkout: &Checkout, role: &str, signature: &str, content: &[u8]) -> Result<bool, GateError> {
    let failed = |what: String| GateError::Program {
        program: "ssh-keygen".to_owned(),
        what,
    };
    // By a file: whoever checks may end before all is read from a pipe.
    let held = std::env::temp_dir().join(format!("malote-gate-{}", uuid::Uuid::now_v7()));
    let verified = (|| {
        std::fs::write(&held, content)?;
        Command::new("ssh-keygen")
            .args(["-Y", "verify", "-n", NAMESPACE, "-I", role, "-f"])
            .arg(checkout.path(&format!("{READINESS}/signers")))
            .arg("-s")
            .arg(checkout.path(signature))
            .stdin(File::open(&held)?)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
    })();
    let removed = std::fs::remove_file(&held);
    let status = verified.map_err(|error| failed(error.to_string()))?;
    removed.map_err(|error| failed(error.to_string()))?;
    Ok(status.success())
}
