//! Jobs that are due every so often, each run by one planner alone.

use std::time::Duration;

use super::{Database, StorageError};

/// How a job stands.
#[derive(Clone, Debug)]
pub struct JobState {
    /// Its name.
    pub name: String,
    /// What it found when it last ended.
    pub findings: i64,
    /// How long ago that was, in seconds.
    pub age: f64,
}

/// Takes a job if it is due: then it is this process's to run, and due again after `every`.
///
/// # Errors
/// What the database says.
pub async fn take(database: &Database, name: &str, every: Duration) -> Result<bool, StorageError> {
    let mut connection = database.get().await?;
    connection
        .execute(
            "INSERT INTO planner_jobs (name) VALUES ($1) ON CONFLICT DO NOTHING",
            &[&name],
        )
        .await?;
    let taken = connection
        .execute(
            "UPDATE planner_jobs SET due_at = now() + $2 * interval '1 second' WHERE name = $1 AND due_at <= now()",
            &[&name, &every.as_secs_f64()],
        )
        .await?;
    Ok(taken == 1)
}

/// Notes that a job has ended, and what it found.
///
/// # Errors
/// What the database says.
pub async fn done(database: &Database, name: &str, findings: usize) -> Result<(), StorageError> {
    let findings = i64::try_from(findings).unwrap_or(i64::MAX);
    let mut connection = database.get().await?;
    connection
        .execute(
            "UPDATE planner_jobs SET done_at = now(), findings = $2 WHERE name = $1",
            &[&name, &findings],
        )
        .await?;
    Ok(())
}

/// Makes a job that failed due again after a while.
///
/// # Errors
/// What the database says.
pub async fn failed(database: &Database, name: &str, again: Duration) -> Result<(), StorageError> {
    let mut connection = database.get().await?;
    connection
        .execute(
            "UPDATE planner_jobs SET due_at = now() + $2 * interval '1 second' WHERE name = $1",
            &[&name, &again.as_secs_f64()],
        )
        .await?;
    Ok(())
}

/// Lists how all jobs stand. The age of one that never ended counts from when it was due.
///
/// # Errors
/// What the database says.
pub async fn states(database: &Database) -> Result<Vec<JobState>, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "SELECT name, findings, extract(epoch FROM now() - coalesce(done_at, due_at))::float8 FROM planner_jobs",
            &[],
        )
        .await?;
    let read = rows.iter().map(|row| {
        Ok(JobState {
            name: row.try_get(0)?,
            findings: row.try_get(1)?,
            age: row.try_get(2)?,
        })
    });
    read.collect()
}
