//! `malote serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::Config;
use crate::app::{self, RoleOfProcess};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// What this process does; processes with different roles scale apart.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROLES")]
    roles: Vec<RoleOfProcess>,
    /// Write the addresses to this file once they are served: {"public":"...","internal":"..."}.
    #[arg(long, value_name = "FILE")]
    announce: Option<PathBuf>,
}

pub(super) fn run(config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let roles = match arguments.roles {
        none if none.is_empty() => RoleOfProcess::ALL.to_vec(),
        roles => roles,
    };
    app::serve(config, roles, |addresses| match &arguments.announce {
        Some(file) => announce(file, addresses.public, addresses.internal),
        None => Ok(()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Writes beside the file and moves it into place, so that nobody reads half of it.
pub(super) fn announce(file: &Path, public: SocketAddr, internal: SocketAddr) -> anyhow::Result<()> {
    let text = serde_json::json!({
        "public": public.to_string(),
        "internal": internal.to_string(),
    });
    let beside = file.with_extension("part");
    std::fs::write(&beside, text.to_string()).with_context(|| format!("--announce {}", beside.display()))?;
    std::fs::rename(&beside, file).with_context(|| format!("--announce {}", file.display()))
}
