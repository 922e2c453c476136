//! Recipients that a tenant must not write to: opt-outs, by hand or from Meta.

use domain::ids::TenantId;
use domain::recipient::Recipient;
use jiff::Timestamp;

use super::{StorageError, Transaction};

/// An entry of the suppression list.
#[derive(Clone, Debug)]
pub struct Suppression {
    /// Who, in canonical spelling.
    pub recipient: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// Puts a recipient on the list. If it is there already, only the reason changes. From now on no claim takes it.
///
/// # Errors
/// What the database says.
pub async fn put(
    transaction: &mut Transaction,
    tenant: TenantId,
    recipient: &Recipient,
    reason: &str,
) -> Result<Suppression, StorageError> {
    let row = transaction
        .query_one(
            "INSERT INTO suppressions (tenant_id, recipient, reason) VALUES ($1, $2, $3)
             ON CONFLICT (tenant_id, recipient) DO UPDATE SET reason = excluded.reason
             RETURNING recipient, reason, created_at",
            &[&tenant.0, &recipient.canonical(), &reason],
        )
        .await?;
    from_row(&row)
}

/// Takes a recipient off the list. Answers whether it was there.
///
/// # Errors
/// What the database says.
pub async fn remove(
    transaction: &mut Transaction,
    tenant: TenantId,
    recipient: &Recipient,
) -> Result<bool, StorageError> {
    let removed = transaction
        .execute(
            "DELETE FROM suppressions WHERE tenant_id = $1 AND recipient = $2",
            &[&tenant.0, &recipient.canonical()],
        )
        .await?;
    Ok(removed == 1)
}

/// Lists entries in the order of recipients, those that follow `after`.
///
/// # Errors
/// What the database says.
pub async fn list(
    transaction: &mut Transaction,
    tenant: TenantId,
    after: Option<&str>,
    most: i64,
) -> Result<Vec<Suppression>, StorageError> {
    let rows = transaction
        .query(
            "SELECT recipient, reason, created_at FROM suppressions
             WHERE tenant_id = $1 AND recipient > $2 ORDER BY recipient LIMIT $3",
            &[&tenant.0, &after.unwrap_or_default(), &most],
        )
        .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &tokio_postgres::Row) -> Result<Suppression, StorageError> {
    Ok(Suppression {
        recipient: row.try_get("recipient")?,
        reason: row.try_get("reason")?,
        created_at: row.try_get("created_at")?,
    })
}
