//! What a migration says of itself: the `-- key: value` lines at its top.

use std::fmt;
use std::str::FromStr;

/// How a migration and the programs of two releases get on with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Adds; programs of the previous release do not notice.
    Expand,
    /// Checks that stored rows have the new shape, which a command gave them.
    Backfill,
    /// Takes away; programs older than `requires-app` no longer work.
    Contract,
}

impl Phase {
    /// Gives its spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Backfill => "backfill",
            Self::Contract => "contract",
        }
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "expand" => Ok(Self::Expand),
            "backfill" => Ok(Self::Backfill),
            "contract" => Ok(Self::Contract),
            other => Err(format!("phase is expand, backfill or contract, not {other:?}")),
        }
    }
}

/// The version of a program, `X.Y.Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppVersion(u32, u32, u32);

impl AppVersion {
    /// The version of this program.
    ///
    /// # Panics
    /// Never: Cargo writes it.
    pub fn own() -> Self {
        env!("CARGO_PKG_VERSION").parse().unwrap_or(Self(0, 0, 0))
    }
}

impl FromStr for AppVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
        match parts.as_deref() {
            Some(&[major, minor, patch]) => Ok(Self(major, minor, patch)),
            _ => Err(format!("a version is three numbers, X.Y.Z, not {text:?}")),
        }
    }
}

impl fmt::Display for AppVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Everything that a migration says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directives {
    /// `-- phase: ...`, the first line.
    pub phase: Phase,
    /// False with `-- transaction: off`: its statements run one by one.
    pub in_transaction: bool,
    /// `-- requires-app: X.Y.Z`: the oldest program that works afterwards.
    pub requires_app: Option<AppVersion>,
    /// `-- critical: yes`: a checklist says how to roll it back.
    pub is_critical: bool,
}

impl Directives {
    /// Reads the lines at the top; the first line that is no directive ends them.
    ///
    /// # Errors
    /// What is wrong, in words for whoever wrote the file.
    pub fn read(sql: &str) -> Result<Self, String> {
        let mut lines = sql.lines().map_while(directive);
        let Some(("phase", phase)) = lines.next() else {
            return Err("the first line is `-- phase: expand`, `backfill` or `contract`".to_owned());
        };
        let mut read = Self {
            phase: phase.parse()?,
            in_transaction: true,
            requires_app: None,
            is_critical: false,
        };
        for (key, value) in lines {
            match (key, value) {
                ("transaction", "off") => read.in_transaction = false,
                ("critical", "yes") => read.is_critical = true,
                ("requires-app", version) => read.requires_app = Some(version.parse()?),
                _ => {
                    return Err(format!(
                        "`-- {key}: {value}` is no directive; there are `transaction: off`, `requires-app: X.Y.Z` and `critical: yes`"
                    ));
                }
            }
        }
        match (read.phase, read.requires_app) {
            (Phase::Contract, None) => Err(
                "a contract says `-- requires-app: X.Y.Z`, the oldest program that works afterwards"
                    .to_owned(),
            ),
            (Phase::Expand | Phase::Backfill, Some(_)) => Err(
                "only a contract may say `requires-app`: other phases leave older programs working"
                    .to_owned(),
            ),
            _ => Ok(read),
        }
    }
}

fn directive(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.strip_prefix("-- ")?.split_once(": ")?;
    let is_key = !key.is_empty()
        && key
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter == '-');
    is_key.then(|| (key, value.trim()))
}

/// Splits a script that runs outside of a transaction into its statements, without comments.
pub(super) fn statements(sql: &str) -> Vec<String> {
    without_comments(sql)
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Drops what follows `--` in each line.
pub(super) fn without_comments(sql: &str) -> String {
    let lines = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_up_to_the_first_other_line() {
        let sql = "-- phase: contract\n-- requires-app: 1.20.3\n-- critical: yes\n-- transaction: off\n-- Words: not one.\n-- critical: no\n";
        let read = Directives::read(sql).unwrap();
        assert_eq!(
            (read.phase, read.in_transaction, read.is_critical),
            (Phase::Contract, false, true)
        );
        assert_eq!(read.requires_app.unwrap().to_string(), "1.20.3");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (sql, problem) in [
            ("CREATE TABLE x ();", "first line"),
            ("-- phase: shrink", "shrink"),
            ("-- phase: expand\n-- transactoin: off", "transactoin"),
            ("-- phase: contract", "requires-app"),
            ("-- phase: expand\n-- requires-app: 1.0.0", "only a contract"),
            ("-- phase: contract\n-- requires-app: soon", "X.Y.Z"),
        ] {
            let error = Directives::read(sql).unwrap_err();
            assert!(error.contains(problem), "{sql:?}: {error}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number_and_not_by_text() {
        let [old, new]: [AppVersion; 2] = ["0.9.0", "0.10.0"].map(|text| text.parse().unwrap());
        assert!(old < new);
    }

    #[test]
    fn statements_are_split_without_their_comments() {
        let sql = "-- phase: expand\nCREATE INDEX a ON b (c); -- first; really\n\nDROP INDEX d;\n";
        assert_eq!(statements(sql), ["CREATE INDEX a ON b (c)", "DROP INDEX d"]);
    }
}
