//! Dead letters: listed, replayed and given up on, with a record of it.

use domain::campaign::{CampaignState, Standing};
use domain::dead_letter::LetterKind;
use domain::ids::CampaignId;
use domain::message::MessageState;
use domain::meta_error::ErrorClass;
use malote::storage::count_changes::{CountChanges, Writer};
use malote::storage::dead_letters::{self, Action, Done, LetterFilter, Order};
use uuid::Uuid;

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

fn order(action: Action) -> Order {
    Order {
        operation: Uuid::now_v7(),
        action,
        by: "a test".to_owned(),
        reason: "because".to_owned(),
    }
}

fn of(campaign: CampaignId) -> LetterFilter {
    LetterFilter {
        campaign: Some(campaign),
        ..LetterFilter::default()
    }
}

async fn act(test: &TestTenant, filter: &LetterFilter, action: Action) -> Done {
    dead_letters::act(&test.rows, test.tenant, filter, &order(action), &mut |_| {})
        .await
        .expect("done")
}

fn moved(moved: i64) -> Done {
    Done {
        moved,
        ..Done::default()
    }
}

const SAFE: Action = Action::Replay { force: false };
const FORCED: Action = Action::Replay { force: true };

/// What the record says: action, who, why, how many letters, how many skipped.
async fn records(test: &TestTenant) -> Vec<(String, String, String, i64, i32)> {
    let mut connection = test.system.get().await.expect("a connection");
    let rows = connection
        .query(
            "SELECT action, requested_by, reason, cardinality(letters)::bigint, skipped FROM dead_letter_actions
             WHERE tenant_id = $1 ORDER BY id",
            &[&test.tenant.0],
        )
        .await
        .expect("read");
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_what_is_safe_and_wakes_the_campaign() {
    let test = TestTenant::create().await;
    let campaign = finished(&test).await;
    let expected = Done {
        unsafe_to_replay: 1,
        ..moved(3)
    };
    let weighed = dead_letters::weigh(&test.rows, test.tenant, &of(campaign), SAFE).await;
    assert_eq!(weighed.expect("weighed"), expected, "a dry run says the same");
    assert_eq!(
        test.campaign(campaign).await.counts[MessageState::Dead],
        4,
        "and does nothing"
    );
    assert!(records(&test).await.is_empty());

    assert_eq!(act(&test, &of(campaign), SAFE).await, expected);
    let found = test.campaign(campaign).await;
    assert_eq!(
        (found.standing.state, found.finished_at),
        (CampaignState::Running, None)
    );
    assert_eq!(act(&test, &of(campaign), FORCED).await, moved(1));
    assert_eq!(test.campaign(campaign).await.counts[MessageState::Planned], 4);
    assert_eq!(
        act(&test, &of(campaign), FORCED).await,
        Done::default(),
        "a repeat finds nothing"
    );
    let record = |letters, skipped| {
        let [action, by, why] = ["replay", "a test", "because"].map(str::to_owned);
        (action, by, why, letters, skipped)
    };
    assert_eq!(records(&test).await, [record(3, 1), record(1, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replays_at_once_move_each_letter_once() {
    let test = TestTenant::create().await;
    let campaign = finished(&test).await;
    let filter = of(campaign);
    let (one, other) = tokio::join!(act(&test, &filter, FORCED), act(&test, &filter, FORCED));
    assert_eq!(one.moved + other.moved, 4, "{one:?} {other:?}");
    assert_eq!(test.campaign(campaign).await.counts[MessageState::Planned], 4);
    let recorded: i64 = records(&test).await.iter().map(|record| record.3).sum();
    assert_eq!(recorded, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_purged_has_failed_for_good() {
    let test = TestTenant::create().await;
    let campaign = finished(&test).await;
    assert_eq!(act(&test, &of(campaign), Action::Purge).await, moved(4));
    let found = test.campaign(campaign).await;
    assert_eq!(
        (found.standing.state, found.counts[MessageState::Failed]),
        (CampaignState::Finished, 4)
    );
    assert_eq!(records(&test).await.len(), 1);
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
    let expected = Done {
        campaign_cancelled: 4,
        ..moved(4)
    };
    let all = LetterFilter::default();
    let weighed = dead_letters::weigh(&test.rows, test.tenant, &all, FORCED).await;
    assert_eq!(weighed.expect("weighed"), expected);
    assert_eq!(act(&test, &all, FORCED).await, expected);
    assert_eq!(test.campaign(replayed).await.counts[MessageState::Planned], 4);
    let left = list(&test, &LetterFilter::default()).await;
    assert!(left.len() == 4 && left.iter().all(|dead| dead.campaign == Some(cancelled)));
}

async fn list(test: &TestTenant, filter: &LetterFilter) -> Vec<dead_letters::Letter> {
    let filter = LetterFilter {
        tenant: Some(test.tenant),
        ..filter.clone()
    };
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    let found = dead_letters::list(&mut transaction, &filter, None, 10)
        .await
        .expect("listed");
    transaction.commit().await.expect("committed");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_found_by_class_kind_and_id() {
    let test = TestTenant::create().await;
    let campaign = finished(&test).await;
    let of_class = |class| LetterFilter {
        class: Some(class),
        ..of(campaign)
    };
    assert_eq!(list(&test, &of_class(ErrorClass::Transient)).await.len(), 3);
    let terminal = list(&test, &of_class(ErrorClass::RecipientTerminal)).await;
    assert_eq!(terminal.len(), 1);
    assert_eq!(terminal[0].error_code, Some(131_026));
    assert!(list(&test, &of_class(ErrorClass::NumberHold)).await.is_empty());
    let of_kind = |kind| LetterFilter {
        kind: Some(kind),
        ..LetterFilter::default()
    };
    assert_eq!(
        list(&test, &of_kind(LetterKind::AttemptsExhausted)).await.len(),
        4
    );
    assert!(list(&test, &of_kind(LetterKind::Poison)).await.is_empty());
    let by_id = LetterFilter {
        ids: Some(vec![terminal[0].id]),
        ..LetterFilter::default()
    };
    assert_eq!(act(&test, &by_id, FORCED).await, moved(1));
    assert_eq!(list(&test, &LetterFilter::default()).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_never_changed() {
    let test = TestTenant::create().await;
    let campaign = finished(&test).await;
    act(&test, &of(campaign), Action::Purge).await;
    for statement in [
        "UPDATE dead_letter_actions SET reason = 'another'",
        "DELETE FROM dead_letter_actions",
    ] {
        let mut system = test.system.get().await.expect("a connection");
        assert!(
            system.execute(statement, &[]).await.is_err(),
            "app_system: {statement}"
        );
        let mut rows = test.rows.begin_for(test.tenant).await.expect("a transaction");
        assert!(rows.execute(statement, &[]).await.is_err(), "app_rw: {statement}");
    }
}
