//! The go-live gate: reads the controls of `docs/readiness/`, looks at what proves each, and writes a decision that anybody can compute
//! again. The rules are in `domain/src/gate.rs`.

mod checkout;
mod controls;
mod observe;
mod record;
mod table;

use std::path::PathBuf;

pub use checkout::Checkout;
pub use controls::{Control, Controls};
pub use observe::{observe, statement};
pub use record::{Finding, Record, decide};
pub use table::{markdown, terminal};

/// Where everything of the gate lives.
pub const READINESS: &str = "docs/readiness";

/// Records and evidence come after the sources that they speak of, so they are no part of them.
const RECORDS: [&str; 4] = [
    "docs/evidence/",
    "docs/drills/",
    "docs/readiness/decisions/",
    "docs/readiness/signatures/",
];

/// Why the gate itself cannot work. Never a reason to go.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A file that it needs is not there.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The controls or waivers say what they must not.
    #[error("{path}: {what}")]
    Refused {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A program that it needs does not answer.
    #[error("run {program}: {what}")]
    Program {
        /// Which.
        program: String,
        /// What it said.
        what: String,
    },
}
