//! What a server's role must never be able to do: each statement is tried as the role, and each must be refused by its grants alone.

use malote::storage::Role;
use tokio_postgres::error::SqlState;

use crate::scratch::{ScratchDatabase, refusal};

/// Statements that no server's role may run. Each is refused with 42501, `insufficient_privilege`.
const REFUSED: &[(&str, &str)] = &[
    ("make a table", "CREATE TABLE app.x (y integer)"),
    ("make a schema", "CREATE SCHEMA x"),
    ("make a temporary table", "CREATE TEMPORARY TABLE x (y integer)"),
    (
        "make a function",
        "CREATE FUNCTION app.x() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    ),
    ("make an index", "CREATE INDEX x ON app.tenants (name)"),
    ("make a role", "CREATE ROLE x"),
    ("add an extension", "CREATE EXTENSION pgcrypto"),
    ("alter a table", "ALTER TABLE app.tenants ADD COLUMN x integer"),
    ("drop a table", "DROP TABLE app.tenants"),
    ("empty a table", "TRUNCATE app.campaigns"),
    ("become the owner", "SET ROLE migration_admin"),
    (
        "turn row security off",
        "ALTER TABLE app.senders DISABLE ROW LEVEL SECURITY",
    ),
    ("read a file of the server", "SELECT pg_read_file('PG_VERSION')"),
    ("run a program", "COPY (SELECT 1) TO PROGRAM 'true'"),
    ("change the ledger", "UPDATE app.ledger SET units = 0"),
    ("erase the ledger", "DELETE FROM app.ledger"),
];

const SERVERS_ROLES: [Role; 3] = [Role::AppRw, Role::AppSystem, Role::ReadonlyAudit];

#[tokio::test]
async fn no_server_may_do_what_only_the_owner_may() {
    let database = ScratchDatabase::migrated("refusals").await;
    for role in SERVERS_ROLES {
        let client = database.client(role).await;
        // A help against mistakes that the role itself may turn off: the grants must be enough.
        let off = client
            .batch_execute("SET default_transaction_read_only = off")
            .await;
        off.expect("it may be turned off");
        for (what, statement) in REFUSED {
            let code = refusal(client.batch_execute(statement).await);
            assert_eq!(
                code,
                Some(SqlState::INSUFFICIENT_PRIVILEGE),
                "{} could {what}: {statement}",
                role.as_str()
            );
        }
    }
    database.discard().await;
}

#[tokio::test]
async fn a_grant_by_a_server_grants_nothing() {
    let database = ScratchDatabase::migrated("grants").await;
    let auditor = database.client(Role::ReadonlyAudit).await;
    for role in SERVERS_ROLES {
        let client = database.client(role).await;
        // PostgreSQL answers success with a warning when the role may use the table but not grant it: only the catalog tells.
        let _ = client
            .batch_execute("SET default_transaction_read_only = off; GRANT SELECT ON app.senders TO PUBLIC")
            .await;
        let granted = auditor
            .query_one(
                "SELECT EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) a
                 WHERE c.oid = 'app.senders'::regclass AND a.grantee = 0)",
                &[],
            )
            .await
            .expect("the catalog answers");
        assert!(
            !granted.get::<_, bool>(0),
            "{} granted to everybody",
            role.as_str()
        );
    }
    drop(auditor);
    database.discard().await;
}

#[tokio::test]
async fn the_auditor_writes_nowhere() {
    let database = ScratchDatabase::migrated("auditor").await;
    let auditor = database.client(Role::ReadonlyAudit).await;
    let rows = auditor
        .query(
            "SELECT c.oid::regclass::text, p FROM pg_class c, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
             WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, p)",
            &[],
        )
        .await
        .expect("the catalog answers");
    let may: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(may.is_empty(), "readonly_audit may {may:?}");
    drop(auditor);
    database.discard().await;
}

#[tokio::test]
async fn the_catalog_gives_the_servers_roles_no_way_up() {
    let database = ScratchDatabase::migrated("catalog").await;
    for role in SERVERS_ROLES {
        let client = database.client(role).await;
        let row = client
            .query_one(
                "SELECT has_schema_privilege('app', 'CREATE') OR has_schema_privilege('public', 'CREATE') AS makes,
                    has_database_privilege(current_database(), 'CREATE, TEMP') AS makes_in_database,
                    (SELECT count(*) FROM pg_class WHERE relowner = r.oid) AS owns,
                    (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) AS member_of,
                    r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolbypassrls OR r.rolreplication AS is_mighty
                 FROM pg_roles r WHERE r.rolname = current_user",
                &[],
            )
            .await
            .expect("the catalog answers");
        let name = role.as_str();
        assert!(!row.get::<_, bool>("makes"), "{name} may make things in a schema");
        assert!(
            !row.get::<_, bool>("makes_in_database"),
            "{name} may make things in the database"
        );
        assert_eq!(row.get::<_, i64>("owns"), 0, "{name} owns something");
        assert_eq!(row.get::<_, i64>("member_of"), 0, "{name} is a member of a role");
        assert!(!row.get::<_, bool>("is_mighty"), "{name} has an attribute");
    }
    database.discard().await;
}

#[tokio::test]
async fn each_role_has_the_limits_of_the_script() {
    let database = ScratchDatabase::migrated("limits").await;
    let expected = [
        (Role::AppRw, ["15s", "2s", "10s"]),
        (Role::AppSystem, ["15s", "2s", "2s"]),
        (Role::ReadonlyAudit, ["10min", "2s", "1min"]),
        (Role::MigrationAdmin, ["2h", "2s", "1min"]),
    ];
    for (role, limits) in expected {
        let client = database.client(role).await;
        let row = client
            .query_one(
                "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
                    current_setting('idle_in_transaction_session_timeout')",
                &[],
            )
            .await
            .expect("the settings are known");
        let found: [String; 3] = std::array::from_fn(|column| row.get(column));
        assert_eq!(
            found,
            limits,
            "{}: run deploy/postgres/roles.sql again (dev/stack does when it starts)",
            role.as_str()
        );
    }
    database.discard().await;
}
