//! Requests by their Idempotency-Key, with the answers that they had.

use domain::ids::TenantId;

use super::{StorageError, Transaction};

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Nothing: the request is new.
    New,
    /// It was used for another request.
    Other,
    /// The same request was answered.
    Answered {
        /// The answer's HTTP status.
        status: u16,
        /// The answer's body.
        body: String,
    },
}

/// Notes a request in the transaction of its effect, or finds the answer that it had. Waits for the same request under way.
///
/// # Errors
/// What the database says.
pub async fn begin(
    transaction: &mut Transaction,
    tenant: TenantId,
    key: &str,
    route: &str,
    request_sha256: [u8; 32],
) -> Result<Stored, StorageError> {
    let inserted = transaction
        .execute(
            "INSERT INTO idempotency_keys (tenant_id, key, route, request_sha256) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
            &[&tenant.0, &key, &route, &request_sha256.as_slice()],
        )
        .await?;
    if inserted == 1 {
        return Ok(Stored::New);
    }
    let row = transaction
        .query_one(
            "SELECT route, request_sha256, response_status, response_body FROM idempotency_keys
             WHERE tenant_id = $1 AND key = $2",
            &[&tenant.0, &key],
        )
        .await?;
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
    tenant: TenantId,
    key: &str,
    status: u16,
    body: &str,
) -> Result<(), StorageError> {
    let status = i16::try_from(status).map_err(StorageError::nonsense)?;
    transaction
        .execute(
            "UPDATE idempotency_keys SET response_status = $3, response_body = $4 WHERE tenant_id = $1 AND key = $2",
            &[&tenant.0, &key, &status, &body],
        )
        .await?;
    Ok(())
}
