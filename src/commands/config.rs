//! `malote config check`.

use std::process::ExitCode;

use clap::Subcommand;

use super::Config;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Reads all layers and the secrets that they name. Prints nothing secret.
    Check,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> ExitCode {
    let Action::Check = arguments.action;
    let problems = config.unreadable_secrets();
    for problem in &problems {
        eprintln!("malote: {problem}");
    }
    if problems.is_empty() {
        println!("settings and secrets are readable");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
