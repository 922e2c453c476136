//! The migrations that this program knows: numbered SQL with up and down. `migrator` runs them.

use sha2::{Digest, Sha256};

use super::migrator::{self, Directives, MigrateError, Options, Progress};
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
    4 "0004_sending",
    5 "0005_campaign_life",
    6 "0006_quarantine",
    7 "0007_dead_letters",
    8 "0008_nodes",
    9 "0009_security_events",
    13 "0013_audit_log",
    14 "0014_plans_with_pools",
    15 "0015_anchors",
    16 "0016_sealed_tokens",
    17 "0017_tokens_are_sealed",
    18 "0018_no_plain_tokens",
    19 "0019_findings",
    20 "0020_programs",
    21 "0021_meta_costs",
    22 "0022_corrections",
];

impl Migration {
    /// Gives its phase, from its first line: `expand`, `backfill` or `contract`.
    pub fn phase(&self) -> &'static str {
        Directives::read(self.up).map_or("unknown", |directives| directives.phase.as_str())
    }

    pub(super) fn sha256(&self) -> Vec<u8> {
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

pub(super) async fn applied(connection: &mut Connection) -> Result<Vec<(i32, Vec<u8>)>, StorageError> {
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

/// Applies what is pending, up to and including `to` if given, with the usual patience. Tells `did` of each step.
///
/// # Errors
/// Why not everything was applied; the migration that failed left nothing behind, those before it stay.
pub async fn up(
    database: &Database,
    to: Option<i32>,
    did: impl FnMut(Progress<'_>),
) -> Result<(), MigrateError> {
    let options = Options {
        to,
        ..Options::default()
    };
    migrator::up(database, options, did).await
}
