//! Access tokens at rest, from plain text to sealed only: the expansion, its backfill and its contract on a real schema.

use std::time::Duration;

use domain::ids::{SenderId, TenantId};
use malote::config::TokenKeys;
use malote::storage::migrations;
use malote::storage::migrator::{self, MigrateError, Options, Progress};
use malote::storage::sealing;
use malote::storage::sender_directory::SenderDirectory;
use malote::storage::senders::{self, NewSender, SenderChange};
use malote::storage::token_rotation::{Report, seal_all};
use malote::storage::{Database, Role};
use uuid::Uuid;

use crate::scratch::ScratchDatabase;

const EXPANDED: i32 = 16;
const CONTRACTED: i32 = 18;

struct Fixture {
    scratch: ScratchDatabase,
    owner: Database,
    rows: Database,
    system: Database,
    tenant: TenantId,
}

impl Fixture {
    async fn expanded(name: &str) -> Self {
        let scratch = ScratchDatabase::empty(name).await;
        let owner = scratch.pool(Role::MigrationAdmin).await;
        migrations::up(&owner, Some(EXPANDED), |_| {})
            .await
            .expect("expanded");
        let system = scratch.pool(Role::AppSystem).await;
        let tenant = Uuid::now_v7();
        let mut connection = system.get().await.expect("a connection");
        let added = connection
            .execute(
                "INSERT INTO tenants (id, name, timezone) VALUES ($1, 'a test', 'UTC')",
                &[&tenant],
            )
            .await;
        added.expect("a tenant");
        drop(connection);
        Self {
            rows: scratch.pool(Role::AppRw).await,
            scratch,
            owner,
            system,
            tenant: TenantId(tenant),
        }
    }

    /// What a program of the release before does: it knows nothing of sealed tokens.
    async fn insert_as_before(&self, token: &str) -> SenderId {
        let sender = Uuid::now_v7();
        let mut connection = self.system.get().await.expect("a connection");
        let added = connection
            .execute(
                "INSERT INTO senders (id, tenant_id, phone_number_id, waba_id, display_phone_number, access_token)
                 VALUES ($1, $2, $1::uuid::text, 'waba', '+5511900000000', $3)",
                &[&sender, &self.tenant.0, &token],
            )
            .await;
        added.expect("a sender");
        SenderId(sender)
    }

    async fn insert(&self, token: &str) -> SenderId {
        let sender = SenderId(Uuid::now_v7());
        let number = sender.to_string();
        let new = NewSender {
            id: sender,
            phone_number_id: &number,
            waba_id: "waba",
            display_phone_number: "+5511900000000",
            access_token: token,
            messages_per_second: 80,
            portfolio_id: None,
        };
        let mut transaction = self.rows.begin_for(self.tenant).await.expect("a transaction");
        senders::insert(&mut transaction, self.tenant, &new)
            .await
            .expect("stored");
        transaction.commit().await.expect("committed");
        sender
    }

    /// Reads past what is remembered.
    async fn token(&self, sender: SenderId) -> String {
        let found = SenderDirectory::new(self.system.clone()).by_id(sender).await;
        let found = found.expect("read").expect("the sender is there");
        found.access_token.expose().to_owned()
    }

    async fn stored(&self, query: &'static str) -> i64 {
        let mut connection = self.system.get().await.expect("a connection");
        connection.query_one(query, &[]).await.expect("counted").get(0)
    }

    async fn contract(&self) -> Result<(), MigrateError> {
        let options = Options {
            to: Some(CONTRACTED),
            retired_for: Duration::ZERO,
            ..Options::default()
        };
        migrator::up(&self.owner, options, |_: Progress<'_>| {}).await
    }

    async fn discard(self) {
        drop((self.owner, self.rows, self.system));
        self.scratch.discard().await;
    }
}

#[tokio::test]
async fn tokens_go_from_plain_to_sealed_only_and_are_readable_all_the_way() {
    let test = Fixture::expanded("tokens").await;
    let old = test.insert_as_before("a plain token").await;
    let new = test.insert("a sealed token").await;
    assert_eq!(test.token(old).await, "a plain token");
    assert_eq!(test.token(new).await, "a sealed token");
    let early = test
        .contract()
        .await
        .expect_err("a plain token is left")
        .to_string();
    assert!(early.contains("plain text"), "{early}");

    let keys = sealing::keys(test.system.secrets()).expect("the keys");
    let report = seal_all(&test.system, &keys, |_| {}).await.expect("sealed");
    assert_eq!(
        report,
        Report {
            total: 1,
            sealed: 1,
            unreadable: 0
        }
    );
    test.contract().await.expect("contracted");
    assert_eq!(test.token(old).await, "a plain token");
    let later = test.insert("one of afterwards").await;
    assert_eq!(test.token(later).await, "one of afterwards");
    let seen = "SELECT count(*) FROM senders s WHERE to_jsonb(s)::text LIKE '%token\"%: \"a %' OR to_jsonb(s) ? 'access_token'";
    assert_eq!(test.stored(seen).await, 0, "nothing of a token can be read");
    test.discard().await;
}

#[tokio::test]
async fn a_token_that_an_old_program_renews_is_the_one_that_counts() {
    let test = Fixture::expanded("renewed").await;
    let sender = test.insert("before").await;
    let mut connection = test.system.get().await.expect("a connection");
    let renewed = connection
        .execute(
            "UPDATE senders SET access_token = 'after' WHERE id = $1",
            &[&sender.0],
        )
        .await;
    assert_eq!(renewed.expect("renewed"), 1);
    drop(connection);
    assert_eq!(test.token(sender).await, "after");
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    let change = SenderChange {
        access_token: Some("by the new one"),
        ..SenderChange::default()
    };
    let changed = senders::change(&mut transaction, test.tenant, sender, &change).await;
    assert!(changed.expect("changed").is_some());
    transaction.commit().await.expect("committed");
    assert_eq!(test.token(sender).await, "by the new one");
    assert_eq!(
        test.stored("SELECT count(*) FROM senders WHERE token_sealed IS NULL")
            .await,
        0
    );
    let plain = "SELECT count(*) FROM senders WHERE access_token = 'by the new one'";
    assert_eq!(
        test.stored(plain).await,
        1,
        "a program of the release before reads it too"
    );
    test.discard().await;
}

#[tokio::test]
async fn a_changed_key_seals_everything_anew_and_goes_on_after_a_stop() {
    let test = Fixture::expanded("rotation").await;
    let mut senders = Vec::new();
    for number in 0..120 {
        senders.push(test.insert(&format!("token {number}")).await);
    }
    let old = sealing::keys(test.system.secrets()).expect("the keys");
    let line = sealing::new_key("the-next-one").expect("a key");
    let old_line = test
        .system
        .secrets()
        .get(malote::config::SecretName::TokenKeys)
        .expect("the keys");
    let both = TokenKeys::parse(&format!("{line}\n{}", old_line.expose())).expect("two keys");
    // Stopped after the first step: the task is dropped in the middle of the second.
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let first = tokio::spawn({
        let (system, both) = (test.system.clone(), both.clone());
        async move { seal_all(&system, &both, |report| told.send(report).expect("heard")).await }
    });
    while heard.recv().await.is_some_and(|report| report.sealed == 0) {}
    first.abort();
    let _ = first.await;
    let moved = "SELECT count(*) FROM senders WHERE token_key_id = 'the-next-one'";
    let so_far = test.stored(moved).await;
    assert!(
        (100..=120).contains(&so_far),
        "{so_far} were sealed before the stop"
    );
    let report = seal_all(&test.system, &both, |_| {}).await.expect("sealed");
    assert_eq!(report.unreadable, 0);
    assert_eq!(test.stored(moved).await, 120);
    let lost = seal_all(&test.system, &old, |_| {}).await.expect("tried");
    assert_eq!(
        lost.unreadable, 120,
        "without the key nothing opens, and nothing is touched"
    );
    assert_eq!(test.stored(moved).await, 120);
    let all = seal_all(&test.system, &both, |_| {})
        .await
        .expect("nothing to do");
    assert_eq!(all, Report::default());
    test.discard().await;
}
