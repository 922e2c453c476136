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
    let mut is_whole = true;
    for (name, origin) in config.secrets.origins() {
        match origin {
            Ok(origin) => println!("{:<20} {origin}", name.as_str()),
            Err(problem) => {
                is_whole = false;
                eprintln!("malote: {problem}");
            }
        }
    }
    if is_whole {
        println!("settings and secrets are readable");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
