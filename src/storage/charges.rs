//! What was booked as charged by Meta, by account, day and category; and the accounts that Meta can be asked about.

use domain::ids::{SenderId, TenantId};

use super::{Connection, StorageError};

/// An account at Meta, with a number of it whose token may ask.
#[derive(Clone, Debug)]
pub struct Account {
    /// Whose.
    pub tenant: TenantId,
    /// Meta's id.
    pub waba_id: String,
    /// The number that was added last.
    pub sender: SenderId,
}

/// Captured units of a category on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Of which account.
    pub waba_id: String,
    /// The first second of the day (UTC) on which they arrived, in Unix seconds.
    pub day: i64,
    /// The category that Meta named.
    pub category: String,
    /// How many.
    pub units: i64,
}

/// Lists all accounts.
///
/// # Errors
/// What the database says.
pub async fn accounts(connection: &mut Connection) -> Result<Vec<Account>, StorageError> {
    let rows = connection
        .query(
            "SELECT DISTINCT ON (waba_id) tenant_id, waba_id, id FROM senders ORDER BY waba_id, id DESC",
            &[],
        )
        .await?;
    let read = rows.iter().map(|row| {
        Ok(Account {
            tenant: TenantId(row.try_get(0)?),
            waba_id: row.try_get(1)?,
            sender: SenderId(row.try_get(2)?),
        })
    });
    read.collect()
}

/// A message arrived when Meta first said so, whichever status named its price.
const BOOKED: &str = "SELECT s.waba_id, extract(epoch FROM date_trunc('day', a.at, 'UTC'))::bigint AS day, l.category, count(*) AS units
    FROM ledger l
    JOIN LATERAL (SELECT min(occurred_at) AS at FROM events e WHERE e.tenant_id = l.tenant_id AND e.attempt_id = l.attempt_id
        AND e.status IN ('delivered', 'read')) a ON true
    LEFT JOIN messages own ON own.tenant_id = l.tenant_id AND own.attempt_id = l.attempt_id
    LEFT JOIN message_attempts t ON t.tenant_id = l.tenant_id AND t.attempt_id = l.attempt_id
    LEFT JOIN messages earlier ON earlier.tenant_id = l.tenant_id AND earlier.id = t.message_id
    JOIN senders s ON s.id = coalesce(own.sender_id, earlier.sender_id)
    WHERE l.kind IN ('capture', 'recapture') AND l.at >= to_timestamp($1::bigint) AND a.at >= to_timestamp($1::bigint)
        AND a.at < to_timestamp($2::bigint)
    GROUP BY 1, 2, 3";

/// Counts what was captured of messages that arrived in a span of Unix seconds.
///
/// # Errors
/// What the database says.
pub async fn booked(connection: &mut Connection, start: i64, end: i64) -> Result<Vec<Booked>, StorageError> {
    let rows = connection.query(BOOKED, &[&start, &end]).await?;
    let read = rows.iter().map(|row| {
        Ok(Booked {
            waba_id: row.try_get("waba_id")?,
            day: row.try_get("day")?,
            category: row.try_get("category")?,
            units: row.try_get("units")?,
        })
    });
    read.collect()
}
