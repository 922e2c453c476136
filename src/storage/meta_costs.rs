//! What Meta takes for messages: its rate card, and the cost of each captured unit, written beside the ledger once the unit is booked.
//! The cost is Meta's, the price the platform's: nothing here touches what a tenant pays.

use domain::ids::TenantId;
use domain::rate_card::Rate;
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;

use super::{Connection, Database, StorageError};

/// Tenants whose units one statement prices.
const TENANTS_AT_ONCE: i64 = 50;
/// Units of a tenant that one statement prices.
const UNITS_AT_ONCE: i64 = 1_000;

/// What became of a rate card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Rates that are new.
    pub added: u64,
    /// Rates that were there already.
    pub known: u64,
    /// Units that had no price and have one now.
    pub priced: u64,
    /// Rates that contradict one of the same day; if there is one, nothing was kept.
    pub contradictions: Vec<String>,
}

const KNOWN: &str = "SELECT r.prefix, r.category, r.currency, r.effective_from, r.micros, w.micros AS other
    FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[]) AS w (prefix, category, currency, effective_from, micros)
    JOIN meta_rates r USING (prefix, category, currency, effective_from)";
/// Waits for costs that are being written by older rates, and lets none be written before these are there: else such a row would wait for
/// the next card.
const ALONE: &str = "LOCK TABLE message_costs IN SHARE ROW EXCLUSIVE MODE";
const ADD: &str = "INSERT INTO meta_rates (prefix, category, currency, effective_from, micros, market, imported_by)
    SELECT w.*, $7 FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::text[]) AS w
    ON CONFLICT DO NOTHING";

/// The rate of a message `m` that was delivered at `c.delivered_at` in the currency and category of `c`: that of the longest prefix, and
/// of its rates the last one in effect.
macro_rules! rate_of_message {
    () => {
        "SELECT r.market, r.micros, r.effective_from FROM meta_rates r
    WHERE starts_with(m.recipient, r.prefix) AND r.category = c.category AND r.currency = c.currency
        AND r.effective_from <= c.delivered_at
    ORDER BY length(r.prefix) DESC, r.effective_from DESC LIMIT 1"
    };
}

/// The message of an attempt `c.attempt_id`, whether it is its last or an earlier one.
macro_rules! message_of_attempt {
    () => {
        "SELECT own.recipient FROM messages own WHERE own.tenant_id = c.tenant_id AND own.attempt_id = c.attempt_id
    UNION ALL SELECT earlier.recipient FROM message_attempts a JOIN messages earlier
        ON earlier.tenant_id = a.tenant_id AND earlier.id = a.message_id
        WHERE a.tenant_id = c.tenant_id AND a.attempt_id = c.attempt_id LIMIT 1"
    };
}

const PRICE_UNPRICED: &str = concat!(
    "UPDATE message_costs kept SET market = r.market, micros = r.micros, rate_from = r.effective_from
         FROM (SELECT u.*, l.attempt_id FROM message_costs u JOIN ledger l ON l.tenant_id = u.tenant_id AND l.seq = u.seq
                WHERE u.micros IS NULL) c
            CROSS JOIN LATERAL (",
    message_of_attempt!(),
    ") m CROSS JOIN LATERAL (",
    rate_of_message!(),
    ") r
         WHERE kept.tenant_id = c.tenant_id AND kept.seq = c.seq"
);

/// Adds the rates of a card, and prices what waited for them.
///
/// # Errors
/// What the database says; then nothing was kept.
pub async fn import(database: &Database, rates: &[Rate], by: &str) -> Result<Imported, StorageError> {
    let prefixes: Vec<&str> = rates.iter().map(|rate| rate.prefix.as_str()).collect();
    let categories: Vec<&str> = rates.iter().map(|rate| rate.category.as_str()).collect();
    let currencies: Vec<&str> = rates.iter().map(|rate| rate.currency.as_str()).collect();
    let since: Vec<Timestamp> = rates.iter().map(|rate| rate.effective_from).collect();
    let micros: Vec<i64> = rates.iter().map(|rate| rate.price.0).collect();
    let markets: Vec<&str> = rates.iter().map(|rate| rate.market.as_str()).collect();
    let mut transaction = database.begin().await?;
    let known = transaction
        .query(KNOWN, &[&prefixes, &categories, &currencies, &since, &micros])
        .await?;
    let contradictions = contradictions(&known)?;
    if !contradictions.is_empty() {
        return Ok(Imported {
            contradictions,
            ..Imported::default()
        });
    }
    transaction.run_script(ALONE).await?;
    let added = transaction
        .execute(
            ADD,
            &[
                &prefixes,
                &categories,
                &currencies,
                &since,
                &micros,
                &markets,
                &by,
            ],
        )
        .await?;
    let priced = transaction.execute(PRICE_UNPRICED, &[]).await?;
    transaction.commit().await?;
    Ok(Imported {
        added,
        known: rates.len() as u64 - added,
        priced,
        contradictions,
    })
}

fn contradictions(known: &[Row]) -> Result<Vec<String>, StorageError> {
    let mut found = Vec::new();
    for row in known {
        let (there, other): (i64, i64) = (row.try_get("micros")?, row.try_get("other")?);
        if there != other {
            let prefix: String = row.try_get("prefix")?;
            let category: String = row.try_get("category")?;
            let currency: String = row.try_get("currency")?;
            let since: Timestamp = row.try_get("effective_from")?;
            found.push(format!(
                "{} {category} in {currency} from {since} on is {}, and not {}",
                if prefix.is_empty() { "*" } else { &prefix },
                domain::money::Micros(there),
                domain::money::Micros(other)
            ));
        }
    }
    Ok(found)
}

/// A tenant's rows are committed in the order of their numbers: the last one with a cost tells where to go on.
const RECORD: &str = concat!(
    "WITH waiting AS MATERIALIZED (SELECT h.tenant_id, d.seq FROM billing_head h
            CROSS JOIN LATERAL (SELECT coalesce(max(seq), 0) AS seq FROM message_costs k WHERE k.tenant_id = h.tenant_id) d
            WHERE h.seq > d.seq AND EXISTS (SELECT FROM ledger l WHERE l.tenant_id = h.tenant_id AND l.seq > d.seq
                AND l.kind IN ('capture', 'recapture')) LIMIT $1)
         INSERT INTO message_costs (tenant_id, seq, period, category, currency, drifted, delivered_at, market, micros, rate_from)
         SELECT c.tenant_id, c.seq, c.period, c.category, c.currency, c.drifted, c.delivered_at, r.market, r.micros, r.effective_from
         FROM waiting w
            CROSS JOIN LATERAL (SELECT l.tenant_id, l.seq, l.attempt_id, l.period, l.category, l.currency,
                    coalesce(e.occurred_at, l.at) AS delivered_at, coalesce(reserved.category <> l.category, false) AS drifted
                FROM ledger l LEFT JOIN events e ON e.tenant_id = l.tenant_id AND e.id = l.evidence_id
                    LEFT JOIN ledger reserved ON reserved.tenant_id = l.tenant_id AND reserved.attempt_id = l.attempt_id
                        AND reserved.kind = 'reserve'
                WHERE l.tenant_id = w.tenant_id AND l.seq > w.seq AND l.kind IN ('capture', 'recapture')
                ORDER BY l.seq LIMIT $2) c
            LEFT JOIN LATERAL (",
    message_of_attempt!(),
    ") m ON true
            LEFT JOIN LATERAL (",
    rate_of_message!(),
    ") r ON true
         ON CONFLICT DO NOTHING RETURNING micros IS NULL, drifted"
);

/// What was written beside the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Captured units.
    pub units: usize,
    /// Those of them that no rate is for.
    pub unpriced: usize,
    /// Those of them for which Meta charged another category than was reserved.
    pub drifted: usize,
}

/// Writes the cost of units that were captured since, of some tenants. Nothing is left to do when it answers with no units.
///
/// # Errors
/// What the database says.
pub async fn record(database: &Database) -> Result<Recorded, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection
        .query(RECORD, &[&TENANTS_AT_ONCE, &UNITS_AT_ONCE])
        .await?;
    let mut recorded = Recorded::default();
    for row in &rows {
        recorded.units += 1;
        recorded.unpriced += usize::from(row.try_get::<_, bool>(0)?);
        recorded.drifted += usize::from(row.try_get::<_, bool>(1)?);
    }
    Ok(recorded)
}

/// What a tenant's captured units of a period cost at Meta, by category and market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeriodCost {
    /// Whose.
    #[serde(skip)]
    pub tenant: TenantId,
    /// The number of the period.
    #[serde(skip)]
    pub period: i32,
    /// The category that Meta charged.
    pub category: String,
    /// Meta's name of the market; none without a rate.
    pub market: Option<String>,
    /// ISO 4217.
    pub currency: String,
    /// Captured units.
    pub messages: i64,
    /// What Meta takes for them, in millionths; none without a rate.
    pub cost_micros: Option<i64>,
}

/// Sums up costs: of a tenant or of all, of a period or of each tenant's newest one with costs.
///
/// # Errors
/// What the database says.
pub async fn by_period(
    connection: &mut Connection,
    tenant: Option<TenantId>,
    period: Option<i32>,
) -> Result<Vec<PeriodCost>, StorageError> {
    let tenant = tenant.map(|tenant| tenant.0);
    let rows = connection
        .query(
            "SELECT tenant_id, period, category, market, currency, count(*) AS messages, sum(micros)::bigint AS cost_micros
             FROM message_costs c WHERE ($1::uuid IS NULL OR tenant_id = $1) AND period = coalesce($2,
                (SELECT max(period) FROM message_costs k WHERE k.tenant_id = c.tenant_id))
             GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5",
            &[&tenant, &period],
        )
        .await?;
    let read = rows.iter().map(|row| {
        Ok(PeriodCost {
            tenant: TenantId(row.try_get("tenant_id")?),
            period: row.try_get("period")?,
            category: row.try_get("category")?,
            market: row.try_get("market")?,
            currency: row.try_get("currency")?,
            messages: row.try_get("messages")?,
            cost_micros: row.try_get("cost_micros")?,
        })
    });
    read.collect()
}
