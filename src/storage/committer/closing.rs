//! Closing periods: a ledger row cuts the period off, and its invoice is what the rows up to the cut come to.
//!
//! Done under the lock of the tenant's head, as every row of a ledger is; the owner finds its sequence moved and goes on from there.
//! It spends nothing, so it needs no owner to be awake.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::audit_chain::ChainHash;
use domain::ids::{InvoiceId, PlanId, TenantId};
use domain::invoice::{EarlierPeriod, Invoice, InvoiceFacts};
use domain::ledger::{Account, LedgerKind};
use domain::money::Minor;
use domain::period::Period;
use domain::rating::{PeriodUse, Segment};
use jiff::Timestamp;
use uuid::Uuid;

use super::chain::{self, Plain};
use super::period::open_periods;
use crate::storage::{Connection, Database, StorageError, corrections, invoices, plans};

/// Tenants that one round closes periods of.
const TENANTS_AT_ONCE: i64 = 500;

const DUE: &str = "SELECT DISTINCT tenant_id FROM billing_periods WHERE state <> 'invoiced'
        AND ends_at <= now() - $1 * interval '1 second'
    UNION SELECT DISTINCT a.tenant_id FROM plan_assignments a JOIN billing_head h ON h.tenant_id = a.tenant_id
        WHERE NOT EXISTS (SELECT FROM billing_periods p WHERE p.tenant_id = a.tenant_id)
    LIMIT $2";
const NEXT: &str = "SELECT number FROM billing_periods WHERE tenant_id = $1 AND state <> 'invoiced'
        AND ends_at <= now() - $2 * interval '1 second' ORDER BY number LIMIT 1";

/// Closes every period that ended so long ago, in order, and gives how many it were; also books the first period of tenants who
/// never sent anything, since its fee is due all the same.
///
/// # Errors
/// What the database says.
pub async fn close_due(database: &Database, grace: Duration) -> Result<usize, StorageError> {
    let grace = grace.as_secs_f64();
    let rows = database
        .get()
        .await?
        .query(DUE, &[&grace, &TENANTS_AT_ONCE])
        .await?;
    let mut closed = 0;
    for row in &rows {
        let tenant = TenantId(row.try_get(0)?);
        while close_next(database, tenant, grace).await? {
            closed += 1;
        }
    }
    Ok(closed)
}

async fn close_next(database: &Database, tenant: TenantId, grace: f64) -> Result<bool, StorageError> {
    let mut transaction = database.begin().await?;
    let Some(mut chain) = chain::lock(&mut transaction, tenant).await? else {
        transaction.rollback().await?;
        return Ok(false);
    };
    let now = Timestamp::now();
    open_periods(&mut transaction, &[tenant.0], now).await?;
    let due = transaction.query_opt(NEXT, &[&tenant.0, &grace]).await?;
    let Some(due) = due else {
        transaction.commit().await?;
        return Ok(false);
    };
    let number: i32 = due.try_get(0)?;
    let cut = Plain {
        kind: LedgerKind::Close,
        period: number,
        debit: Account::Source,
        credit: Account::Source,
        money: None,
        evidence: None,
    };
    chain::append(&mut transaction, &mut chain, &cut, now).await?;
    let invoice = draw(&mut transaction, tenant, number, (chain.seq, chain.hash)).await?;
    invoices::insert(&mut transaction, InvoiceId(Uuid::now_v7()), tenant, &invoice).await?;
    transaction
        .execute(
            "UPDATE billing_periods SET state = 'invoiced', cut_seq = $3, cut_hash = $4 WHERE tenant_id = $1 AND number = $2",
            &[&tenant.0, &number, &chain.seq, &chain.hash.as_slice()],
        )
        .await?;
    transaction.commit().await?;
    Ok(true)
}

const ENDED: &str = "SELECT number, starts_at, ends_at FROM billing_periods
    WHERE tenant_id = $1 AND state <> 'invoiced' AND ends_at <= now() ORDER BY number LIMIT 1";

/// Gives the next period to be closed, if it has ended, with its invoice as it would be now.
///
/// # Errors
/// What the database says, or what makes no sense.
pub async fn ended(
    connection: &mut Connection,
    tenant: TenantId,
) -> Result<Option<(Period, Invoice)>, StorageError> {
    let Some(row) = connection.query_opt(ENDED, &[&tenant.0]).await? else {
        return Ok(None);
    };
    let period = Period {
        starts_at: row.try_get("starts_at")?,
        ends_at: row.try_get("ends_at")?,
    };
    // Nothing is cut off yet: every row counts.
    let invoice = draw(connection, tenant, row.try_get("number")?, (i64::MAX, [0; 32])).await?;
    Ok(Some((period, invoice)))
}

const PERIODS: &str = "SELECT p.number, p.starts_at, p.ends_at, p.timezone,
        array_agg(s.plan_id ORDER BY s.number) AS plans, array_agg(s.starts_at ORDER BY s.number) AS starts
    FROM billing_periods p JOIN period_segments s ON (s.tenant_id, s.period) = (p.tenant_id, p.number)
    WHERE p.tenant_id = $1 AND p.number <= $2 GROUP BY p.number, p.starts_at, p.ends_at, p.timezone ORDER BY p.number";
const CAPTURED: &str = "SELECT period, segment, pool, count(*) FROM ledger
    WHERE tenant_id = $1 AND period <= $2 AND seq <= $3 AND kind IN ('capture', 'recapture') GROUP BY period, segment, pool";

/// Draws the invoice of a period up from the ledger's rows up to a cut, after the invoices before it: when it is issued, and each
/// time that it is checked.
///
/// # Errors
/// What the database says, or what makes no sense.
pub async fn draw(
    connection: &mut Connection,
    tenant: TenantId,
    number: i32,
    (cut_seq, cut_hash): (i64, ChainHash),
) -> Result<Invoice, StorageError> {
    let mut periods = used_by_then(connection, tenant, number, cut_seq).await?;
    let invoiced = invoices::charged_before(connection, tenant, number).await?;
    let used = periods
        .remove(&number)
        .ok_or_else(|| StorageError::nonsense("an invoice without its period"))?;
    let earlier = periods.into_iter().map(|(number, used)| EarlierPeriod {
        invoiced: Minor(invoiced.get(&number).copied().unwrap_or(0)),
        number,
        used,
    });
    let facts = InvoiceFacts {
        period: number,
        used,
        earlier: earlier.collect(),
        corrections: corrections::of_period(connection, tenant, number, cut_seq).await?,
        cut_seq,
        cut_hash,
    };
    Invoice::of(&facts).map_err(StorageError::nonsense)
}

async fn used_by_then(
    connection: &mut Connection,
    tenant: TenantId,
    upto: i32,
    cut_seq: i64,
) -> Result<BTreeMap<i32, PeriodUse>, StorageError> {
    let rows = connection.query(PERIODS, &[&tenant.0, &upto]).await?;
    let mut periods = BTreeMap::new();
    for row in &rows {
        let ids: Vec<Uuid> = row.try_get("plans")?;
        let starts: Vec<Timestamp> = row.try_get("starts")?;
        let zone: &str = row.try_get("timezone")?;
        let period = Period {
            starts_at: row.try_get("starts_at")?,
            ends_at: row.try_get("ends_at")?,
        };
        let known = plans::by_id(connection, ids.iter().map(|id| PlanId(*id))).await?;
        let mut segments = Vec::new();
        for (id, starts_at) in ids.iter().zip(starts) {
            let stored = known
                .get(&PlanId(*id))
                .ok_or_else(|| StorageError::nonsense("a segment without its plan"))?;
            segments.push(Segment {
                plan: stored.plan.clone(),
                first_day: period.day_of(starts_at, zone).map_err(StorageError::nonsense)?,
                captured: BTreeMap::new(),
            });
        }
        let days = period.days(zone).map_err(StorageError::nonsense)?;
        periods.insert(row.try_get("number")?, PeriodUse { days, segments });
    }
    for row in connection.query(CAPTURED, &[&tenant.0, &upto, &cut_seq]).await? {
        let (period, segment): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
        let at = usize::try_from(segment - 1).map_err(StorageError::nonsense)?;
        let segment = periods
            .get_mut(&period)
            .and_then(|used: &mut PeriodUse| used.segments.get_mut(at));
        let segment =
            segment.ok_or_else(|| StorageError::nonsense("units of a segment that was never booked"))?;
        segment.captured.insert(row.try_get(2)?, row.try_get(3)?);
    }
    Ok(periods)
}
