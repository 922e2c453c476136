//! `malote simulator`.

use std::process::ExitCode;

pub(super) use ::simulator::Args as Arguments;

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    ::simulator::run(arguments).await?;
    Ok(ExitCode::SUCCESS)
}
