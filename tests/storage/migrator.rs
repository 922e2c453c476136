//! How migrations run when something is in their way, on databases of their own.

use std::time::Duration;

use malote::storage::migrations::{ALL, Migration};
use malote::storage::migrator::{self, MigrateError, Options, Progress};
use malote::storage::schema::{self, Unfit};
use malote::storage::{Database, Role};

use crate::scratch::ScratchDatabase;

const TABLE: Migration = Migration {
    version: 1,
    name: "0001_table",
    up: "-- phase: expand\nCREATE TABLE app.nodes (node text, version text, heartbeat_at timestamptz, number integer);
        INSERT INTO app.nodes SELECT 'n' || n, '99.0.0', now() - interval '9 days', n % 2 FROM generate_series(1, 20000) n",
    down: "DROP TABLE app.nodes",
};
const INDEX: Migration = Migration {
    version: 2,
    name: "0002_index",
    up: "-- phase: expand\n-- transaction: off\nCREATE INDEX CONCURRENTLY IF NOT EXISTS nodes_number ON app.nodes (number);",
    down: "DROP INDEX app.nodes_number",
};
const UNIQUE: Migration = Migration {
    version: 2,
    name: "0002_unique",
    up: "-- phase: expand\n-- transaction: off\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS nodes_unique ON app.nodes (number);",
    down: "DROP INDEX app.nodes_unique",
};
const COLUMN: Migration = Migration {
    version: 2,
    name: "0002_column",
    up: "-- phase: expand\nALTER TABLE app.nodes ADD COLUMN added text",
    down: "ALTER TABLE app.nodes DROP COLUMN added",
};
const CONTRACT: Migration = Migration {
    version: 3,
    name: "0003_contract",
    up: "-- phase: contract\n-- requires-app: 99.0.0\nALTER TABLE app.nodes DROP COLUMN number",
    down: "ALTER TABLE app.nodes ADD COLUMN number integer",
};

/// Stands behind the contract, and does not need it.
const BEHIND: Migration = Migration {
    version: 4,
    name: "0004_behind",
    up: "-- phase: expand\nALTER TABLE app.nodes ADD COLUMN later text",
    down: "ALTER TABLE app.nodes DROP COLUMN later",
};
const LAST: Migration = Migration {
    version: 5,
    name: "0005_last",
    up: "-- phase: contract\n-- requires-app: 1.0.0\nALTER TABLE app.nodes DROP COLUMN added",
    down: "ALTER TABLE app.nodes ADD COLUMN added text",
};

const fn options(list: &'static [Migration]) -> Options {
    Options {
        list,
        to: None,
        wait: Duration::from_secs(30),
        retired_for: Duration::from_secs(3_600),
    }
}

async fn up(database: &Database, list: &'static [Migration]) -> Result<(), MigrateError> {
    migrator::up(database, options(list), |_| {}).await
}

async fn is_valid(scratch: &ScratchDatabase, index: &str) -> bool {
    let client = scratch.client(Role::MigrationAdmin).await;
    let asked = format!("SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.{index}'::regclass");
    client
        .query_one(&asked, &[])
        .await
        .expect("the index exists")
        .get(0)
}

async fn applied(scratch: &ScratchDatabase) -> Vec<i32> {
    let client = scratch.client(Role::MigrationAdmin).await;
    let asked = "SELECT version FROM app.schema_migrations ORDER BY version";
    let rows = client.query(asked, &[]).await.expect("listed");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn nobody_but_migration_admin_may_migrate() {
    let scratch = ScratchDatabase::migrated("who").await;
    for role in [Role::AppRw, Role::AppSystem, Role::ReadonlyAudit] {
        let pool = scratch.pool(role).await;
        let refused = [
            up(&pool, ALL).await,
            migrator::down(&pool, 0, options(ALL), |_| {}).await,
        ];
        for refused in refused {
            assert!(
                matches!(&refused, Err(MigrateError::WrongRole { role: named }) if named == role.as_str()),
                "{refused:?}"
            );
        }
    }
    scratch.discard().await;
}

#[tokio::test]
async fn two_runs_at_once_build_one_valid_index() {
    let scratch = ScratchDatabase::empty("runs").await;
    let (one, other) = (
        scratch.pool(Role::MigrationAdmin).await,
        scratch.pool(Role::MigrationAdmin).await,
    );
    let (one, other) = tokio::join!(up(&one, &[TABLE, INDEX]), up(&other, &[TABLE, INDEX]));
    one.expect("the first finishes");
    other.expect("the second finishes");
    assert!(is_valid(&scratch, "nodes_number").await);
    scratch.discard().await;
}

#[tokio::test]
async fn a_run_that_waits_in_vain_says_for_whom() {
    let scratch = ScratchDatabase::empty("vain").await;
    let holder = scratch.client(Role::MigrationAdmin).await;
    holder
        .batch_execute("SET application_name = 'a stuck run'; SELECT pg_advisory_lock(5171923)")
        .await
        .expect("locked");
    let pool = scratch.pool(Role::MigrationAdmin).await;
    let mut waited = 0;
    let impatient = Options {
        wait: Duration::from_millis(900),
        ..options(&[TABLE])
    };
    let refused = migrator::up(&pool, impatient, |progress| {
        waited += u32::from(matches!(progress, Progress::Waiting { .. }));
    })
    .await;
    assert!(
        matches!(&refused, Err(MigrateError::Locked { holder, .. }) if holder.contains("a stuck run")),
        "{refused:?}"
    );
    assert_eq!(waited, 1);
    holder
        .batch_execute("SELECT pg_advisory_unlock_all()")
        .await
        .expect("unlocked");
    up(&pool, &[TABLE]).await.expect("it is free again");
    drop((holder, pool));
    scratch.discard().await;
}

#[tokio::test]
async fn a_table_in_use_is_tried_again_and_nothing_is_left_meanwhile() {
    let scratch = ScratchDatabase::empty("busy").await;
    let pool = scratch.pool(Role::MigrationAdmin).await;
    up(&pool, &[TABLE]).await.expect("applied");
    let reader = scratch.client(Role::MigrationAdmin).await;
    reader
        .batch_execute("BEGIN; SELECT count(*) FROM app.nodes")
        .await
        .expect("read");
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let run = tokio::spawn({
        let pool = pool.clone();
        async move {
            migrator::up(&pool, options(&[TABLE, COLUMN]), |progress| {
                if let Progress::Retrying { attempt, .. } = progress {
                    let _ = told.send(attempt);
                }
            })
            .await
        }
    });
    assert_eq!(heard.recv().await, Some(1), "the lock was not given in time");
    // Whoever waited behind the change was let through when it gave up.
    let other = scratch.client(Role::MigrationAdmin).await;
    other
        .batch_execute("SELECT count(*) FROM app.nodes")
        .await
        .expect("read");
    reader.batch_execute("COMMIT").await.expect("done");
    run.await.expect("no panic").expect("applied at last");
    assert_eq!(schema::version(&pool).await.expect("a version"), 2);
    drop((reader, other, pool));
    scratch.discard().await;
}

#[tokio::test]
async fn a_half_built_index_is_dropped_and_built_again() {
    let scratch = ScratchDatabase::empty("half").await;
    let pool = scratch.pool(Role::MigrationAdmin).await;
    let failed = up(&pool, &[TABLE, UNIQUE]).await;
    assert!(matches!(failed, Err(MigrateError::Step { .. })), "{failed:?}");
    assert!(
        !is_valid(&scratch, "nodes_unique").await,
        "the failed build left it"
    );
    let client = scratch.client(Role::MigrationAdmin).await;
    client
        .batch_execute("DELETE FROM app.nodes WHERE node NOT IN ('n1', 'n2')")
        .await
        .expect("the duplicates are gone");
    let mut healed = Vec::new();
    migrator::up(&pool, options(&[TABLE, UNIQUE]), |progress| {
        if let Progress::Healed { index } = progress {
            healed.push(index.to_owned());
        }
    })
    .await
    .expect("built");
    assert_eq!(healed, ["nodes_unique"]);
    assert!(is_valid(&scratch, "nodes_unique").await);
    drop((client, pool));
    scratch.discard().await;
}

#[tokio::test]
async fn a_contract_waits_until_old_programs_are_gone() {
    let scratch = ScratchDatabase::empty("contract").await;
    let pool = scratch.pool(Role::MigrationAdmin).await;
    up(&pool, &[TABLE, COLUMN]).await.expect("applied");
    let client = scratch.client(Role::MigrationAdmin).await;
    client
        .batch_execute("INSERT INTO app.nodes (node, version, heartbeat_at) VALUES ('an-old-one', '98.12.0', now() - interval '50 minutes')")
        .await
        .expect("seen");
    let refused = up(&pool, &[TABLE, COLUMN, CONTRACT]).await;
    assert!(
        matches!(&refused, Err(MigrateError::OldPrograms { seen, .. }) if seen.len() == 1 && seen[0].contains("an-old-one ran 98.12.0")),
        "{refused:?}"
    );
    // It holds up no expansion, and no contract overtakes it.
    let behind = up(&pool, &[TABLE, COLUMN, CONTRACT, BEHIND, LAST]).await;
    assert!(matches!(behind, Err(MigrateError::OldPrograms { name, .. }) if name == "0003_contract"));
    assert_eq!(applied(&scratch).await, [1, 2, 4]);
    let gone = Options {
        retired_for: Duration::from_secs(2_400),
        ..options(&[TABLE, COLUMN, CONTRACT, BEHIND, LAST])
    };
    migrator::up(&pool, gone, |_| {})
        .await
        .expect("nobody was alive lately");
    assert_eq!(applied(&scratch).await, [1, 2, 3, 4, 5]);
    drop((client, pool));
    scratch.discard().await;
}

#[tokio::test]
async fn a_contract_remembers_programs_whose_nodes_came_back_as_others() {
    const NARROWER: Migration = Migration {
        version: 9_000,
        name: "9000_narrower",
        up: "-- phase: contract\n-- requires-app: 99.0.0\nALTER TABLE app.nodes DROP COLUMN started_at",
        down: "ALTER TABLE app.nodes ADD COLUMN started_at timestamptz",
    };
    let scratch = ScratchDatabase::migrated("programs").await;
    let server = scratch.client(Role::AppSystem).await;
    let beat = |version: &str| {
        format!(
            "INSERT INTO nodes (node, roles, version) VALUES ('one', '{{worker}}', '{version}')
             ON CONFLICT (node) DO UPDATE SET heartbeat_at = now(), version = excluded.version"
        )
    };
    for statement in [
        beat("98.1.0"),
        beat("98.2.0"),
        "DELETE FROM nodes".to_owned(),
        beat("99.0.0"),
    ] {
        server.batch_execute(&statement).await.expect("noted");
    }
    let mut list = ALL.to_vec();
    list.push(NARROWER);
    let list: &'static [Migration] = Box::leak(list.into_boxed_slice());
    let pool = scratch.pool(Role::MigrationAdmin).await;
    let refused = up(&pool, list).await;
    assert!(
        matches!(&refused, Err(MigrateError::OldPrograms { seen, .. })
            if seen.len() == 2 && seen.iter().all(|who| who.contains("that is gone ran 98."))),
        "{refused:?}"
    );
    let gone = Options {
        retired_for: Duration::ZERO,
        ..options(list)
    };
    migrator::up(&pool, gone, |_| {}).await.expect("contracted");
    drop((server, pool));
    scratch.discard().await;
}

#[tokio::test]
async fn an_edited_migration_and_a_newer_one_are_not_touched() {
    const EDITED: Migration = Migration {
        up: "-- phase: expand\nCREATE TABLE app.nodes (other text)",
        ..TABLE
    };
    let scratch = ScratchDatabase::empty("edited").await;
    let pool = scratch.pool(Role::MigrationAdmin).await;
    up(&pool, &[TABLE, COLUMN]).await.expect("applied");
    let edited = up(&pool, &[EDITED, COLUMN]).await;
    assert!(matches!(edited, Err(MigrateError::Altered { .. })), "{edited:?}");
    let newer = migrator::down(&pool, 0, options(&[TABLE]), |_| {}).await;
    assert!(
        matches!(newer, Err(MigrateError::Newer { version: 2 })),
        "{newer:?}"
    );
    migrator::down(&pool, 0, options(&[TABLE, COLUMN]), |_| {})
        .await
        .expect("taken back");
    drop(pool);
    scratch.discard().await;
}

#[tokio::test]
async fn a_server_bears_what_a_newer_program_added_and_refuses_what_it_took_away() {
    let scratch = ScratchDatabase::migrated("newer").await;
    let (owner, server) = (
        scratch.client(Role::MigrationAdmin).await,
        scratch.pool(Role::AppRw).await,
    );
    let record = |version: i32, phase: &str, requires: &str| {
        format!(
            "INSERT INTO app.schema_migrations (version, name, phase, sha256, requires_app)
             VALUES ({version}, 'later', '{phase}', '', {requires})"
        )
    };
    owner
        .batch_execute(&record(9_001, "expand", "NULL"))
        .await
        .expect("recorded");
    schema::check(&server).await.expect("an expansion is no matter");
    owner
        .batch_execute(&record(9_002, "contract", "'0.0.1'"))
        .await
        .expect("recorded");
    schema::check(&server).await.expect("this program is new enough");
    owner
        .batch_execute(&record(9_003, "contract", "'99.0.0'"))
        .await
        .expect("recorded");
    let refused = schema::check(&server).await;
    assert!(matches!(refused, Err(Unfit::New { .. })), "{refused:?}");
    drop((owner, server));
    scratch.discard().await;
}
