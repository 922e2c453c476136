//! Deliveries of the broker that nobody understands, kept for an operator.

use uuid::Uuid;

use super::{Database, StorageError};

/// Stores a delivery with the reason why it is kept.
///
/// # Errors
/// What the database says.
pub async fn keep(
    database: &Database,
    kind: &str,
    queue: &str,
    payload: &[u8],
    error: &str,
) -> Result<(), StorageError> {
    let mut connection = database.get().await?;
    connection
        .execute(
            "INSERT INTO dead_letters (id, kind, queue, payload, error) VALUES ($1, $2, $3, $4, $5)",
            &[&Uuid::now_v7(), &kind, &queue, &payload, &error],
        )
        .await?;
    Ok(())
}
