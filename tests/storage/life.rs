//! What moves campaigns on its own: canaries, windows, plans and news of Meta, each step once however many planners look.

use std::collections::BTreeSet;

use domain::campaign::{CampaignState, PauseReason, Standing};
use domain::canary::{CanaryState, OnSuccess};
use domain::ids::CampaignId;
use domain::message::MessageState;
use domain::meta_news::Effect;
use domain::sending_window::{SendingWindow, WindowZone};
use jiff::{Timestamp, ToSpan as _};
use malote::storage::canaries::{self, NewCanary};
use malote::storage::count_changes::{CountChanges, Writer};
use malote::storage::meta_news::{self, News, TemplateKey};
use malote::storage::planning::Source;
use malote::storage::{campaign_events, number_holds, planning, revivals, taking};
use malote::trial::eventually;

use crate::tenant::{TestTenant, phones};

/// A campaign that runs, with a canary of so many percent.
async fn with_canary(
    test: &TestTenant,
    recipients: usize,
    percent: f64,
    on_success: OnSuccess,
) -> CampaignId {
    let campaign = test.draft().await;
    test.add(campaign, &phones(0, recipients)).await;
    let canary = NewCanary {
        percent,
        hold_seconds: 0,
        max_failure_percent: 10.0,
        on_success,
    };
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("an answer");
    canaries::set(&mut transaction, test.tenant, campaign, Some(canary))
        .await
        .expect("an answer");
    transaction.commit().await.expect("an answer");
    test.change(campaign, |standing| standing.launch(false)).await;
    campaign
}

/// The campaign as planners see it.
async fn source(test: &TestTenant, campaign: CampaignId) -> Option<Source> {
    let sources = planning::sources(&test.system).await.expect("an answer");
    sources
        .into_iter()
        .find(|source| source.campaign == Some(campaign))
}

/// Lets two planners look at canaries at once until ours stands where it should: those of other tests look at it too.
async fn two_planners_advance(test: &TestTenant, campaign: CampaignId, expected: CanaryState) {
    eventually("the canary advances", WITHIN, || async {
        let (one, other) = tokio::join!(canaries::advance(&test.system), canaries::advance(&test.system));
        one.expect("an answer");
        other.expect("an answer");
        let state = canary_state(test, campaign).await.0;
        anyhow::ensure!(state == expected, "it is {state:?}");
        Ok(Some(()))
    })
    .await
    .expect("an advance");
}

/// Waits until a campaign stands where it should, letting two planners work meanwhile.
async fn until_standing<F>(test: &TestTenant, campaign: CampaignId, expected: Standing, work: impl Fn() -> F)
where
    F: Future<Output = ()>,
{
    eventually("the campaign stands where it should", WITHIN, || async {
        tokio::join!(work(), work());
        let standing = test.campaign(campaign).await.standing;
        anyhow::ensure!(standing == expected, "it stands at {standing:?}");
        Ok(Some(()))
    })
    .await
    .expect("a standing");
}

const WITHIN: std::time::Duration = std::time::Duration::from_secs(30);
const RUNNING: Standing = Standing {
    state: CampaignState::Running,
    reason: None,
};

/// Lets every queued message of a campaign end in a state.
async fn end_all(test: &TestTenant, campaign: CampaignId, state: MessageState) -> i64 {
    let mut transaction = test.system.begin().await.expect("an answer");
    let ended = transaction
        .execute(
            "UPDATE messages SET state = $3, queued_at = NULL WHERE tenant_id = $1 AND campaign_id = $2 AND state = 'queued'",
            &[&test.tenant.0, &campaign.0, &state.as_str()],
        )
        .await
        .expect("an answer");
    let ended = i64::try_from(ended).expect("an answer");
    let mut changes = CountChanges::default();
    changes.added(test.tenant, campaign, MessageState::Queued, -ended);
    changes.added(test.tenant, campaign, state, ended);
    changes
        .write(&mut transaction, Writer::Committer)
        .await
        .expect("an answer");
    transaction.commit().await.expect("an answer");
    ended
}

async fn canary_state(test: &TestTenant, campaign: CampaignId) -> (CanaryState, i64) {
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("an answer");
    let stored = canaries::find(&mut transaction, test.tenant, campaign)
        .await
        .expect("an answer");
    transaction.commit().await.expect("an answer");
    let stored = stored.expect("a canary");
    (stored.canary.state, stored.canary.size)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_canary_leaves_until_it_passed() {
    let test = TestTenant::create().await;
    let campaign = with_canary(&test, 200, 5.0, OnSuccess::Continue).await;
    // Another test's planner may have drawn its members already.
    let may_leave = source(&test, campaign).await;
    assert!(may_leave.is_none_or(|source| source.only_canary));
    two_planners_advance(&test, campaign, CanaryState::Sending).await;
    assert_eq!(canary_state(&test, campaign).await.1, 10);
    let canary = source(&test, campaign).await.expect("the canary may leave");
    assert!(canary.only_canary);
    // Two planners at once take each member once, and nobody else.
    let wanted = [(canary, 100)];
    let (one, other) = tokio::join!(
        taking::take(&test.system, &wanted),
        taking::take(&test.system, &wanted)
    );
    let taken = one.unwrap().into_iter().chain(other.unwrap());
    let messages: Vec<_> = taken.flat_map(|taken| taken.messages).collect();
    assert_eq!(messages.len(), 10);
    assert_eq!(messages.iter().collect::<BTreeSet<_>>().len(), 10);
    assert_eq!(end_all(&test, campaign, MessageState::Delivered).await, 10);
    two_planners_advance(&test, campaign, CanaryState::Passed).await;
    let rest = source(&test, campaign).await.expect("the rest follows");
    assert!(!rest.only_canary);
    assert_eq!(test.campaign(campaign).await.counts[MessageState::Planned], 190);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_pauses_once_and_a_hand_lets_the_rest_go() {
    let test = TestTenant::create().await;
    let campaign = with_canary(&test, 100, 10.0, OnSuccess::Continue).await;
    two_planners_advance(&test, campaign, CanaryState::Sending).await;
    let canary = source(&test, campaign).await.expect("the canary may leave");
    taking::take(&test.system, &[(canary, 100)]).await.unwrap();
    end_all(&test, campaign, MessageState::Failed).await;
    two_planners_advance(&test, campaign, CanaryState::Failed).await;
    two_planners_advance(&test, campaign, CanaryState::Failed).await;
    let found = test.campaign(campaign).await;
    assert_eq!(found.standing.reason, Some(PauseReason::CanaryFailed));
    let mut transaction = test.rows.begin_for(test.tenant).await.unwrap();
    let history = campaign_events::history(&mut transaction, test.tenant, campaign, 10)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let pauses = history
        .iter()
        .filter(|event| event.to_reason.as_deref() == Some("canary_failed"));
    assert_eq!(pauses.count(), 1, "{history:?}");
    test.change(campaign, Standing::resume).await;
    let rest = source(&test, campaign).await.expect("the rest may leave");
    assert!(!rest.only_canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_may_be_looked_at_before_the_rest_goes() {
    let test = TestTenant::create().await;
    let campaign = with_canary(&test, 10, 10.0, OnSuccess::Wait).await;
    two_planners_advance(&test, campaign, CanaryState::Sending).await;
    let canary = source(&test, campaign).await.expect("the canary may leave");
    taking::take(&test.system, &[(canary, 100)]).await.unwrap();
    end_all(&test, campaign, MessageState::Read).await;
    two_planners_advance(&test, campaign, CanaryState::Passed).await;
    assert_eq!(
        test.campaign(campaign).await.standing.reason,
        Some(PauseReason::CanaryPassed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sleeps_is_put_off_to_the_opening_and_who_is_awake_is_taken() {
    let test = TestTenant::create().await;
    let now = Timestamp::now();
    let hour = jiff::tz::TimeZone::get("Pacific/Auckland")
        .unwrap()
        .to_datetime(now)
        .hour()
        .min(22);
    let (start, end) = (format!("{hour:02}:00"), format!("{:02}:00", hour + 2));
    let window = SendingWindow::new(&start, &end, None::<&[&str]>, WindowZone::Recipient).unwrap();
    let campaign = test.draft_with(Some(window)).await;
    let awake: Vec<String> = (0..5).map(|index| format!("+6421{index:07}")).collect();
    test.add(campaign, &phones(0, 1_500)).await;
    test.add(campaign, &awake).await;
    test.change(campaign, |standing| standing.launch(false)).await;
    let mut taken = Vec::new();
    for _ in 0..4 {
        let source = source(&test, campaign)
            .await
            .expect("each has a clock of their own");
        taken.extend(taking::take(&test.system, &[(source, 50)]).await.unwrap());
    }
    let messages = taken.iter().map(|taken| taken.messages.len()).sum::<usize>();
    assert_eq!(messages, 5);
    let mut transaction = test.rows.begin_for(test.tenant).await.unwrap();
    let row = transaction
        .query_one(
            "SELECT count(*) FILTER (WHERE due_at > now()) AS put_off, min(due_at) AS first FROM messages
             WHERE tenant_id = $1 AND campaign_id = $2 AND due_at IS NOT NULL",
            &[&test.tenant.0, &campaign.0],
        )
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(row.get::<_, i64>("put_off"), 1_500);
    let first: Timestamp = row.get("first");
    assert!(first < now.checked_add(25.hours()).unwrap(), "{first}");
    assert_eq!(test.campaign(campaign).await.counts[MessageState::Queued], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_room_again_resumes_once_and_a_pause_by_hand_stays() {
    let test = TestTenant::create().await;
    test.assign_plan(10).await;
    let (blocked, by_hand) = (test.draft().await, test.draft().await);
    for campaign in [blocked, by_hand] {
        test.add(campaign, &phones(0, 3)).await;
        test.change(campaign, |standing| standing.launch(false)).await;
    }
    test.change(blocked, |standing| standing.pause(PauseReason::PlanBlocked))
        .await;
    test.change(by_hand, |standing| standing.pause(PauseReason::Manual))
        .await;
    until_standing(&test, blocked, RUNNING, async || {
        revivals::plans_with_room(&test.system).await.map(|_| ()).unwrap()
    })
    .await;
    assert_eq!(
        test.campaign(by_hand).await.standing.reason,
        Some(PauseReason::Manual)
    );
    let mut transaction = test.rows.begin_for(test.tenant).await.unwrap();
    let history = campaign_events::history(&mut transaction, test.tenant, blocked, 10)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let resumed = history
        .iter()
        .filter(|event| event.from_reason.as_deref() == Some("plan_blocked"));
    assert_eq!(resumed.count(), 1, "{history:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_word_of_meta_that_comes_late_changes_nothing() {
    let test = TestTenant::create().await;
    let campaign = test.draft().await;
    test.add(campaign, &phones(0, 3)).await;
    test.change(campaign, |standing| standing.launch(false)).await;
    let key = TemplateKey {
        waba_id: "waba",
        name: "welcome",
        language: "pt_BR",
    };
    let at = Timestamp::now();
    let hear = async |effect, at, words| {
        let mut transaction = test.system.begin().await.unwrap();
        let news = News { effect, at, words };
        let moved = meta_news::template(&mut transaction, test.tenant, key, "PAUSED", news).await;
        transaction.commit().await.unwrap();
        moved.unwrap()
    };
    assert_eq!(hear(Effect::Stopped, at, "paused").await, 1);
    let older = at.checked_sub(1.minute()).unwrap();
    assert_eq!(hear(Effect::Sendable, older, "approved before").await, 0);
    assert_eq!(
        test.campaign(campaign).await.standing.reason,
        Some(PauseReason::TemplatePaused)
    );
    let newer = at.checked_add(1.minute()).unwrap();
    assert_eq!(hear(Effect::Sendable, newer, "approved").await, 1);
    assert_eq!(hear(Effect::Sendable, newer, "approved").await, 0, "said twice");
    assert_eq!(
        test.campaign(campaign).await.standing.state,
        CampaignState::Running
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_rests_and_is_tried_again_by_one_planner() {
    let test = TestTenant::create().await;
    let campaign = test.draft().await;
    test.add(campaign, &phones(0, 3)).await;
    test.change(campaign, |standing| standing.launch(false)).await;
    let rest = async |until: &str| {
        let mut connection = test.system.get().await.unwrap();
        connection
            .execute(
                "UPDATE senders SET state = 'held', held_until = now() + $2::text::interval WHERE id = $1",
                &[&test.sender.0, &until],
            )
            .await
            .unwrap();
    };
    rest("1 hour").await;
    let held = Standing {
        state: CampaignState::Paused,
        reason: Some(PauseReason::NumberHold),
    };
    let keep = async || number_holds::keep(&test.system).await.map(|_| ()).unwrap();
    until_standing(&test, campaign, held, keep).await;
    rest("-1 second").await;
    until_standing(&test, campaign, RUNNING, keep).await;
}
