//! `malote billing rates` and `margin`: Meta's rate card, and what remains of what tenants pay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use domain::ids::TenantId;
use domain::money::{Currency, Minor, round_half_even};
use domain::rate_card::{self, CardRow, Rate};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::config::Config;
use crate::statements::InvoiceView;
use crate::storage::meta_costs::{self, PeriodCost};
use crate::storage::{Connection, Database, Role, invoices};

/// What a rate card's first line says.
const COLUMNS: [&str; 6] = [
    "market",
    "prefixes",
    "category",
    "currency",
    "price",
    "effective_from",
];

/// Adds a rate card of Meta's from a CSV file with the columns market, prefixes, category, currency, price, effective_from. A price never
/// changes: a later `effective_from` does.
#[derive(clap::Args)]
pub(super) struct Rates {
    /// The file. `prefixes` says how recipients of the market begin, by blanks: `+55 BR.`, or `*` for all that no other row is about.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Who adds it.
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Reads the file and adds nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Shows what tenants pay for a period, what Meta takes, and what remains.
#[derive(clap::Args)]
pub(super) struct Margin {
    /// Only this tenant.
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    /// The number of the period; without it each tenant's newest one in which something was delivered.
    #[arg(long, value_name = "NUMBER")]
    period: Option<i32>,
    /// A JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn import(config: &Config, wanted: &Rates) -> anyhow::Result<ExitCode> {
    let rates = read_card(&wanted.file)?;
    if wanted.dry_run {
        println!("{} rates, none added", rates.len());
        return Ok(ExitCode::SUCCESS);
    }
    let database = Database::connect(&config.database, Role::AppSystem).await?;
    let imported = meta_costs::import(&database, &rates, &wanted.by).await?;
    if !imported.contradictions.is_empty() {
        let contradictions = imported.contradictions.join("\n  ");
        anyhow::bail!(
            "nothing was added; a price never changes, a later effective_from does:\n  {contradictions}"
        );
    }
    println!(
        "{} rates added, {} were there; {} messages that waited for them have a cost now",
        imported.added, imported.known, imported.priced
    );
    Ok(ExitCode::SUCCESS)
}

fn read_card(file: &Path) -> anyhow::Result<Vec<Rate>> {
    let place = || format!("{}", file.display());
    let mut reader = csv::Reader::from_path(file).with_context(place)?;
    let header = reader.headers().with_context(place)?;
    anyhow::ensure!(
        header.iter().map(str::trim).eq(COLUMNS),
        "{}: the first line is {}",
        file.display(),
        COLUMNS.join(",")
    );
    let records: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().with_context(place)?;
    let rows = records.iter().map(|record| CardRow {
        market: &record[0],
        prefixes: &record[1],
        category: &record[2],
        currency: &record[3],
        price: &record[4],
        effective_from: &record[5],
    });
    rate_card::read(rows).map_err(|(row, why)| anyhow::anyhow!("{}: row {row}: {why}", file.display()))
}

/// A tenant's period.
#[derive(Serialize)]
struct PeriodMargin {
    tenant: Uuid,
    period: i32,
    currency: String,
    invoiced_minor: i64,
    cost_minor: i64,
    margin_minor: i64,
    unpriced_messages: i64,
    costs: Vec<PeriodCost>,
}

pub(super) async fn margin(config: &Config, wanted: &Margin) -> anyhow::Result<ExitCode> {
    let database = Database::connect(&config.database, Role::ReadonlyAudit).await?;
    let mut connection = database.get().await?;
    let mut periods: BTreeMap<(TenantId, i32), Vec<PeriodCost>> = BTreeMap::new();
    for cost in meta_costs::by_period(&mut connection, wanted.tenant, wanted.period).await? {
        periods.entry((cost.tenant, cost.period)).or_default().push(cost);
    }
    if periods.is_empty() {
        eprintln!("nothing has a cost yet: a planner writes it within a minute of its delivery");
    }
    for ((tenant, period), costs) in periods {
        let Some(invoice) = invoice_of(&mut connection, tenant, period).await? else {
            continue;
        };
        let margin = work_out(tenant, &invoice, costs)?;
        if wanted.json {
            println!("{}", serde_json::to_string(&margin)?);
        } else {
            print(&margin)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The invoice of a closed period, or the draft of the open one; none of a period that has ended and is not closed yet.
async fn invoice_of(
    connection: &mut Connection,
    tenant: TenantId,
    period: i32,
) -> anyhow::Result<Option<InvoiceView>> {
    if let Some(stored) = invoices::of_period(connection, tenant, period).await? {
        return Ok(Some(InvoiceView::of_stored(stored)?));
    }
    let open = InvoiceView::open(connection, tenant, Timestamp::now()).await?;
    Ok(open.filter(|open| open.period == period))
}

fn work_out(tenant: TenantId, invoice: &InvoiceView, costs: Vec<PeriodCost>) -> anyhow::Result<PeriodMargin> {
    let currency = Currency::from_code(&invoice.currency)?;
    let priced = costs.iter().filter_map(|cost| cost.cost_micros);
    let cost = round_half_even(priced.map(i128::from).sum(), &currency)?;
    let unpriced = costs.iter().filter(|cost| cost.cost_micros.is_none());
    Ok(PeriodMargin {
        tenant: tenant.0,
        period: invoice.period,
        invoiced_minor: invoice.total_minor,
        cost_minor: cost.0,
        margin_minor: invoice.total_minor - cost.0,
        unpriced_messages: unpriced.map(|cost| cost.messages).sum(),
        currency: currency.code,
        costs,
    })
}

fn print(margin: &PeriodMargin) -> anyhow::Result<()> {
    let currency = Currency::from_code(&margin.currency)?;
    let money = |minor| format!("{} {}", margin.currency, currency.format(Minor(minor)));
    println!(
        "tenant {}, period {}: pays {}, Meta takes {}, {} remains",
        margin.tenant,
        margin.period,
        money(margin.invoiced_minor),
        money(margin.cost_minor),
        money(margin.margin_minor)
    );
    for cost in &margin.costs {
        let micros = cost.cost_micros.map(domain::money::Micros);
        let taken = micros.map_or_else(|| "no rate".to_owned(), |micros| micros.to_string());
        let market = cost.market.as_deref().unwrap_or("?");
        println!(
            "  {:>9} {:<14} {:<20} {taken}",
            cost.messages, cost.category, market
        );
    }
    if margin.unpriced_messages > 0 {
        println!("  add a rate card in {} for what has no rate", margin.currency);
    }
    Ok(())
}
