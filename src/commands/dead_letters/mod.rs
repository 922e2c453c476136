//! `malote dead-letters`: what gave up, of all tenants and of the broker, for operators.

mod act;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use domain::dead_letter::LetterKind;
use domain::ids::{CampaignId, TenantId};
use domain::meta_error::ErrorClass;
use uuid::Uuid;

use super::Config;
use crate::storage::dead_letters::LetterFilter;
use crate::storage::{Database, Role};

const EXAMPLES: &str = "Examples:
  malote dead-letters list --class transient
  malote dead-letters show 01981c2e-6f1b-7c3a-9d42-0d6f3c1e9a77
  malote dead-letters replay --class transient --dry-run
  malote dead-letters replay --campaign 01981c2e-... --by ana
  malote dead-letters replay --kind poison --force --by ana --reason 'release 1.4.2 reads these rows'
  malote dead-letters purge --kind undecodable --by ana --reason 'published by a foreign program'

A tenant's own letters can also be had by its API: /v1/dead-letters.
Exit codes: 0 done, 1 refused, or a letter was left as it is, 2 misuse.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Subject,
}

#[derive(Subcommand)]
enum Subject {
    /// Lists open letters, newest first.
    List {
        #[command(flatten)]
        which: Which,
        /// How many at most.
        #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Shows one letter whole: what happened, what was done about it, what to do.
    Show {
        /// The letter's id, as `list` shows it.
        id: Uuid,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Tries letters again: messages are planned anew, events applied, deliveries delivered. Only what is safe, unless forced.
    Replay {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        how: act::How,
        /// Also what is not safe: errors of which a repetition cannot help or may harm, and poison.
        #[arg(long)]
        force: bool,
        /// Why; kept with the record.
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
    },
    /// Gives up on letters for good: messages become failed. The record of it stays.
    Purge {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        how: act::How,
        /// Why; kept with the record.
        #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: String,
    },
}

/// Which letters are meant.
#[derive(Args, Debug, Default)]
struct Which {
    /// Of this tenant only; else of all tenants, and letters of nobody.
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    /// Of this campaign only.
    #[arg(long, value_name = "ID")]
    campaign: Option<Uuid>,
    /// This letter only; may be repeated.
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<Uuid>,
    /// With a last error of this class only, for instance `transient`.
    #[arg(long, value_name = "CLASS", value_parser = class_named)]
    class: Option<ErrorClass>,
    /// Of this kind only: `attempts_exhausted`, `poison`, `undecodable`, `delivery_limit`.
    #[arg(long, value_name = "KIND")]
    kind: Option<LetterKind>,
}

impl Which {
    fn filter(&self) -> LetterFilter {
        LetterFilter {
            tenant: self.tenant,
            campaign: self.campaign.map(CampaignId),
            ids: (!self.ids.is_empty()).then(|| self.ids.clone()),
            class: self.class,
            kind: self.kind,
        }
    }

    fn is_empty(&self) -> bool {
        let named = self.tenant.is_some() || self.campaign.is_some() || !self.ids.is_empty();
        !(named || self.class.is_some() || self.kind.is_some())
    }
}

fn class_named(text: &str) -> Result<ErrorClass, String> {
    let found = ErrorClass::ALL.into_iter().find(|class| class.as_str() == text);
    found.ok_or_else(|| format!("one of {}", ErrorClass::ALL.map(ErrorClass::as_str).join(", ")))
}

pub(super) async fn run(config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::AppSystem).await?;
    match arguments.action {
        Subject::List { which, limit, json } => show::list(&database, &which.filter(), limit, json).await,
        Subject::Show { id, json } => show::one(&database, id, json).await,
        Subject::Replay {
            which,
            how,
            force,
            reason,
        } => act::replay(&config, &database, &which, &how, force, reason).await,
        Subject::Purge { which, how, reason } => act::purge(&config, &database, &which, &how, reason).await,
    }
}
