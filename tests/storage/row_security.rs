//! Row-level security by the catalog: whatever table has `tenant_id` must hide other tenants' rows, also one that is added tomorrow.

use malote::storage::Role;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::scratch::{ScratchDatabase, refusal};

/// Functions that run as the owner and so pass row security by, each for a reason that its migration gives.
const RUN_AS_OWNER: &[&str] = &["find_api_key"];

/// What makes a value of a column's type. Columns of other types fail the test by name.
const VALUES: &[(&str, &str)] = &[
    ("uuid", "gen_random_uuid()"),
    ("text", "gen_random_uuid()::text"),
    ("smallint", "1"),
    ("integer", "1"),
    ("bigint", "1"),
    ("boolean", "true"),
    ("timestamp with time zone", "now()"),
    ("date", "now()::date"),
    ("bytea", "decode(md5(random()::text), 'hex')"),
    ("json", "'{}'"),
    ("jsonb", "'{}'"),
    ("text[]", "'{}'"),
    ("uuid[]", "'{}'"),
    ("integer[]", "'{}'"),
    ("double precision", "1"),
    ("numeric", "1"),
    ("inet", "'127.0.0.1'"),
];

async fn number(client: &Client, query: &str) -> i64 {
    let row = client.query_one(query, &[]).await;
    row.unwrap_or_else(|error| panic!("{query}: {error}")).get(0)
}

async fn names(client: &Client, query: &str) -> Vec<String> {
    let rows = client.query(query, &[]).await.expect("the catalog answers");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn tables_of_tenants(client: &Client) -> Vec<String> {
    names(
        client,
        "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'tenant_id'
            AND NOT a.attisdropped ORDER BY 1",
    )
    .await
}

/// Gives two tenants a row in every table. The owner drops the rules between tables first: what is tried here is who sees a row,
/// not what may stand in it.
async fn fill(owner: &Client, tables: &[String], tenants: [Uuid; 2]) {
    let rules = names(
        owner,
        "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
         WHERE connamespace = 'app'::regnamespace AND contype IN ('c', 'f') AND conrelid <> 0",
    )
    .await;
    for rule in rules {
        owner.batch_execute(&rule).await.expect("dropped");
    }
    for table in tables {
        let columns = owner
            .query(
                "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
                 WHERE attrelid = format('app.%I', $1::text)::regclass AND attnum > 0 AND NOT attisdropped
                    AND attidentity = '' AND attgenerated = '' AND attname <> 'tenant_id'",
                &[table],
            )
            .await
            .expect("the catalog answers");
        let (mut into, mut made) = (String::new(), String::new());
        for column in &columns {
            let (name, kind): (&str, &str) = (column.get(0), column.get(1));
            let value = VALUES.iter().find(|(known, _)| *known == kind);
            let (_, value) = value.unwrap_or_else(|| panic!("{table}.{name}: add {kind} to VALUES"));
            into.push_str(&format!(", \"{name}\""));
            made.push_str(&format!(", {value}"));
        }
        for tenant in tenants {
            let insert = format!("INSERT INTO app.{table} (tenant_id{into}) VALUES ('{tenant}'{made})");
            let inserted = owner.batch_execute(&insert).await;
            inserted.unwrap_or_else(|error| panic!("{insert}: {error:?}"));
        }
    }
}

#[tokio::test]
async fn statements_without_where_touch_the_named_tenants_rows_only() {
    let database = ScratchDatabase::migrated("rows").await;
    let owner = database.client(Role::MigrationAdmin).await;
    let tables = tables_of_tenants(&owner).await;
    assert!(
        tables.len() >= 19,
        "the catalog lists {} tables of tenants",
        tables.len()
    );
    let [one, other] = [Uuid::now_v7(), Uuid::now_v7()];
    fill(&owner, &tables, [one, other]).await;
    let api = database.client(Role::AppRw).await;
    for table in &tables {
        let may = async |privilege: &str| {
            let asked = format!("SELECT has_table_privilege('app.{table}', '{privilege}')::integer::bigint");
            number(&api, &asked).await == 1
        };
        if may("SELECT").await {
            let all = format!("SELECT count(*) FROM app.{table}");
            assert_eq!(number(&api, &all).await, 0, "{table} without a tenant");
            api.batch_execute(&format!("BEGIN; SET LOCAL app.tenant_id = '{one}'"))
                .await
                .expect("begun");
            assert_eq!(number(&api, &all).await, 1, "{table} shows other rows too");
            let own = format!("SELECT count(*) FROM app.{table} WHERE tenant_id = '{one}'");
            assert_eq!(number(&api, &own).await, 1, "{table} hides the tenant's own row");
            api.batch_execute("ROLLBACK").await.expect("ended");
        }
        for (privilege, statement) in [
            ("UPDATE", format!("UPDATE app.{table} SET tenant_id = tenant_id")),
            ("DELETE", format!("DELETE FROM app.{table}")),
        ] {
            if !may(privilege).await {
                continue;
            }
            api.batch_execute(&format!("BEGIN; SET LOCAL app.tenant_id = '{one}'"))
                .await
                .expect("begun");
            let touched = api.execute(&statement, &[]).await;
            assert_eq!(touched.expect("allowed"), 1, "{statement} touched other rows");
            api.batch_execute("ROLLBACK").await.expect("ended");
        }
        if may("INSERT").await {
            api.batch_execute(&format!("BEGIN; SET LOCAL app.tenant_id = '{one}'"))
                .await
                .expect("begun");
            let stolen = format!("INSERT INTO app.{table} (tenant_id) VALUES ('{other}')");
            let code = refusal(api.batch_execute(&stolen).await);
            assert_eq!(code, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{stolen}");
            api.batch_execute("ROLLBACK").await.expect("ended");
        }
    }
    drop((owner, api));
    database.discard().await;
}

#[tokio::test]
async fn every_table_of_tenants_has_its_three_policies() {
    let database = ScratchDatabase::migrated("policies").await;
    let owner = database.client(Role::MigrationAdmin).await;
    let lacking = names(
        &owner,
        "SELECT c.relname::text || ' lacks ' || wanted.policy FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
         CROSS JOIN (VALUES ('row level security', NULL), ('tenant_rows', 'app_rw'), ('all_rows', 'app_system'),
            ('audit_rows', 'readonly_audit')) AS wanted (policy, role)
         WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND CASE WHEN wanted.role IS NULL
            THEN NOT c.relrowsecurity
            ELSE NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = wanted.policy
                AND p.polroles = ARRAY[(SELECT oid FROM pg_roles WHERE rolname = wanted.role)]) END",
    )
    .await;
    assert!(lacking.is_empty(), "{lacking:#?}");
    let views = names(
        &owner,
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind IN ('v', 'm')
            AND NOT coalesce(reloptions @> '{security_invoker=true}', false)",
    )
    .await;
    assert!(views.is_empty(), "views that run as their owner: {views:?}");
    let functions = names(
        &owner,
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'app'::regnamespace AND prosecdef ORDER BY 1",
    )
    .await;
    assert_eq!(functions, RUN_AS_OWNER, "functions that run as their owner");
    let exposed = names(
        &owner,
        "SELECT proname::text FROM pg_proc p WHERE pronamespace = 'app'::regnamespace AND prosecdef
            AND (proconfig IS NULL OR NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c LIKE 'search_path=%')
                OR has_function_privilege('public', p.oid, 'EXECUTE'))",
    )
    .await;
    assert!(
        exposed.is_empty(),
        "without a search_path of their own, or open to everybody: {exposed:?}"
    );
    drop(owner);
    database.discard().await;
}
