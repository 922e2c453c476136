//! As whom a server may connect, and what each role can see.

use malote::storage::schema::{self, Unfit};
use malote::storage::{Database, Role};

use crate::tenant::TestTenant;

async fn connect(role: Role) -> Database {
    let config = malote::config::load(None, None).expect("the settings are read");
    Database::connect(&config.database, role)
        .await
        .expect("the database lets us in")
}

#[tokio::test]
async fn a_server_refuses_to_run_as_the_owner_of_the_schema() {
    let unfit = schema::check(&connect(Role::MigrationAdmin).await).await;
    assert!(matches!(unfit, Err(Unfit::TooMighty { .. })), "{unfit:?}");
    assert!(schema::check(&connect(Role::AppRw).await).await.is_ok());
    assert!(schema::check(&connect(Role::AppSystem).await).await.is_ok());
}

#[tokio::test]
async fn a_number_of_partitions_never_changes() {
    let system = connect(Role::AppSystem).await;
    let recorded = schema::check_partitions(&system, 16).await;
    assert!(recorded.is_ok(), "{recorded:?}");
    let changed = schema::check_partitions(&system, 8).await;
    assert!(matches!(changed, Err(Unfit::Partitions { .. })), "{changed:?}");
}

#[tokio::test]
async fn the_api_sees_the_rows_of_the_named_tenant_only() {
    let (one, other) = (TestTenant::create().await, TestTenant::create().await);
    let mut transaction = one.rows.begin_for(one.tenant).await.unwrap();
    let seen = transaction
        .query("SELECT DISTINCT tenant_id FROM senders", &[])
        .await
        .unwrap();
    let seen: Vec<uuid::Uuid> = seen.iter().map(|row| row.get(0)).collect();
    assert_eq!(seen, [one.tenant.0]);
    let stolen = transaction
        .execute(
            "UPDATE senders SET waba_id = 'mine' WHERE id = $1",
            &[&other.sender.0],
        )
        .await
        .unwrap();
    assert_eq!(stolen, 0);
    transaction.rollback().await.unwrap();
    let mut without = one.rows.get().await.unwrap();
    let nobody = without.query("SELECT id FROM senders", &[]).await.unwrap();
    assert!(nobody.is_empty(), "without a tenant nothing is seen");
}
