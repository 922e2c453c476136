//! Running migrations: numbered SQL with up and down, each in a transaction, by `migration_admin` alone.

use sha2::{Digest, Sha256};

use super::{Connection, Database, StorageError};

/// A change of the schema.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number; they are applied in order without gaps.
    pub version: i32,
    /// Its name.
    pub name: &'static str,
    /// The SQL that makes it.
    pub up: &'static str,
    /// The SQL that takes it back.
    pub down: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            up: include_str!(concat!("../../migrations/", $name, ".up.sql")),
            down: include_str!(concat!("../../migrations/", $name, ".down.sql")),
        }),*]
    };
}

/// Every migration that this program knows.
pub const ALL: &[Migration] = migrations![
    1 "0001_tenants_and_messages",
    2 "0002_ledger",
    3 "0003_row_security",
    5 "0005_campaign_life",
];

const FOUNDATION: &str = include_str!("../../deploy/postgres/database.sql");
const BOOKS: &str = "CREATE TABLE IF NOT EXISTS app.schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    phase text NOT NULL,
    sha256 bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)";
/// Any number, the same for every run: two runs at once wait for each other.
const LOCK: &str = "SELECT pg_advisory_lock(5171923)";

impl Migration {
    /// Gives its phase, from its first line: `expand` (old programs go on working) or `contract`.
    pub fn phase(&self) -> &'static str {
        let first = self.up.lines().next().unwrap_or_default();
        first.strip_prefix("-- phase: ").unwrap_or("unknown").trim()
    }

    fn sha256(&self) -> Vec<u8> {
        Sha256::digest(self.up.as_bytes()).to_vec()
    }
}

/// Where a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Applied, as this program knows it.
    Applied,
    /// Applied, but its text was another one then.
    Altered,
    /// Not applied yet.
    Pending,
}

/// Tells where each migration stands.
///
/// # Errors
/// What the database says.
pub async fn status(database: &Database) -> Result<Vec<(Migration, Standing)>, StorageError> {
    let mut connection = database.get().await?;
    let applied = applied(&mut connection).await?;
    Ok(ALL
        .iter()
        .map(|migration| {
            let standing = match applied.iter().find(|(version, _)| *version == migration.version) {
                Some((_, sha256)) if *sha256 == migration.sha256() => Standing::Applied,
                Some(_) => Standing::Altered,
                None => Standing::Pending,
            };
            (*migration, standing)
        })
        .collect())
}

async fn applied(connection: &mut Connection) -> Result<Vec<(i32, Vec<u8>)>, StorageError> {
    let exists = connection
        .query_one("SELECT to_regclass('app.schema_migrations') IS NOT NULL", &[])
        .await?;
    if !exists.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = connection
        .query(
            "SELECT version, sha256 FROM app.schema_migrations ORDER BY version",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Applies what is pending, up to and including `to` if given. Tells `did` of each one.
///
/// # Errors
/// What the database says; the migration that failed left nothing behind, those before it stay.
pub async fn up(
    database: &Database,
    to: Option<i32>,
    mut did: impl FnMut(&Migration),
) -> Result<(), StorageError> {
    let mut guard = database.get().await?;
    guard.run_script(LOCK).await?;
    guard.run_script(FOUNDATION).await?;
    guard.run_script(BOOKS).await?;
    guard
        .run_script(
            "GRANT SELECT ON app.schema_migrations TO app_rw, app_system, readonly_audit;
            REVOKE INSERT, UPDATE, DELETE ON app.schema_migrations FROM app_rw, app_system",
        )
        .await?;
    let known = applied(&mut guard).await?;
    let wanted = |version: i32| to.is_none_or(|last| version <= last);
    for migration in ALL.iter().filter(|migration| wanted(migration.version)) {
        if known.iter().any(|(version, _)| *version == migration.version) {
            continue;
        }
        let mut transaction = database.begin().await?;
        transaction.run_script(migration.up).await?;
        transaction
            .execute(
                "INSERT INTO app.schema_migrations (version, name, phase, sha256) VALUES ($1, $2, $3, $4)",
                &[
                    &migration.version,
                    &migration.name,
                    &migration.phase(),
                    &migration.sha256(),
                ],
            )
            .await?;
        transaction.commit().await?;
        did(migration);
    }
    guard.run_script("SELECT pg_advisory_unlock_all()").await
}

/// Takes back what is applied beyond `to`, the newest first. Tells `did` of each one.
///
/// # Errors
/// What the database says; the migration that failed stays applied, and those before it.
pub async fn down(database: &Database, to: i32, mut did: impl FnMut(&Migration)) -> Result<(), StorageError> {
    let mut guard = database.get().await?;
    guard.run_script(LOCK).await?;
    let known = applied(&mut guard).await?;
    for migration in ALL.iter().rev().filter(|migration| migration.version > to) {
        if !known.iter().any(|(version, _)| *version == migration.version) {
            continue;
        }
        let mut transaction = database.begin().await?;
        transaction.run_script(migration.down).await?;
        transaction
            .execute(
                "DELETE FROM app.schema_migrations WHERE version = $1",
                &[&migration.version],
            )
            .await?;
        transaction.commit().await?;
        did(migration);
    }
    guard.run_script("SELECT pg_advisory_unlock_all()").await
}
