//! `malote billing invoice` and `export`: what the API writes for a tenant, for whoever keeps the books of all. Reads as readonly_audit.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use domain::ids::TenantId;
use jiff::Timestamp;

use crate::config::Config;
use crate::statements::{InvoiceForm, InvoiceView, LedgerForm, LedgerPages};
use crate::storage::{Connection, Database, Role, invoices, ledger_lines, tenants};

#[derive(clap::Args)]
pub(super) struct Invoice {
    /// Whose.
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// The number of a closed period; without it the draft of the open one.
    #[arg(long, value_name = "NUMBER")]
    period: Option<i32>,
    /// `json`, `csv` or `html`.
    #[arg(long, value_name = "FORM", default_value = "json")]
    format: InvoiceForm,
}

#[derive(clap::Args)]
pub(super) struct Export {
    /// Whose.
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// The number of the period, as invoices name it.
    #[arg(long, value_name = "NUMBER")]
    period: i32,
    /// `csv` or `ndjson`.
    #[arg(long, value_name = "FORM", default_value = "csv")]
    format: LedgerForm,
}

pub(super) async fn invoice(config: &Config, wanted: &Invoice) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::ReadonlyAudit).await?;
    let mut connection = database.get().await?;
    let whom = tenants::addressee(&mut connection, wanted.tenant).await?;
    let whom = whom.with_context(|| format!("there is no tenant {}", wanted.tenant))?;
    let found = find(&mut connection, wanted).await?;
    let text = match wanted.format {
        InvoiceForm::Json => format!("{}\n", serde_json::to_string_pretty(&found)?),
        InvoiceForm::Csv => found.csv()?,
        InvoiceForm::Html => found.html(&whom),
    };
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

async fn find(connection: &mut Connection, wanted: &Invoice) -> anyhow::Result<InvoiceView> {
    if let Some(period) = wanted.period {
        let stored = invoices::of_period(connection, wanted.tenant, period).await?;
        let stored = stored.with_context(|| format!("period {period} has no invoice"))?;
        return Ok(InvoiceView::of_stored(stored)?);
    }
    let open = InvoiceView::open(connection, wanted.tenant, Timestamp::now()).await?;
    open.context("the tenant has no plan")
}

pub(super) async fn export(config: &Config, wanted: &Export) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::ReadonlyAudit).await?;
    let mut connection = database.get().await?;
    let is_there = ledger_lines::has_period(&mut connection, wanted.tenant, wanted.period).await?;
    anyhow::ensure!(
        is_there,
        "tenant {} has no period {}",
        wanted.tenant,
        wanted.period
    );
    let mut pages = LedgerPages::new(wanted.tenant, wanted.period, wanted.format);
    let mut output = std::io::stdout();
    while let Some(page) = pages.next(&mut connection).await? {
        output.write_all(&page)?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
