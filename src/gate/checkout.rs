//! The repository that is judged: its commit, its sources as one digest, and whether another commit belongs to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use domain::gate::Origin;
use sha2::{Digest, Sha256};

use super::{GateError, RECORDS};

/// A checkout of the repository.
#[derive(Clone, Debug)]
pub struct Checkout {
    root: PathBuf,
    /// The commit that is checked out.
    pub commit: String,
    /// SHA-256 over the names, modes and contents of all files of that commit but records.
    pub sources: String,
}

impl Checkout {
    /// Opens the repository around a directory.
    ///
    /// # Errors
    /// When it is no repository, or git does not answer.
    pub fn open(directory: &Path) -> Result<Self, GateError> {
        let root = PathBuf::from(text(directory, &["rev-parse", "--show-toplevel"])?);
        let commit = text(&root, &["rev-parse", "HEAD"])?;
        let sources = sources_of(&root, &commit)?;
        Ok(Self {
            root,
            commit,
            sources,
        })
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where another commit stands to this one.
    pub fn origin(&self, commit: &str) -> Origin {
        let is_name = commit.len() >= 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_name {
            return Origin::Foreign;
        }
        match sources_of(&self.root, commit) {
            Ok(sources) if sources == self.sources => Origin::SameSources,
            Ok(_) if git(&self.root, &["merge-base", "--is-ancestor", commit, &self.commit]).is_ok() => {
                Origin::Earlier
            }
            _ => Origin::Foreign,
        }
    }

    /// Whether files that count as sources differ from the commit.
    ///
    /// # Errors
    /// When git does not answer.
    pub fn is_dirty(&self) -> Result<bool, GateError> {
        let changed = git(
            &self.root,
            &["status", "--porcelain", "-z", "--untracked-files=all"],
        )?;
        let changed = String::from_utf8_lossy(&changed);
        let names = changed.split('\0').filter(|line| !line.is_empty());
        // Two letters and a space stand before each name; the old name of a renamed file stands alone.
        let mut names = names.map(|line| line.get(3..).unwrap_or(line));
        Ok(names.any(|name| !is_record(name)))
    }
}

/// The SHA-256 of some bytes, as people write it.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn is_record(name: &str) -> bool {
    RECORDS.iter().any(|prefix| name.starts_with(prefix))
}

fn sources_of(root: &Path, commit: &str) -> Result<String, GateError> {
    let listed = git(root, &["ls-tree", "-r", "-z", "--full-tree", commit])?;
    let mut digest = Sha256::new();
    for entry in listed.split(|byte| *byte == 0) {
        let name = entry.splitn(2, |byte| *byte == b'\t').nth(1).unwrap_or_default();
        if !entry.is_empty() && !is_record(&String::from_utf8_lossy(name)) {
            digest.update(entry);
            digest.update([0]);
        }
    }
    Ok(digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn text(root: &Path, arguments: &[&str]) -> Result<String, GateError> {
    let said = git(root, arguments)?;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

fn git(root: &Path, arguments: &[&str]) -> Result<Vec<u8>, GateError> {
    let failed = |what: String| GateError::Program {
        program: format!("git {}", arguments.join(" ")),
        what,
    };
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("git")
        .args(arguments)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if status.success() {
        Ok(stdout)
    } else {
        Err(failed(String::from_utf8_lossy(&stderr).trim().to_owned()))
    }
}
