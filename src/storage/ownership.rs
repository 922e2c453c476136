//! Who owns which partition: epochs, and the heartbeats of nodes.

use domain::partition::{Epoch, Partition};

use super::{Database, StorageError};

/// Takes the partition's next epoch for this node: from now on no earlier owner decides anything for its tenants.
///
/// # Errors
/// What the database says.
pub async fn claim(database: &Database, partition: Partition, node: &str) -> Result<Epoch, StorageError> {
    let number = i16::try_from(partition.0).map_err(StorageError::nonsense)?;
    let mut connection = database.get().await?;
    let row = connection
        .query_one(
            "INSERT INTO partition_owner AS p (partition, epoch, node, claimed_at) VALUES ($1, 1, $2, now())
             ON CONFLICT (partition) DO UPDATE SET epoch = p.epoch + 1, node = excluded.node, claimed_at = now()
             RETURNING epoch",
            &[&number, &node],
        )
        .await?;
    Ok(Epoch(row.get(0)))
}

/// Says that this node is alive, and what it does.
///
/// # Errors
/// What the database says.
pub async fn heartbeat(database: &Database, node: &str, roles: &[&str]) -> Result<(), StorageError> {
    let mut connection = database.get().await?;
    connection
        .execute(
            "INSERT INTO nodes (node, roles, version) VALUES ($1, $2, $3)
             ON CONFLICT (node) DO UPDATE SET heartbeat_at = now(), roles = excluded.roles, version = excluded.version",
            &[&node, &roles, &env!("CARGO_PKG_VERSION")],
        )
        .await?;
    Ok(())
}
