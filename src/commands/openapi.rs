//! `malote openapi`.

use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct Arguments {}

/// Prints the document that the server serves at `/openapi.json`.
pub(super) fn run() -> ExitCode {
    print!("{}", crate::api::openapi::document());
    ExitCode::SUCCESS
}
