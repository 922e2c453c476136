//! The command line: one file per command. Exit codes: 0 done, 1 refused or found wanting, 2 misuse.

mod billing;
mod config;
mod dead_letters;
mod demo;
mod drill;
mod gate;
mod migrate;
mod openapi;
mod relay;
mod secrets;
mod seed;
mod serve;
mod simulator;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

/// Sends WhatsApp campaigns for many tenants, follows every message and bills each tenant by plan.
#[derive(Parser)]
#[command(name = "malote", version, max_term_width = 100)]
struct Arguments {
    /// Which settings to start from: `development`, `staging` or `production` [env: MALOTE_ENVIRONMENT; default: development].
    #[arg(long, global = true, value_name = "NAME")]
    environment: Option<String>,
    /// A TOML file with settings of this installation; `config/default.toml` explains each.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the API, takes webhooks, plans, sends and bills, until it is told to stop (SIGTERM, SIGINT).
    Serve(serve::Arguments),
    /// Takes Meta's deliveries at the edge, keeps them on this disk and forwards them signed, until it is told to stop.
    Relay(relay::Arguments),
    /// Changes the database's schema; the only command that connects as migration_admin.
    Migrate(migrate::Arguments),
    /// Shows the main job, end to end, on the servers that the settings name.
    Demo(demo::Arguments),
    /// Runs a simulated Meta Cloud API, faults included.
    Simulator(Box<simulator::Arguments>),
    /// Fills an installation whose Meta is simulated: tenants of every size, campaigns, a history, a light load.
    Seed(seed::Arguments),
    /// Prints the API's OpenAPI document.
    Openapi(openapi::Arguments),
    /// Checks the books: the ledger's chain, its counters, the campaigns' balance.
    Billing(billing::Arguments),
    /// Dead letters: what gave up, of all tenants and of the broker.
    DeadLetters(dead_letters::Arguments),
    /// Makes and changes the keys that wrap senders' access tokens.
    Secrets(secrets::Arguments),
    /// What people practise: a tabletop by the clock, from a scenario.
    Drill(drill::Arguments),
    /// Whether to go live: computed from evidence, by the controls of docs/readiness/.
    Gate(gate::Arguments),
    /// Reads all layers of settings and tells what is wrong with them.
    Config(config::Arguments),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match start(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("malote: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = crate::config::load(arguments.environment.as_deref(), arguments.config.as_deref())?;
    match arguments.command {
        Command::Migrate(command) => wait_for(migrate::run(config, command)),
        Command::Serve(command) => serve::run(config, command),
        Command::Relay(command) => wait_for(relay::run(config, command)),
        Command::Demo(command) => wait_for(demo::run(command)),
        Command::Simulator(command) => wait_for(simulator::run(*command)),
        Command::Seed(command) => wait_for(seed::run(config, command)),
        Command::Openapi(_) => Ok(openapi::run()),
        Command::Billing(command) => wait_for(billing::run(config, command)),
        Command::DeadLetters(command) => wait_for(dead_letters::run(config, command)),
        Command::Secrets(command) => wait_for(secrets::run(config, command)),
        Command::Drill(command) => drill::run(&command),
        Command::Gate(command) => Ok(gate::run(&command)),
        Command::Config(command) => Ok(config::run(&config, &command)),
    }
}

fn wait_for(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
