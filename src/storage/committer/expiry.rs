//! Expiring holds: units that are reserved for messages of which nothing was heard for so long that nothing will be. Under the lock of
//! the tenant's head, as closing is, and for the same reasons (decision 0025); what Meta says after all is booked as `forced`.

use std::time::Duration;

use domain::ids::{AttemptId, TenantId};
use domain::ledger::{Fact, Settlement, settle};
use jiff::Timestamp;
use tokio_postgres::Row;

use super::chain;
use super::decisions::to_microseconds;
use super::period::Booking;
use super::rows::NewRows;
use crate::storage::{Database, StorageError};

/// Holds that one transaction lets go.
const AT_ONCE: i64 = 1_000;

/// Only old periods have old holds: nobody's ledger is read who has none.
const TENANTS: &str =
    "SELECT DISTINCT c.tenant_id FROM pool_counters c JOIN billing_periods p ON (p.tenant_id, p.number) = (c.tenant_id, c.period)
    WHERE c.held > 0 AND p.starts_at < now() - $1 * interval '1 second' ORDER BY c.tenant_id";
/// Time alone never decides about a message of which it is unknown whether it left: somebody does, or evidence.
const SILENT: &str = "SELECT l.attempt_id, l.period, l.segment, l.pool, l.category, l.currency FROM ledger l
    WHERE l.tenant_id = $1 AND l.kind = 'reserve' AND l.at < now() - $2 * interval '1 second'
        AND l.period IN (SELECT period FROM pool_counters WHERE tenant_id = $1 AND held > 0)
        AND NOT EXISTS (SELECT FROM ledger s WHERE s.tenant_id = $1 AND s.attempt_id = l.attempt_id AND s.kind <> 'reserve')
        AND NOT EXISTS (SELECT FROM messages m WHERE m.tenant_id = $1 AND m.attempt_id = l.attempt_id
            AND m.state IN ('sending', 'unknown'))
        AND NOT EXISTS (SELECT FROM events e WHERE e.tenant_id = $1 AND e.attempt_id = l.attempt_id AND e.applied_at IS NULL)
    ORDER BY l.seq LIMIT $3";

/// Gives back what has been reserved for so long without news, and tells how many units that were.
///
/// # Errors
/// What the database says; what was given back before stays so.
pub async fn expire_holds(database: &Database, after: Duration) -> Result<usize, StorageError> {
    let after = after.as_secs_f64();
    let rows = database.get().await?.query(TENANTS, &[&after]).await?;
    let mut expired = 0;
    for row in &rows {
        let tenant = TenantId(row.try_get(0)?);
        loop {
            let some = expire_some(database, tenant, after).await?;
            expired += some;
            if some == 0 {
                break;
            }
        }
    }
    Ok(expired)
}

async fn expire_some(database: &Database, tenant: TenantId, after: f64) -> Result<usize, StorageError> {
    let mut transaction = database.begin().await?;
    let Some(mut chain) = chain::lock(&mut transaction, tenant).await? else {
        transaction.rollback().await?;
        return Ok(0);
    };
    let silent = transaction.query(SILENT, &[&tenant.0, &after, &AT_ONCE]).await?;
    let entry = settle(Settlement::Reserved, Fact::NoNews);
    let (Some(entry), false) = (entry, silent.is_empty()) else {
        transaction.rollback().await?;
        return Ok(0);
    };
    let (now, mut rows) = (to_microseconds(Timestamp::now()), NewRows::default());
    for row in &silent {
        let (attempt, booking) = held(tenant, row)?;
        rows.add(&mut chain, (&booking, &booking), attempt, entry, None, now);
    }
    rows.write(&mut transaction, now).await?;
    chain::store(&mut transaction, &[&chain]).await?;
    transaction.commit().await?;
    Ok(silent.len())
}

fn held(tenant: TenantId, row: &Row) -> Result<(AttemptId, Booking), StorageError> {
    Ok((AttemptId(row.try_get("attempt_id")?), Booking::read(tenant, row)?))
}
