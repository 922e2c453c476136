//! Running migrations: by `migration_admin` alone, one run at a time, each step or none of it, and patient with locks.

mod directives;
mod gate;
mod lint;
mod steps;

use std::time::Duration;

pub use directives::{AppVersion, Directives, Phase};
pub use lint::{Finding, lint};

use super::migrations::{ALL, Migration, applied};
use super::{Connection, Database, StorageError};

/// What every database needs before its first migration; may run again.
const FOUNDATION: &str = include_str!("../../../deploy/postgres/database.sql");
/// The list of what is applied. Columns that came later are added without a lock when they are there already.
const BOOKS: &str = "CREATE TABLE IF NOT EXISTS app.schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    phase text NOT NULL,
    sha256 bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'app.schema_migrations'::regclass AND attname = 'requires_app') THEN
        ALTER TABLE app.schema_migrations ADD COLUMN requires_app text, ADD COLUMN applied_by text;
    END IF;
END $$;
GRANT SELECT ON app.schema_migrations TO app_rw, app_system, readonly_audit;
REVOKE INSERT, UPDATE, DELETE ON app.schema_migrations FROM app_rw, app_system";

/// How a run of migrations behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// All migrations, in order.
    pub list: &'static [Migration],
    /// Stop after this version.
    pub to: Option<i32>,
    /// How long to wait for another run to end.
    pub wait: Duration,
    /// A contract is refused while an older program was alive within this time.
    pub retired_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            list: ALL,
            to: None,
            wait: Duration::from_secs(300),
            retired_for: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What a run tells while it is under way.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Another run holds the lock.
    Waiting {
        /// Who it is.
        holder: &'a str,
    },
    /// Somebody holds a table's lock; the step is undone and tried again.
    Retrying {
        /// Which.
        migration: &'a Migration,
        /// How often it was tried.
        attempt: u32,
        /// What the database said.
        because: &'a str,
    },
    /// A half-built index of a failed run was dropped.
    Healed {
        /// Its name.
        index: &'a str,
    },
    /// A migration is applied.
    Applied(&'a Migration),
    /// A migration is taken back.
    TookBack(&'a Migration),
}

/// Why migrations did not run. What was applied before stays; the one that failed left nothing behind.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Whoever runs migrations owns what they make.
    #[error(
        "connected as {role}; migrations run as migration_admin alone, who owns the schema and is no superuser (deploy/postgres/roles.sql)"
    )]
    WrongRole {
        /// As whom.
        role: String,
    },
    /// Another run did not end.
    #[error("another run of migrations still holds the lock after {within:?}: {holder}")]
    Locked {
        /// Who it is.
        holder: String,
        /// How long was waited.
        within: Duration,
    },
    /// An applied migration was edited afterwards.
    #[error(
        "{name} was applied with another text than this program has: never edit a migration that has run, add the next one"
    )]
    Altered {
        /// Which.
        name: String,
    },
    /// The database is ahead of this program.
    #[error("version {version} was applied by a newer program, which alone knows how to take it back")]
    Newer {
        /// Which.
        version: i32,
    },
    /// The file is not in order.
    #[error("{name}: {problem}")]
    Malformed {
        /// Which.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A contract would break programs that still run.
    #[error(
        "{name} needs programs of version {required} or later, and older ones were alive within the last {within:?}: {}. Replace them, wait, or say --retired-for when they are gone for good",
        seen.join("; ")
    )]
    OldPrograms {
        /// Which migration.
        name: String,
        /// The oldest program that works afterwards.
        required: AppVersion,
        /// The time that was looked at.
        within: Duration,
        /// Who was seen.
        seen: Vec<String>,
    },
    /// The database refused.
    #[error("{name}: {source}")]
    Step {
        /// Which migration.
        name: String,
        /// What it said.
        source: StorageError,
    },
    /// The database did not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Applies what is pending. Tells of each step. A contract that older programs still forbid waits, and the contracts behind it with it;
/// everything else goes on, because a new program may need it while the old ones run.
///
/// # Errors
/// Why not everything was applied.
pub async fn up(
    database: &Database,
    options: Options,
    mut tell: impl FnMut(Progress<'_>),
) -> Result<(), MigrateError> {
    let mut guard = database.get().await?;
    gate::check_role(&mut guard).await?;
    gate::take_lock(&mut guard, options.wait, &mut tell).await?;
    let done = up_locked(&mut guard, options, &mut tell).await;
    gate::give_lock_back(&mut guard).await?;
    done
}

async fn up_locked(
    guard: &mut Connection,
    options: Options,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<(), MigrateError> {
    guard.run_script(FOUNDATION).await?;
    guard.run_script(BOOKS).await?;
    let known = applied(guard).await?;
    let wanted = |version: i32| options.to.is_none_or(|last| version <= last);
    let mut waiting = None;
    for migration in options.list.iter().filter(|migration| wanted(migration.version)) {
        if let Some((_, sha256)) = known.iter().find(|(version, _)| *version == migration.version) {
            if *sha256 != migration.sha256() {
                return Err(MigrateError::Altered {
                    name: migration.name.to_owned(),
                });
            }
            continue;
        }
        let directives = directives_of(migration)?;
        if directives.phase == Phase::Contract && waiting.is_some() {
            continue;
        }
        match refuse_too_early(guard, migration, directives, options.retired_for).await {
            Err(refused @ MigrateError::OldPrograms { .. }) => waiting = Some(refused),
            other => {
                other?;
                steps::apply(guard, migration, directives, tell).await?;
                tell(Progress::Applied(migration));
            }
        }
    }
    waiting.map_or(Ok(()), Err)
}

fn directives_of(migration: &Migration) -> Result<Directives, MigrateError> {
    Directives::read(migration.up).map_err(|problem| MigrateError::Malformed {
        name: migration.name.to_owned(),
        problem,
    })
}

async fn refuse_too_early(
    guard: &mut Connection,
    migration: &Migration,
    directives: Directives,
    retired_for: Duration,
) -> Result<(), MigrateError> {
    let Some(required) = directives.requires_app else {
        return Ok(());
    };
    let seen = gate::older_programs(guard, required, retired_for).await?;
    if seen.is_empty() {
        return Ok(());
    }
    Err(MigrateError::OldPrograms {
        name: migration.name.to_owned(),
        required,
        within: retired_for,
        seen,
    })
}

/// Takes back what is applied beyond `to`, the newest first. Tells of each step.
///
/// # Errors
/// Why not everything was taken back; nothing is, when the newest was applied by a newer program.
pub async fn down(
    database: &Database,
    to: i32,
    options: Options,
    mut tell: impl FnMut(Progress<'_>),
) -> Result<(), MigrateError> {
    let mut guard = database.get().await?;
    gate::check_role(&mut guard).await?;
    gate::take_lock(&mut guard, options.wait, &mut tell).await?;
    let done = down_locked(&mut guard, to, options, &mut tell).await;
    gate::give_lock_back(&mut guard).await?;
    done
}

async fn down_locked(
    guard: &mut Connection,
    to: i32,
    options: Options,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<(), MigrateError> {
    let known = applied(guard).await?;
    let is_ours = |version: i32| options.list.iter().any(|migration| migration.version == version);
    if let Some((version, _)) = known
        .iter()
        .find(|(version, _)| *version > to && !is_ours(*version))
    {
        return Err(MigrateError::Newer { version: *version });
    }
    for migration in options
        .list
        .iter()
        .rev()
        .filter(|migration| migration.version > to)
    {
        if known.iter().any(|(version, _)| *version == migration.version) {
            steps::take_back(guard, migration, tell).await?;
            tell(Progress::TookBack(migration));
        }
    }
    Ok(())
}

/// Tells why a pending contract would be refused now, if it would.
///
/// # Errors
/// What the database says.
pub async fn refusal_of(
    database: &Database,
    migration: &Migration,
    options: Options,
) -> Result<Option<String>, MigrateError> {
    let mut guard = database.get().await?;
    gate::check_role(&mut guard).await?;
    match refuse_too_early(
        &mut guard,
        migration,
        directives_of(migration)?,
        options.retired_for,
    )
    .await
    {
        Err(refusal @ MigrateError::OldPrograms { .. }) => Ok(Some(refusal.to_string())),
        other => other.map(|()| None),
    }
}

/// Refuses everybody but `migration_admin`.
///
/// # Errors
/// When the pool connects as somebody else, or as a superuser.
pub async fn check_role(database: &Database) -> Result<(), MigrateError> {
    gate::check_role(&mut database.get().await?).await
}
