//! `malote simulator`.

use std::process::ExitCode;

pub(super) use simulator::cli::Args as Arguments;

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    simulator::cli::run(arguments).await?;
    Ok(ExitCode::SUCCESS)
}
