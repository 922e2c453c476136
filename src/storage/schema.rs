//! What a server checks before it serves: as whom it is connected, and which schema it found.

use super::migrator::AppVersion;
use super::{Connection, Database, StorageError, migrations};

/// Why a server must not start on this database.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The role can do more than it should.
    #[error(
        "connected as {role}, which is a superuser, bypasses row security or owns the schema; a server connects as app_rw and app_system (deploy/postgres/roles.sql)"
    )]
    TooMighty {
        /// The role.
        role: String,
    },
    /// The schema is older than this program needs.
    #[error("the schema is at version {found} and this program needs {needed}: run `malote migrate up`")]
    Old {
        /// What is there.
        found: i32,
        /// What is needed.
        needed: i32,
    },
    /// The schema has lost something that this program needs.
    #[error(
        "the schema was contracted by {name}, which needs a program of version {required} or later; this is {}",
        AppVersion::own()
    )]
    New {
        /// The migration.
        name: String,
        /// The oldest program that works with it.
        required: String,
    },
    /// The installation was made with another number of partitions.
    #[error(
        "pipeline.partitions is {configured}, but this installation was made with {recorded}; the number never changes"
    )]
    Partitions {
        /// What the settings say.
        configured: u16,
        /// What the database says.
        recorded: u16,
    },
    /// The database did not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The oldest schema with which this program works.
pub const NEEDED: i32 = 16;

/// Checks the role and the version of the schema.
///
/// # Errors
/// When the server must not start.
pub async fn check(database: &Database) -> Result<(), Unfit> {
    check_from(database, NEEDED).await
}

/// As [`check`], for a command that works with an older schema than a server does.
///
/// # Errors
/// When the command must not run.
pub async fn check_from(database: &Database, needed: i32) -> Result<(), Unfit> {
    let mut connection = database.get().await?;
    let row = connection
        .query_one(
            "SELECT current_user::text, r.rolsuper OR r.rolbypassrls OR EXISTS (
                SELECT FROM pg_namespace n WHERE n.nspname = 'app' AND pg_has_role(r.oid, n.nspowner, 'member'))
             FROM pg_roles r WHERE r.rolname = current_user",
            &[],
        )
        .await?;
    if row.get::<_, bool>(1) {
        return Err(Unfit::TooMighty { role: row.get(0) });
    }
    let found = version(database).await?;
    if found < needed {
        return Err(Unfit::Old { found, needed });
    }
    let known = migrations::ALL.last().map_or(0, |last| last.version);
    if found > known {
        check_contracts(&mut connection, known).await?;
    }
    Ok(())
}

/// Checks what a newer program has done to the schema: what it added is no matter, what it took away may be.
async fn check_contracts(connection: &mut Connection, known: i32) -> Result<(), Unfit> {
    let rows = connection
        .query(
            "SELECT name, requires_app FROM app.schema_migrations WHERE version > $1 AND phase = 'contract' ORDER BY version",
            &[&known],
        )
        .await?;
    for row in rows {
        let required = row.get::<_, Option<String>>(1).unwrap_or_default();
        let works = required
            .parse::<AppVersion>()
            .is_ok_and(|version| AppVersion::own() >= version);
        if !works {
            return Err(Unfit::New {
                name: row.get(0),
                required,
            });
        }
    }
    Ok(())
}

/// Gives the version of the schema; 0 before the first migration.
///
/// # Errors
/// What the database says.
pub async fn version(database: &Database) -> Result<i32, StorageError> {
    let mut connection = database.get().await?;
    let exists = connection
        .query_one("SELECT to_regclass('app.schema_migrations') IS NOT NULL", &[])
        .await?;
    if !exists.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = connection
        .query_one("SELECT coalesce(max(version), 0) FROM app.schema_migrations", &[])
        .await?;
    Ok(row.get(0))
}

/// Records the number of partitions at the first start, and checks it at each later one.
///
/// # Errors
/// When the installation was made with another number.
pub async fn check_partitions(database: &Database, configured: u16) -> Result<(), Unfit> {
    let mut connection = database.get().await?;
    let wanted = i16::try_from(configured).map_err(StorageError::nonsense)?;
    connection
        .execute(
            "INSERT INTO installation (partitions) VALUES ($1) ON CONFLICT DO NOTHING",
            &[&wanted],
        )
        .await?;
    let row = connection
        .query_one("SELECT partitions FROM installation", &[])
        .await?;
    let recorded = u16::try_from(row.get::<_, i16>(0)).map_err(StorageError::nonsense)?;
    if recorded == configured {
        Ok(())
    } else {
        Err(Unfit::Partitions { configured, recorded })
    }
}
