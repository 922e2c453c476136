//! `malote billing correct`, `corrections`, `approve` and `withdraw`: what somebody sets right on an invoice, and who else agreed.

use std::process::ExitCode;

use domain::ids::TenantId;
use domain::money::{Currency, Micros, Minor};
use uuid::Uuid;

use crate::config::Config;
use crate::storage::committer::correcting::{self, Wanted};
use crate::storage::corrections::{self, KeptCorrection};
use crate::storage::{Database, Role};

/// Adds an amount to the oldest invoice of a tenant that is not issued yet, as a row of the ledger and a line with the reason. What
/// people correct alone has a limit (billing.correct_alone_up_to): beyond it somebody else approves.
#[derive(clap::Args)]
pub(super) struct Correct {
    /// Whose invoice.
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// How much more the tenant owes, in the currency of its plan; a credit is below zero: -12.50.
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    amount: Micros,
    /// Why. It stands on the invoice.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who corrects.
    #[arg(long, value_name = "NAME")]
    by: String,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct Decide {
    /// Which correction.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Who decides.
    #[arg(long, value_name = "NAME")]
    by: String,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct Corrections {
    /// Only this tenant's.
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    /// Those too that were booked or withdrawn.
    #[arg(long)]
    all: bool,
    /// A JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn correct(config: &Config, wanted: &Correct) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::AppSystem).await?;
    let asked = Wanted {
        tenant: wanted.tenant,
        amount: wanted.amount,
        reason: &wanted.reason,
        by: &wanted.by,
    };
    let made = correcting::propose(&database, asked, config.billing.correct_alone_up_to).await?;
    tell(&made, wanted.json)
}

pub(super) async fn approve(config: &Config, wanted: &Decide) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::AppSystem).await?;
    tell(
        &correcting::approve(&database, wanted.id, &wanted.by).await?,
        wanted.json,
    )
}

pub(super) async fn withdraw(config: &Config, wanted: &Decide) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::AppSystem).await?;
    tell(
        &correcting::withdraw(&database, wanted.id, &wanted.by).await?,
        wanted.json,
    )
}

pub(super) async fn list(config: &Config, wanted: &Corrections) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::ReadonlyAudit).await?;
    let kept = corrections::list(&mut database.get().await?, wanted.tenant, wanted.all).await?;
    if kept.is_empty() && !wanted.json {
        println!(
            "{}",
            if wanted.all {
                "none"
            } else {
                "none waits (--all shows the others)"
            }
        );
    }
    for one in &kept {
        tell(one, wanted.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(correction: &KeptCorrection, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string(correction)?);
    } else {
        println!("{}", in_words(correction)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn in_words(correction: &KeptCorrection) -> anyhow::Result<String> {
    let currency = Currency::from_code(&correction.currency)?;
    let amount = currency.format(Minor(correction.micros / currency.micros_per_minor()));
    let decided_by = correction.decided_by.as_deref().unwrap_or_default();
    let standing = match (&*correction.state, correction.period, correction.seq) {
        ("booked", Some(period), Some(seq)) => {
            format!("booked by {decided_by} as row {seq}, on the invoice of period {period}")
        }
        ("proposed", ..) => format!(
            "waits for a second person: malote billing approve {} --by NAME",
            correction.id
        ),
        (state, ..) => format!("{state} by {decided_by}"),
    };
    Ok(format!(
        "{}: {} {amount} for tenant {}, {:?}, by {}: {standing}",
        correction.id, correction.currency, correction.tenant_id, correction.reason, correction.proposed_by
    ))
}
