//! Dead messages: replayed and given up on.

use domain::campaign::{CampaignState, Standing};
use domain::ids::CampaignId;
use domain::message::MessageState;
use malote::storage::count_changes::{CountChanges, Writer};
use malote::storage::dead_letters::{self, Burial, Buried, DeadFilter};

use crate::tenant::{TestTenant, phones};

/// A finished campaign with four dead messages, one of them with the code of a recipient who cannot be reached.
async fn finished(test: &TestTenant) -> CampaignId {
    let campaign = test.draft().await;
    test.add(campaign, &phones(0, 4)).await;
    test.change(campaign, |standing| standing.launch(false)).await;
    let mut transaction = test.system.begin().await.expect("a transaction");
    transaction
        .execute(
            "UPDATE messages SET state = 'dead', due_at = NULL, counted_attempts = 5,
                 error_code = CASE WHEN recipient = '+5511900000000' THEN 131026 ELSE 131000 END
             WHERE tenant_id = $1 AND campaign_id = $2",
            &[&test.tenant.0, &campaign.0],
        )
        .await
        .expect("killed");
    let mut changes = CountChanges::default();
    changes.added(test.tenant, campaign, MessageState::Planned, -4);
    changes.added(test.tenant, campaign, MessageState::Dead, 4);
    changes
        .write(&mut transaction, Writer::Committer)
        .await
        .expect("counted");
    transaction.commit().await.expect("committed");
    test.change(campaign, Standing::finish).await;
    campaign
}

async fn bury(test: &TestTenant, campaign: CampaignId, what: Burial) -> Buried {
    let filter = DeadFilter {
        campaign: Some(campaign),
        ids: None,
    };
    dead_letters::bury(&test.rows, test.tenant, &filter, what)
        .await
        .expect("done")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_what_is_safe_and_wakes_the_campaign() {
    let test = TestTenant::create().await;
    let campaign = finished(&test).await;
    let replayed = bury(&test, campaign, Burial::Replay { force: false }).await;
    assert_eq!(replayed, Buried { moved: 3, skipped: 1 });
    let found = test.campaign(campaign).await;
    assert_eq!(
        (found.standing.state, found.finished_at),
        (CampaignState::Running, None)
    );
    let forced = bury(&test, campaign, Burial::Replay { force: true }).await;
    assert_eq!(forced, Buried { moved: 1, skipped: 0 });
    assert_eq!(test.campaign(campaign).await.counts[MessageState::Planned], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_purged_has_failed_for_good() {
    let test = TestTenant::create().await;
    let campaign = finished(&test).await;
    assert_eq!(
        bury(&test, campaign, Burial::Purge).await,
        Buried { moved: 4, skipped: 0 }
    );
    let found = test.campaign(campaign).await;
    assert_eq!(
        (found.standing.state, found.counts[MessageState::Failed]),
        (CampaignState::Finished, 4)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_campaign_stays_dead() {
    let test = TestTenant::create().await;
    let (replayed, cancelled) = (finished(&test).await, finished(&test).await);
    let mut transaction = test.system.begin().await.expect("a transaction");
    transaction
        .execute(
            "UPDATE campaigns SET state = 'cancelled' WHERE id = $1",
            &[&cancelled.0],
        )
        .await
        .expect("cancelled");
    transaction.commit().await.expect("committed");
    let all = DeadFilter::default();
    let done = dead_letters::bury(&test.rows, test.tenant, &all, Burial::Replay { force: true })
        .await
        .expect("done");
    assert_eq!(done, Buried { moved: 4, skipped: 4 });
    assert_eq!(test.campaign(replayed).await.counts[MessageState::Planned], 4);
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    let left = dead_letters::list(&mut transaction, test.tenant, None, None, 10)
        .await
        .expect("listed");
    transaction.commit().await.expect("committed");
    assert!(left.len() == 4 && left.iter().all(|dead| dead.campaign == Some(cancelled)));
}
