//! `malote`: one program for the server, its operators and its tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    malote::commands::run()
}
