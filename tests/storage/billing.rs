//! The committer's books on real rows: pools apart, Meta's category, warnings once, an upgrade under way.

use actors::ports::{Claim, Committed, Ledger as _, TenantCommit};
use domain::ids::{AttemptId, EventId, MessageId};
use domain::partition::Epoch;
use malote::storage::anchors::Anchored;
use malote::storage::audit;
use malote::storage::committer::Committer;
use serde_json::json;
use uuid::Uuid;

use crate::tenant::{TestTenant, phones};

/// A tenant with queued marketing messages.
struct Books {
    test: TestTenant,
    committer: Committer,
    queued: Vec<MessageId>,
    seq: i64,
}

/// The pools of a plan: marketing apart from all else.
fn pools(marketing: i64, other: i64) -> serde_json::Value {
    json!([
        {"name": "promotion", "categories": ["marketing"], "allowance_units": marketing, "policy": "hard", "tiers": []},
        {"name": "other", "categories": ["utility", "authentication", "service"], "allowance_units": other, "policy": "hard",
            "tiers": []}])
}

async fn assign(test: &TestTenant, pools: serde_json::Value) {
    let plan = Uuid::now_v7();
    let mut transaction = test.system.begin().await.expect("a transaction");
    transaction
        .execute(
            "INSERT INTO plans (id, code, version, name, currency, currency_exponent, fee_minor, allowance_units, policy, pools)
             VALUES ($1, $1::uuid::text, 1, 'a test', 'BRL', 2, 0, 0, 'soft', $2)",
            &[&plan, &pools],
        )
        .await
        .expect("a plan is stored");
    transaction
        .execute(
            "INSERT INTO plan_assignments (tenant_id, effective_from, plan_id, timing) VALUES ($1, now(), $2, 'now')",
            &[&test.tenant.0, &plan],
        )
        .await
        .expect("a plan is assigned");
    transaction.commit().await.expect("committed");
}

impl Books {
    async fn open(pools: serde_json::Value, messages: usize) -> Self {
        let test = TestTenant::create().await;
        assign(&test, pools).await;
        test.open_ledger().await;
        let campaign = test.draft().await;
        test.add(campaign, &phones(0, messages)).await;
        test.change(campaign, |standing| standing.launch(false)).await;
        let committer = Committer::start(test.system.clone());
        committer
            .take_over(test.tenant, Epoch(5))
            .await
            .expect("taken over");
        let mut books = Self {
            test,
            committer,
            queued: Vec::new(),
            seq: 0,
        };
        books.queue().await;
        books
    }

    async fn queue(&mut self) {
        let mut connection = self.test.system.get().await.expect("a connection");
        let rows = connection
            .query(
                "UPDATE messages SET state = 'queued', due_at = NULL, queued_at = now() WHERE tenant_id = $1
                    AND state = 'planned' RETURNING id",
                &[&self.test.tenant.0],
            )
            .await
            .expect("queued");
        self.queued = rows.iter().map(|row| MessageId(row.get(0))).collect();
        self.queued.sort_unstable();
    }

    async fn bill_as(&self, category: &str, messages: &[MessageId]) {
        let ids: Vec<Uuid> = messages.iter().map(|message| message.0).collect();
        let statement = "UPDATE messages SET category = $2 WHERE tenant_id = $1 AND id = ANY($3)";
        let mut connection = self.test.system.get().await.expect("a connection");
        connection
            .execute(statement, &[&self.test.tenant.0, &category, &ids])
            .await
            .expect("changed");
    }

    async fn commit(&mut self, claims: &[MessageId], events: Vec<EventId>) -> Committed {
        let claims = claims.iter().map(|message| Claim {
            message: *message,
            attempt: AttemptId(Uuid::now_v7()),
        });
        let work = TenantCommit {
            tenant: self.test.tenant,
            epoch: Epoch(5),
            expected_seq: self.seq,
            claims: claims.collect(),
            deadline: std::time::Duration::from_secs(5),
            events,
        };
        let committed = self.committer.commit(work).await.expect("committed");
        self.seq = committed.head.seq;
        committed
    }

    async fn delivered(&self, attempt: AttemptId, category: &str) -> EventId {
        let event = Uuid::now_v7();
        let mut connection = self.test.system.get().await.expect("a connection");
        connection
            .execute(
                "INSERT INTO events (tenant_id, id, source, status, attempt_id, occurred_at, pricing_type, pricing_category)
                 VALUES ($1, $2, 'meta', 'delivered', $3, now(), 'regular', $4)",
                &[&self.test.tenant.0, &event, &attempt.0, &category],
            )
            .await
            .expect("stored");
        EventId(event)
    }

    /// Counts rows of the tenant that fulfil a condition.
    async fn count(&self, from: &str) -> i64 {
        let mut connection = self.test.system.get().await.expect("a connection");
        let statement = format!(
            "SELECT count(*) FROM {from} AND tenant_id = '{}'",
            self.test.tenant
        );
        connection.count(&statement).await.expect("counted")
    }

    async fn check(&self) {
        let report = audit::verify(&self.test.system, Some(self.test.tenant), &Anchored::new())
            .await
            .expect("checked");
        let books: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.invariant.id.starts_with('I'))
            .collect();
        assert!(books.is_empty(), "{books:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_blocks_its_own_categories_alone() {
    let mut books = Books::open(pools(1, 10), 4).await;
    let queued = books.queued.clone();
    books.bill_as("marketing", &queued).await;
    books.bill_as("utility", &queued[2..]).await;
    let committed = books.commit(&queued, Vec::new()).await;
    assert_eq!(
        committed.claimed.len(),
        3,
        "one of two, and both of the other pool"
    );
    assert_eq!(committed.blocked.len(), 1, "its campaign is to be paused");
    assert_eq!(committed.head.limit, Some(11));
    assert_eq!(
        books
            .count("messages WHERE state = 'planned' AND due_at > now()")
            .await,
        1
    );
    books.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_meta_bills_as_another_category_is_booked_as_that() {
    let mut books = Books::open(pools(5, 5), 2).await;
    let queued = books.queued.clone();
    books.bill_as("utility", &queued).await;
    let claimed = books.commit(&queued, Vec::new()).await.claimed;
    let drifted = books.delivered(claimed[0].attempt, "marketing").await;
    let same = books.delivered(claimed[1].attempt, "utility").await;
    books.commit(&[], vec![drifted, same]).await;
    assert_eq!(
        books
            .count("pool_counters WHERE pool = 'promotion' AND category = 'marketing' AND captured = 1")
            .await,
        1
    );
    assert_eq!(
        books
            .count(
                "pool_counters WHERE pool = 'other' AND category = 'utility' AND captured = 1 AND held = 0"
            )
            .await,
        1
    );
    books.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_share_of_an_allowance_warns_once_and_anew_after_an_upgrade() {
    let mut books = Books::open(pools(4, 5), 4).await;
    let queued = books.queued.clone();
    books.bill_as("marketing", &queued).await;
    let warnings = "usage_warnings WHERE pool = 'promotion' AND measure = 'reserved'";
    let claimed = books.commit(&queued[..2], Vec::new()).await.claimed;
    assert_eq!(books.count(&format!("{warnings} AND percent = 50")).await, 1);
    books.commit(&queued[2..3], Vec::new()).await;
    assert_eq!(books.count(warnings).await, 1, "75 % is no threshold");
    let event = books.delivered(claimed[0].attempt, "marketing").await;
    books.commit(&[], vec![event]).await;
    assert_eq!(books.count(warnings).await, 1, "nothing new is reserved");
    assign(&books.test, pools(4, 5)).await;
    books.commit(&queued[3..], Vec::new()).await;
    assert_eq!(books.count(&format!("{warnings} AND segment = 2")).await, 4);
    books.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_makes_room_with_the_next_commit() {
    let mut books = Books::open(pools(1, 0), 3).await;
    let queued = books.queued.clone();
    books.bill_as("marketing", &queued).await;
    assert_eq!(books.commit(&queued, Vec::new()).await.claimed.len(), 1);
    assign(&books.test, pools(1_000, 0)).await;
    books.queue().await;
    let queued = books.queued.clone();
    assert_eq!(books.commit(&queued, Vec::new()).await.claimed.len(), 2);
    assert_eq!(
        books
            .count("period_segments WHERE number = 2 AND assigned_at IS NOT NULL")
            .await,
        1
    );
    books.check().await;
}
