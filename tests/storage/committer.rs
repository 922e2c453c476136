//! The committer's guards, each tried by somebody who would get past it.

use actors::ports::{Claim, CommitError, Committed, Ledger as _, TenantCommit};
use domain::campaign::{PauseReason, Standing};
use domain::ids::{AttemptId, CampaignId, MessageId};
use domain::message::MessageState;
use domain::partition::Epoch;
use malote::storage::committer::Committer;
use uuid::Uuid;

use crate::tenant::{TestTenant, phones};

/// A tenant whose plan allows `units`, owned under epoch 5, with a running campaign of three queued messages.
struct Owned {
    test: TestTenant,
    committer: Committer,
    campaign: CampaignId,
    queued: Vec<MessageId>,
}

impl Owned {
    async fn with_plan(units: i64) -> Self {
        let test = TestTenant::create().await;
        test.assign_plan(units).await;
        test.open_ledger().await;
        let campaign = test.draft().await;
        test.add(campaign, &phones(0, 3)).await;
        test.change(campaign, |standing| standing.launch(false)).await;
        let committer = Committer::start(test.system.clone());
        committer
            .take_over(test.tenant, Epoch(5))
            .await
            .expect("taken over");
        let queued = test.queue_all().await;
        Self {
            test,
            committer,
            campaign,
            queued,
        }
    }

    /// Proposes all three messages.
    async fn claim(&self, epoch: i64, seq: i64) -> Result<Committed, CommitError> {
        let claims = self.queued.iter().map(|message| Claim {
            message: *message,
            attempt: AttemptId(Uuid::now_v7()),
        });
        let work = TenantCommit {
            tenant: self.test.tenant,
            epoch: Epoch(epoch),
            expected_seq: seq,
            claims: claims.collect(),
            deadline: std::time::Duration::from_secs(5),
            events: Vec::new(),
        };
        self.committer.commit(work).await
    }

    async fn count(&self, state: MessageState) -> i64 {
        let mut connection = self.test.system.get().await.expect("a connection");
        let row = connection
            .query_one(
                "SELECT count(*) FROM messages WHERE tenant_id = $1 AND state = $2",
                &[&self.test.tenant.0, &state.as_str()],
            )
            .await
            .expect("counted");
        row.get(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_of_the_day_before_claims_nothing() {
    let owned = Owned::with_plan(100).await;
    let stale = owned.claim(4, 0).await;
    assert!(
        matches!(stale, Err(CommitError::EpochGone { current: Epoch(5) })),
        "{stale:?}"
    );
    assert_eq!(owned.count(MessageState::Queued).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_epoch_takes_nothing_over() {
    let owned = Owned::with_plan(100).await;
    let late = owned.committer.take_over(owned.test.tenant, Epoch(4)).await;
    assert!(
        matches!(late, Err(CommitError::EpochGone { current: Epoch(5) })),
        "{late:?}"
    );
    assert!(owned.claim(5, 0).await.is_ok(), "the owner in force goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_believes_in_another_sequence_claims_nothing() {
    let owned = Owned::with_plan(100).await;
    let mistaken = owned.claim(5, 7).await;
    assert!(
        matches!(mistaken, Err(CommitError::HeadMoved { .. })),
        "{mistaken:?}"
    );
    assert_eq!(owned.count(MessageState::Queued).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sending_is_not_claimed_again() {
    let owned = Owned::with_plan(100).await;
    let first = owned.claim(5, 0).await.expect("claimed");
    assert_eq!(first.claimed.len(), 3);
    let again = owned.claim(5, first.head.seq).await.expect("answered");
    assert!(again.claimed.is_empty(), "somebody would be sent to twice");
    assert_eq!(again.head.held, 3, "and charged twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_a_limit_for_the_committer_as_well() {
    let owned = Owned::with_plan(2).await;
    let claimed = owned.claim(5, 0).await.expect("answered");
    assert_eq!((claimed.claimed.len(), claimed.head.held), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_opted_out_after_the_upload_is_not_sent_to() {
    let owned = Owned::with_plan(100).await;
    let mut connection = owned.test.system.get().await.expect("a connection");
    connection
        .execute(
            "INSERT INTO suppressions (tenant_id, recipient, reason)
             SELECT tenant_id, recipient, 'a test' FROM messages WHERE tenant_id = $1 AND id = $2",
            &[&owned.test.tenant.0, &owned.queued[0].0],
        )
        .await
        .expect("suppressed");
    let claimed = owned.claim(5, 0).await.expect("answered");
    assert_eq!(claimed.claimed.len(), 2);
    assert_eq!(owned.count(MessageState::Suppressed).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_campaign_is_not_claimed() {
    let owned = Owned::with_plan(100).await;
    owned
        .test
        .change(owned.campaign, |standing: Standing| {
            standing.pause(PauseReason::Manual)
        })
        .await;
    let claimed = owned.claim(5, 0).await.expect("answered");
    assert!(claimed.claimed.is_empty());
    assert_eq!(owned.count(MessageState::Planned).await, 3);
}
