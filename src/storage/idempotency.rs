//! Requests by their Idempotency-Key, with the answers that they had.

use std::time::Duration;

use domain::ids::TenantId;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;

use super::{Database, StorageError, Transaction};

/// Rows deleted in one transaction.
const SWEPT_AT_ONCE: i64 = 2_000;

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Nothing: the request is new.
    New,
    /// It was used for another request.
    Other,
    /// The same request is under way.
    InFlight,
    /// The same request was answered.
    Answered {
        /// The answer's HTTP status.
        status: u16,
        /// The answer's body.
        body: String,
    },
}

/// Whose requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A tenant's.
    Tenant(TenantId),
    /// The operators'.
    Operators,
}

/// Notes a request in the transaction of its effect, or finds the answer that it had.
///
/// # Errors
/// What the database says.
pub async fn begin(
    transaction: &mut Transaction,
    owner: Owner,
    key: &str,
    route: &str,
    request_sha256: [u8; 32],
) -> Result<Stored, StorageError> {
    let sha256 = request_sha256.as_slice();
    // The lock is held until the transaction ends, however it ends: whoever does not get it meets a request under way.
    let noted = match owner {
        Owner::Tenant(tenant) => {
            let noting = "WITH alone AS (SELECT pg_try_advisory_xact_lock(hashtextextended($1::uuid::text || $2, 0)) AS got),
                    noted AS (INSERT INTO idempotency_keys (tenant_id, key, route, request_sha256)
                        SELECT $1, $2, $3, $4 FROM alone WHERE got ON CONFLICT DO NOTHING RETURNING 1)
                 SELECT got, EXISTS (SELECT FROM noted) FROM alone";
            transaction
                .query_one(noting, &[&tenant.0, &key, &route, &sha256])
                .await?
        }
        Owner::Operators => {
            let noting =
                "WITH alone AS (SELECT pg_try_advisory_xact_lock(hashtextextended($1::text, 0)) AS got),
                    noted AS (INSERT INTO operator_requests (key, route, request_sha256)
                        SELECT $1, $2, $3 FROM alone WHERE got ON CONFLICT DO NOTHING RETURNING 1)
                 SELECT got, EXISTS (SELECT FROM noted) FROM alone";
            transaction.query_one(noting, &[&key, &route, &sha256]).await?
        }
    };
    match (noted.try_get(0)?, noted.try_get(1)?) {
        (false, _) => return Ok(Stored::InFlight),
        (true, true) => return Ok(Stored::New),
        (true, false) => {}
    }
    let row = match owner {
        Owner::Tenant(tenant) => {
            let asking = "SELECT route, request_sha256, response_status, response_body FROM idempotency_keys
                 WHERE tenant_id = $1 AND key = $2";
            transaction.query_one(asking, &[&tenant.0, &key]).await?
        }
        Owner::Operators => {
            let asking = "SELECT route, request_sha256, response_status, response_body FROM operator_requests
                 WHERE key = $1";
            transaction.query_one(asking, &[&key]).await?
        }
    };
    read(&row, route, request_sha256)
}

fn read(row: &Row, route: &str, request_sha256: [u8; 32]) -> Result<Stored, StorageError> {
    let is_same = row.try_get::<_, &str>(0)? == route && row.try_get::<_, &[u8]>(1)? == request_sha256;
    let status: Option<i16> = row.try_get(2)?;
    match status {
        Some(status) if is_same => Ok(Stored::Answered {
            status: u16::try_from(status).map_err(StorageError::nonsense)?,
            body: row.try_get::<_, Option<String>>(3)?.unwrap_or_default(),
        }),
        _ => Ok(Stored::Other),
    }
}

/// Notes the answer of a request.
///
/// # Errors
/// What the database says.
pub async fn answer(
    transaction: &mut Transaction,
    owner: Owner,
    key: &str,
    status: u16,
    body: &str,
) -> Result<(), StorageError> {
    let status = i16::try_from(status).map_err(StorageError::nonsense)?;
    match owner {
        Owner::Tenant(tenant) => {
            let noting = "UPDATE idempotency_keys SET response_status = $3, response_body = $4 WHERE tenant_id = $1 AND key = $2";
            transaction
                .execute(noting, &[&tenant.0, &key, &status, &body])
                .await?
        }
        Owner::Operators => {
            let noting =
                "UPDATE operator_requests SET response_status = $2, response_body = $3 WHERE key = $1";
            transaction.execute(noting, &[&key, &status, &body]).await?
        }
    };
    Ok(())
}

/// Forgets keys, tenants' and operators', that are older than `age`. Gives how many.
///
/// # Errors
/// What the database says; what was forgotten until then stays so.
pub async fn sweep(database: &Database, age: Duration) -> Result<u64, StorageError> {
    let age = SignedDuration::try_from(age).map_err(StorageError::nonsense)?;
    let end = Timestamp::now() - age;
    let mut swept = 0;
    let mut connection = database.get().await?;
    loop {
        let batch = connection
            .execute(
                "DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (SELECT tenant_id, key FROM idempotency_keys
                    WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
                &[&end, &SWEPT_AT_ONCE],
            )
            .await?;
        swept += batch;
        if batch < SWEPT_AT_ONCE as u64 {
            break;
        }
    }
    let operators = connection
        .execute("DELETE FROM operator_requests WHERE created_at < $1", &[&end])
        .await?;
    Ok(swept + operators)
}
