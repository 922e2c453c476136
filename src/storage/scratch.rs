//! Databases that are made for a trial and thrown away. Needs a role that may create databases, which production's does not.

use std::time::{Duration, Instant};

use domain::ids::TenantId;

use super::{Database, Role, StorageError};
use crate::config;

/// How long a database may resist being thrown away.
const DROPPED_WITHIN: Duration = Duration::from_secs(120);
/// The wait before it is tried again.
const DROP_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Makes an empty database.
///
/// # Errors
/// What the database says.
pub async fn create_database(settings: &config::Database, name: &str) -> anyhow::Result<()> {
    let owner = Database::connect(settings, Role::MigrationAdmin).await?;
    owner
        .get()
        .await?
        .run_script(&format!("CREATE DATABASE \"{name}\""))
        .await?;
    Ok(())
}

/// Throws a database away, whoever is connected. Waits for a vacuum of the database's own, which nobody may end.
///
/// # Errors
/// What the database says.
pub async fn drop_database(settings: &config::Database, name: &str) -> anyhow::Result<()> {
    let elsewhere = config::Database {
        name: "malote".to_owned(),
        ..settings.clone()
    };
    let owner = Database::connect(&elsewhere, Role::MigrationAdmin).await?;
    let script = format!("DROP DATABASE \"{name}\" WITH (FORCE)");
    let give_up = Instant::now() + DROPPED_WITHIN;
    loop {
        match owner.get().await?.run_script(&script).await {
            Err(_) if Instant::now() < give_up => tokio::time::sleep(DROP_AGAIN_AFTER).await,
            dropped => return Ok(dropped?),
        }
    }
}

/// Counts stored events that nobody applied yet.
///
/// # Errors
/// What the database says.
pub async fn unapplied_events(database: &Database) -> Result<i64, StorageError> {
    let mut connection = database.get().await?;
    let row = connection
        .query_one("SELECT count(*) FROM events WHERE applied_at IS NULL", &[])
        .await?;
    Ok(row.get(0))
}

/// Reads the epoch of a tenant: which ownership of its partition is in force.
///
/// # Errors
/// What the database says.
pub async fn epoch_of(database: &Database, tenant: TenantId) -> Result<i64, StorageError> {
    let mut connection = database.get().await?;
    let statement = "SELECT epoch FROM billing_head WHERE tenant_id = $1";
    let row = connection.query_one(statement, &[&tenant.0]).await?;
    Ok(row.try_get(0)?)
}

/// Counts rows. `from` is what follows FROM: a table, and a condition of the caller's own.
///
/// # Errors
/// What the database says.
pub async fn count_rows(database: &Database, from: &str) -> Result<i64, StorageError> {
    let mut connection = database.get().await?;
    // Never prepared: each text is used once.
    connection.count(&format!("SELECT count(*) FROM {from}")).await
}
