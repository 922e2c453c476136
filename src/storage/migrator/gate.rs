//! Who may migrate, one at a time, and when a contract would break somebody.

use std::time::{Duration, Instant};

use super::directives::AppVersion;
use super::{MigrateError, Progress};
use crate::storage::{Connection, StorageError};

/// Any number, the same for every run.
const TAKE_LOCK: &str = "SELECT pg_try_advisory_lock(5171923)";
const LOCK_HOLDER: &str =
    "SELECT format('process %s (%s, since %s)', a.pid, a.application_name, a.backend_start::timestamp(0))
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.objid = 5171923 AND l.granted
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
/// The time between two tries to take the lock. A run that waited inside the database instead would hold a snapshot, for which
/// the `CREATE INDEX CONCURRENTLY` of the lock's holder waits in turn: a deadlock.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(300);
/// The programs of the nodes.
const NODES: &str = "SELECT node, version, to_char(now() - heartbeat_at, 'HH24:MI:SS') FROM app.nodes
    WHERE heartbeat_at > now() - make_interval(secs => $1) ORDER BY heartbeat_at DESC";
/// Those of nodes that have left as well, where that is noted.
const NODES_AND_GONE: &str = "SELECT node, version, to_char(now() - heartbeat_at, 'HH24:MI:SS') FROM (
        SELECT node, version, heartbeat_at FROM app.nodes
        UNION ALL SELECT 'a node that is gone', version, seen_at FROM app.programs
        WHERE version NOT IN (SELECT version FROM app.nodes)) AS alive
    WHERE heartbeat_at > now() - make_interval(secs => $1) ORDER BY heartbeat_at DESC";
/// The time between two words about waiting.
const TELL_EACH: Duration = Duration::from_secs(5);

/// Lets in `migration_admin` alone, and only as long as it is no superuser: what a superuser makes belongs to nobody's rules.
pub(super) async fn check_role(connection: &mut Connection) -> Result<(), MigrateError> {
    let row = connection
        .query_one(
            "SELECT session_user::text, current_user::text, rolsuper FROM pg_roles WHERE rolname = session_user",
            &[],
        )
        .await?;
    let (session, current, is_superuser): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
    let is_owner = session == "migration_admin" && current == "migration_admin";
    if is_owner && !is_superuser {
        return Ok(());
    }
    Err(MigrateError::WrongRole {
        role: if is_superuser {
            format!("{session}, a superuser")
        } else {
            session
        },
    })
}

/// Takes the lock of all runs on this database, asking again and again.
pub(super) async fn take_lock(
    connection: &mut Connection,
    within: Duration,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<(), MigrateError> {
    let began = Instant::now();
    let mut told = None::<Instant>;
    loop {
        let row = connection.query_one(TAKE_LOCK, &[]).await?;
        if row.get(0) {
            return Ok(());
        }
        let holder = connection.query_opt(LOCK_HOLDER, &[]).await?;
        let holder = holder.map_or_else(|| "somebody".to_owned(), |row| row.get(0));
        if began.elapsed() >= within {
            return Err(MigrateError::Locked { holder, within });
        }
        if told.is_none_or(|at| at.elapsed() >= TELL_EACH) {
            tell(Progress::Waiting { holder: &holder });
            told = Some(Instant::now());
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}

/// Gives the lock back, also after a failure: the connection may live on in its pool.
pub(super) async fn give_lock_back(connection: &mut Connection) -> Result<(), StorageError> {
    connection.run_script("SELECT pg_advisory_unlock_all()").await
}

/// Lists the programs older than `required` that were alive within this time: a contract would break them.
pub(super) async fn older_programs(
    connection: &mut Connection,
    required: AppVersion,
    within: Duration,
) -> Result<Vec<String>, StorageError> {
    let exists = connection
        .query_one(
            "SELECT to_regclass('app.nodes') IS NOT NULL, to_regclass('app.programs') IS NOT NULL",
            &[],
        )
        .await?;
    if !exists.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let asked = if exists.get(1) { NODES_AND_GONE } else { NODES };
    let rows = connection.query(asked, &[&within.as_secs_f64()]).await?;
    let seen = rows.iter().filter_map(|row| {
        let (node, version, ago): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        // A version that cannot be read is nobody's that we know: it counts as old.
        let is_old = version
            .parse::<AppVersion>()
            .map_or(true, |version| version < required);
        is_old.then(|| format!("{node} ran {version} {ago} ago"))
    });
    Ok(seen.collect())
}
