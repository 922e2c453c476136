//! `malote seed`: makes of an empty installation one like those that people run, through its API, and keeps a light load going.

mod customers;
mod fill;
mod load;

use std::process::ExitCode;

use anyhow::Context as _;

use super::Config;
use crate::config::SecretName;
use crate::trial::Client;

const EXAMPLES: &str = "Examples:
  malote simulator --number-rate 0 --callback http://127.0.0.1:8080/webhooks/meta --app-secret \"$(cat FILE)\"
  malote --environment staging seed
  malote --environment staging seed --messages 200000
  malote --environment staging seed --load 10

Only for an installation whose Meta is simulated. Run again it keeps what is there, and makes what is missing.
Exit codes: 0 done, 1 refused or not finished, 2 misuse.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// How many tenants: the first is the largest, the next half of it, then a third, and so on.
    #[arg(long, default_value_t = 12, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=customers::MOST))]
    tenants: u64,
    /// Messages of finished campaigns, over all tenants: they are sent to the simulated Meta now.
    #[arg(long, default_value_t = 20_000, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    messages: u64,
    /// Then so many messages a second, with reads and small campaigns between them, until it is told to stop; 0 ends when all is made.
    #[arg(long, default_value_t = 0, value_name = "RATE", value_parser = clap::value_parser!(u32).range(0..=200))]
    load: u32,
    /// Where tenants' API listens, if not at http.public_address of the settings.
    #[arg(long, value_name = "ADDRESS")]
    public: Option<String>,
    /// Where operators' API listens, if not at http.internal_address of the settings.
    #[arg(long, value_name = "ADDRESS")]
    internal: Option<String>,
}

/// Whom it talks to.
struct Installation {
    /// Tenants' API, without a key.
    public: Client,
    /// Operators' API.
    admin: Client,
    /// What commands the simulated Meta.
    meta: Client,
}

pub(super) async fn run(config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let installation = installation(&config, &arguments)?;
    let customers = customers::of(arguments.tenants, arguments.messages);
    let tenants = fill::fill(&installation, customers).await?;
    if arguments.load > 0 {
        load::keep_up(tenants, arguments.load).await?;
    }
    Ok(ExitCode::SUCCESS)
}

fn installation(config: &Config, arguments: &Arguments) -> anyhow::Result<Installation> {
    let simulated = config.meta.base_url.strip_prefix("http://").with_context(|| {
        format!(
            "meta.base_url is {}: only an installation with a simulated Meta is filled",
            config.meta.base_url
        )
    })?;
    let key = config.admin.secrets.get(SecretName::AdminKey)?;
    let at = |given: &Option<String>, usual: std::net::SocketAddr| {
        Client::new(&given.clone().unwrap_or_else(|| usual.to_string()))
    };
    Ok(Installation {
        public: at(&arguments.public, config.http.public_address),
        admin: at(&arguments.internal, config.http.internal_address).with_key(key.expose()),
        meta: Client::new(simulated),
    })
}
