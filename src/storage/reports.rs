//! What became of a campaign's recipients: causes of failure, and every recipient with what they cost, a page at a time.

use domain::ids::{CampaignId, MessageId, TenantId};
use domain::message::MessageState;
use domain::money::Micros;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::named::named;
use super::{StorageError, Transaction};

/// Example messages per cause.
const EXAMPLES: i32 = 5;
/// Rows of a page of a report.
pub const PAGE_ROWS: i64 = 2_000;

/// Messages that ended badly in the same state for the same code.
#[derive(Clone, Debug)]
pub struct FailureGroup {
    /// `failed`, `dead` or `unknown`.
    pub state: MessageState,
    /// Meta's code, if it answered.
    pub code: Option<i32>,
    /// What was said about one of them.
    pub reason: Option<String>,
    /// How many.
    pub count: i64,
    /// Some of them.
    pub examples: Vec<MessageId>,
}

/// Groups what ended badly by state and code, the largest group first.
///
/// # Errors
/// What the database says.
pub async fn failures(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Vec<FailureGroup>, StorageError> {
    let rows = transaction
        .query(
            "SELECT state, error_code, max(error_reason) AS reason, count(*) AS number, (array_agg(id ORDER BY id))[1:$3] AS examples
             FROM messages
             WHERE tenant_id = $1 AND campaign_id = $2 AND campaign_id IS NOT NULL
                 AND (error_code IS NOT NULL OR error_reason IS NOT NULL) AND state IN ('failed', 'dead', 'unknown')
             GROUP BY state, error_code ORDER BY number DESC, state, error_code",
            &[&tenant.0, &campaign.0, &EXAMPLES],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let examples: Vec<Uuid> = row.try_get("examples")?;
            Ok(FailureGroup {
                state: named(row, "state")?,
                code: row.try_get("error_code")?,
                reason: row.try_get("reason")?,
                count: row.try_get("number")?,
                examples: examples.into_iter().map(MessageId).collect(),
            })
        })
        .collect()
}

/// The price of a unit in a period: nothing up to the ledger row that used the allowance up, the plan's price from the next on.
#[derive(Clone, Debug)]
pub struct PeriodPrice {
    period: i32,
    first_beyond: Option<i64>,
    price: Micros,
    /// Its currency.
    pub currency: String,
}

/// Reads the prices of the tenant's periods since a time.
///
/// # Errors
/// What the database says.
pub async fn prices(
    transaction: &mut Transaction,
    tenant: TenantId,
    since: Timestamp,
) -> Result<Vec<PeriodPrice>, StorageError> {
    let rows = transaction
        .query(
            "SELECT b.number, p.overage_price_micros, p.currency,
                 CASE WHEN p.allowance_units < (SELECT coalesce(sum(captured), 0) FROM pool_counters
                         WHERE tenant_id = $1 AND period = b.number)
                     THEN (SELECT l.seq FROM ledger l WHERE l.tenant_id = $1 AND l.period = b.number
                             AND l.kind IN ('capture', 'recapture') ORDER BY l.seq OFFSET p.allowance_units LIMIT 1)
                     END AS first_beyond
             FROM billing_periods b
             JOIN LATERAL (SELECT plan_id FROM period_segments WHERE tenant_id = $1 AND period = b.number
                 ORDER BY number DESC LIMIT 1) s ON true
             JOIN plans p ON p.id = s.plan_id
             WHERE b.tenant_id = $1 AND b.ends_at > $2 ORDER BY b.number",
            &[&tenant.0, &since],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(PeriodPrice {
                period: row.try_get("number")?,
                first_beyond: row.try_get("first_beyond")?,
                price: Micros(row.try_get("overage_price_micros")?),
                currency: row.try_get("currency")?,
            })
        })
        .collect()
}

/// A recipient of a campaign, with all that became of the message.
#[derive(Clone, Debug)]
pub struct ReportRow {
    /// Who, in canonical spelling.
    pub recipient: String,
    /// The message.
    pub message: MessageId,
    /// Where it is.
    pub state: MessageState,
    /// Meta's last code.
    pub code: Option<i32>,
    /// What went wrong last.
    pub reason: Option<String>,
    /// How many attempts there were.
    pub attempts: i32,
    /// Meta's id.
    pub wamid: Option<String>,
    /// When Meta says it was sent.
    pub sent_at: Option<Timestamp>,
    /// When Meta says it was delivered.
    pub delivered_at: Option<Timestamp>,
    /// When Meta says it was read.
    pub read_at: Option<Timestamp>,
    /// How the ledger settled it, over all of its attempts: `captured`, `free`, `voided`, `reserved` or nothing.
    pub settlement: Option<String>,
    /// Units that were used.
    pub units: i64,
    /// What these cost beyond the allowance.
    pub cost: Micros,
}

/// What became of the messages that `page` selects; `$1` is the tenant, `$5` to `$7` are the prices.
macro_rules! report {
    ($page:literal) => {
        concat!(
            "WITH page AS (
        SELECT id, recipient, state, error_code, error_reason, attempt_id, attempt_number, wamid FROM messages
        WHERE tenant_id = $1 AND ",
            $page,
            "),
    tried AS (
        SELECT id, attempt_id FROM page WHERE attempt_id IS NOT NULL
        UNION SELECT p.id, a.attempt_id FROM page p JOIN message_attempts a ON a.tenant_id = $1 AND a.message_id = p.id),
    told AS (
        SELECT t.id, min(e.occurred_at) FILTER (WHERE e.status = 'sent') AS sent_at,
            min(e.occurred_at) FILTER (WHERE e.status = 'delivered') AS delivered_at,
            min(e.occurred_at) FILTER (WHERE e.status = 'read') AS read_at
        FROM tried t JOIN events e ON e.tenant_id = $1 AND e.attempt_id = t.attempt_id AND e.source <> 'send' GROUP BY t.id),
    booked AS (
        SELECT t.id, count(*) FILTER (WHERE l.kind IN ('capture', 'recapture')) AS units,
            bool_or(l.kind = 'free') AS free, bool_or(l.kind IN ('void', 'expire')) AS voided,
            count(*) FILTER (WHERE l.kind = 'reserve') > count(*) FILTER (WHERE l.kind IN ('capture', 'free', 'void', 'expire'))
                AS reserved,
            coalesce(sum(b.price) FILTER (WHERE l.kind IN ('capture', 'recapture') AND l.seq >= b.first_beyond), 0)::bigint AS cost
        FROM tried t JOIN ledger l ON l.tenant_id = $1 AND l.attempt_id = t.attempt_id
        LEFT JOIN unnest($5::integer[], $6::bigint[], $7::bigint[]) AS b (period, first_beyond, price) ON b.period = l.period
        GROUP BY t.id)
    SELECT p.id, p.recipient, p.state, p.error_code, p.error_reason, p.attempt_number, p.wamid, t.sent_at, t.delivered_at, t.read_at,
        coalesce(b.units, 0) AS units, coalesce(b.cost, 0)::bigint AS cost,
        CASE WHEN b.units > 0 THEN 'captured' WHEN b.reserved THEN 'reserved' WHEN b.free THEN 'free' WHEN b.voided THEN 'voided' END
            AS settlement
    FROM page p LEFT JOIN told t ON t.id = p.id LEFT JOIN booked b ON b.id = p.id ORDER BY p.recipient"
        )
    };
}

const PAGE: &str =
    report!("campaign_id = $2 AND campaign_id IS NOT NULL AND recipient > $3 ORDER BY recipient LIMIT $4");
const ONE: &str = report!("id = $2 AND $3::text IS NOT NULL LIMIT $4");

/// Reads the recipients that follow `after`, at most [`PAGE_ROWS`].
///
/// # Errors
/// What the database says.
pub async fn page(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    after: &str,
    prices: &[PeriodPrice],
) -> Result<Vec<ReportRow>, StorageError> {
    rows_of(transaction, PAGE, (tenant, campaign.0, after), prices).await
}

/// Reads what became of one message, whether it is a campaign's or not.
///
/// # Errors
/// What the database says.
pub async fn one(
    transaction: &mut Transaction,
    tenant: TenantId,
    message: MessageId,
    prices: &[PeriodPrice],
) -> Result<Option<ReportRow>, StorageError> {
    let mut rows = rows_of(transaction, ONE, (tenant, message.0, ""), prices).await?;
    Ok(rows.pop())
}

async fn rows_of(
    transaction: &mut Transaction,
    statement: &'static str,
    (tenant, of, after): (TenantId, Uuid, &str),
    prices: &[PeriodPrice],
) -> Result<Vec<ReportRow>, StorageError> {
    let periods: Vec<i32> = prices.iter().map(|price| price.period).collect();
    let beyond: Vec<Option<i64>> = prices.iter().map(|price| price.first_beyond).collect();
    let micros: Vec<i64> = prices.iter().map(|price| price.price.0).collect();
    let rows = transaction
        .query(
            statement,
            &[&tenant.0, &of, &after, &PAGE_ROWS, &periods, &beyond, &micros],
        )
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<ReportRow, StorageError> {
    Ok(ReportRow {
        recipient: row.try_get("recipient")?,
        message: MessageId(row.try_get("id")?),
        state: named(row, "state")?,
        code: row.try_get("error_code")?,
        reason: row.try_get("error_reason")?,
        attempts: row.try_get("attempt_number")?,
        wamid: row.try_get("wamid")?,
        sent_at: row.try_get("sent_at")?,
        delivered_at: row.try_get("delivered_at")?,
        read_at: row.try_get("read_at")?,
        settlement: row.try_get("settlement")?,
        units: row.try_get("units")?,
        cost: Micros(row.try_get("cost")?),
    })
}
