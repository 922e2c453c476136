//! One migration: in a transaction, or statement by statement where PostgreSQL allows no transaction. A lock that is not given in time
//! undoes the step, and it is tried again.

use std::time::Duration;

use super::directives::{AppVersion, Directives, statements};
use super::{MigrateError, Progress};
use crate::storage::migrations::Migration;
use crate::storage::{Connection, StorageError};

/// How often a step is tried. With the two seconds of `lock_timeout` and the waits between, about a minute and a half.
const TRIED_MOST: u32 = 30;
/// The shortest and the longest wait between two tries.
const TRY_AGAIN_AFTER: std::ops::Range<u64> = 200..1_500;

const RECORD: &str =
    "INSERT INTO app.schema_migrations (version, name, phase, sha256, requires_app, applied_by)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (version) DO NOTHING";
const STRIKE: &str = "DELETE FROM app.schema_migrations WHERE version = $1";
const INVALID_INDEXES: &str = "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relnamespace = 'app'::regnamespace AND NOT i.indisvalid";

/// Applies a migration and records it.
pub(super) async fn apply(
    guard: &mut Connection,
    migration: &Migration,
    directives: Directives,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<(), MigrateError> {
    let mut attempt = 1;
    loop {
        let tried = if directives.in_transaction {
            in_transaction(
                guard,
                migration.up,
                Some((migration, directives)),
                migration.version,
            )
            .await
        } else {
            one_by_one(guard, migration, directives, tell).await
        };
        match tried {
            Ok(()) => return Ok(()),
            Err(error) => wait_or_give_up(migration, &mut attempt, error, tell).await?,
        }
    }
}

/// Takes a migration back and strikes it off.
pub(super) async fn take_back(
    guard: &mut Connection,
    migration: &Migration,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<(), MigrateError> {
    let mut attempt = 1;
    while let Err(error) = in_transaction(guard, migration.down, None, migration.version).await {
        wait_or_give_up(migration, &mut attempt, error, tell).await?;
    }
    Ok(())
}

async fn in_transaction(
    guard: &mut Connection,
    script: &str,
    recorded: Option<(&Migration, Directives)>,
    version: i32,
) -> Result<(), StorageError> {
    guard.run_script("BEGIN").await?;
    let done = async {
        guard.run_script(script).await?;
        match recorded {
            Some((migration, directives)) => record(guard, migration, directives).await?,
            None => drop(guard.execute(STRIKE, &[&version]).await?),
        }
        guard.run_script("COMMIT").await
    };
    let done = done.await;
    if done.is_err() {
        guard.run_script("ROLLBACK").await?;
    }
    done
}

async fn one_by_one(
    guard: &mut Connection,
    migration: &Migration,
    directives: Directives,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<(), StorageError> {
    drop_half_built(guard, migration, tell).await?;
    for statement in statements(migration.up) {
        guard.run_script(&statement).await?;
    }
    record(guard, migration, directives).await
}

/// Drops the invalid index that a concurrent build leaves when it fails: `IF NOT EXISTS` would take it for the finished one.
async fn drop_half_built(
    guard: &mut Connection,
    migration: &Migration,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<(), StorageError> {
    for row in guard.query(INVALID_INDEXES, &[]).await? {
        let index: String = row.get(0);
        let is_ours = migration
            .up
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .any(|word| word == index);
        if is_ours {
            guard
                .run_script(&format!("DROP INDEX CONCURRENTLY IF EXISTS app.\"{index}\""))
                .await?;
            tell(Progress::Healed { index: &index });
        }
    }
    Ok(())
}

async fn record(
    guard: &mut Connection,
    migration: &Migration,
    directives: Directives,
) -> Result<(), StorageError> {
    guard
        .execute(
            RECORD,
            &[
                &migration.version,
                &migration.name,
                &directives.phase.as_str(),
                &migration.sha256(),
                &directives.requires_app.map(|version| version.to_string()),
                &AppVersion::own().to_string(),
            ],
        )
        .await?;
    Ok(())
}

async fn wait_or_give_up(
    migration: &Migration,
    attempt: &mut u32,
    error: StorageError,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<(), MigrateError> {
    let StorageError::Unavailable(because) = &error else {
        return Err(failed(migration, error));
    };
    if *attempt >= TRIED_MOST {
        return Err(failed(migration, error));
    }
    tell(Progress::Retrying {
        migration,
        attempt: *attempt,
        because,
    });
    *attempt += 1;
    tokio::time::sleep(Duration::from_millis(rand::random_range(TRY_AGAIN_AFTER))).await;
    Ok(())
}

fn failed(migration: &Migration, source: StorageError) -> MigrateError {
    MigrateError::Step {
        name: migration.name.to_owned(),
        source,
    }
}
