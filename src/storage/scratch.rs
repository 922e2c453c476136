//! Databases that are made for a trial and thrown away. Needs a role that may create databases, which production's does not.

use super::{Database, Role, StorageError};
use crate::config;

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

/// Throws a database away, whoever is connected.
///
/// # Errors
/// What the database says.
pub async fn drop_database(settings: &config::Database, name: &str) -> anyhow::Result<()> {
    let elsewhere = config::Database {
        name: "malote".to_owned(),
        ..settings.clone()
    };
    let owner = Database::connect(&elsewhere, Role::MigrationAdmin).await?;
    owner
        .get()
        .await?
        .run_script(&format!("DROP DATABASE \"{name}\" WITH (FORCE)"))
        .await?;
    Ok(())
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
