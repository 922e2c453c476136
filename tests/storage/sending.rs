//! What a tenant's owner does on real rows: unknown messages settled once and by the owner alone, a portfolio's people counted exactly,
//! limiters that no earlier owner moves back, holds that every node sees.

use std::time::Duration;

use actors::ports::{
    Claim, Ledger, LimiterStore, Messages, Settled, StoredLimiter, TenantCommit, Verdict, Way,
};
use domain::campaign::{CampaignState, PauseReason, Standing};
use domain::ids::{AttemptId, CampaignId, MessageId, SenderId};
use domain::message::MessageState;
use domain::partition::Epoch;
use domain::recipient::Recipient;
use domain::unknown::{SettledBy, UnknownPolicy};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use malote::storage::Redis;
use malote::storage::committer::Committer;
use malote::storage::count_changes::{CountChanges, Writer};
use malote::storage::limiter::Limiters;
use malote::storage::sender_directory::SenderDirectory;
use malote::storage::suppressions;
use malote::storage::unknown::{self, UnknownFilter};
use malote::trial::eventually;
use uuid::Uuid;

use crate::tenant::{TestTenant, phones};

const EPOCH: Epoch = Epoch(3);

/// Makes a tenant with a ledger and a running campaign of so many queued messages.
async fn with_queued(recipients: usize) -> (TestTenant, CampaignId, Vec<MessageId>) {
    let test = TestTenant::create().await;
    test.assign_plan(1_000).await;
    test.open_ledger().await;
    let campaign = test.draft().await;
    test.add(campaign, &phones(0, recipients)).await;
    test.change(campaign, |standing| standing.launch(false)).await;
    let queued = queue(&test, campaign).await;
    (test, campaign, queued)
}

/// Queues all that is planned.
async fn queue(test: &TestTenant, campaign: CampaignId) -> Vec<MessageId> {
    let mut transaction = test.system.begin().await.expect("the database answers");
    let rows = transaction
        .query(
            "UPDATE messages SET state = 'queued', due_at = NULL, queued_at = now()
             WHERE tenant_id = $1 AND state = 'planned' RETURNING id",
            &[&test.tenant.0],
        )
        .await
        .expect("the database answers");
    let mut changes = CountChanges::default();
    for _ in &rows {
        let (from, to) = (MessageState::Planned, MessageState::Queued);
        changes.moved(test.tenant, Some(campaign), from, to);
    }
    changes
        .write(&mut transaction, Writer::Planner)
        .await
        .expect("the database answers");
    transaction.commit().await.expect("the database answers");
    let mut ids: Vec<_> = rows.iter().map(|row| MessageId(row.get(0))).collect();
    ids.sort_unstable();
    ids
}

/// Claims messages, and gives the attempts of those that were claimed, and the numbers that are held.
async fn claim(
    test: &TestTenant,
    committer: &Committer,
    messages: &[MessageId],
    deadline: Duration,
) -> (Vec<(MessageId, AttemptId)>, Vec<(SenderId, Timestamp)>) {
    let head = committer
        .take_over(test.tenant, EPOCH)
        .await
        .expect("the database answers");
    let claims = messages.iter().map(|message| Claim {
        message: *message,
        attempt: AttemptId(Uuid::now_v7()),
    });
    let work = TenantCommit {
        tenant: test.tenant,
        epoch: EPOCH,
        expected_seq: head.seq,
        claims: claims.collect(),
        deadline,
        events: Vec::new(),
    };
    let committed = committer.commit(work).await.expect("the database answers");
    let claimed = committed.claimed.iter();
    (
        claimed
            .map(|claimed| (claimed.message, claimed.attempt))
            .collect(),
        committed.held,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_message_is_sent_again_once_and_by_its_owner_alone() {
    let (test, campaign, queued) = with_queued(3).await;
    let committer = Committer::start(test.system.clone());
    let (claimed, _) = claim(&test, &committer, &queued, Duration::ZERO).await;
    assert_eq!(claimed.len(), 3);
    let live = claimed[2].1;
    eventually("two are past their deadline", Duration::from_secs(5), || async {
        let expired = committer.expire_sending(test.tenant, vec![live]).await?;
        Ok((expired == 2).then_some(()))
    })
    .await
    .unwrap();
    let accepted = Settled {
        tenant: test.tenant,
        message: claimed[2].0,
        attempt: live,
        verdict: Verdict::Accepted {
            wamid: "wamid.1".to_owned(),
        },
    };
    committer.settle(accepted).await.unwrap();
    let woken = unknown::to_wake(&test.system).await.unwrap();
    assert!(
        !woken.contains(&test.tenant),
        "nothing is to be done about them yet"
    );
    let kept = committer.settle_unknown(test.tenant, EPOCH).await.unwrap();
    assert!(kept.events.is_empty(), "{kept:?}");

    let mut transaction = test.rows.begin_for(test.tenant).await.unwrap();
    let filter = UnknownFilter {
        campaign: Some(campaign),
        ids: None,
    };
    let wished = unknown::wish(&mut transaction, test.tenant, &filter, UnknownPolicy::Resend).await;
    assert_eq!(wished.unwrap(), 2);
    transaction.commit().await.unwrap();
    assert!(
        unknown::to_wake(&test.system)
            .await
            .unwrap()
            .contains(&test.tenant)
    );
    let stale = committer.settle_unknown(test.tenant, Epoch(2)).await.unwrap();
    assert!(stale.events.is_empty(), "an earlier owner decides nothing");
    let settled = committer.settle_unknown(test.tenant, EPOCH).await.unwrap();
    assert_eq!(
        (settled.events.len(), settled.by),
        (2, vec![(SettledBy::HandResend, 2)])
    );
    let again = committer.settle_unknown(test.tenant, EPOCH).await.unwrap();
    assert!(again.events.is_empty());
    let found = test.campaign(campaign).await;
    assert_eq!(found.counts[MessageState::Planned], 2);
    assert_eq!(found.standing.state, CampaignState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_cancelled_campaign_is_sent_again() {
    let (test, campaign, queued) = with_queued(1).await;
    let committer = Committer::start(test.system.clone());
    claim(&test, &committer, &queued, Duration::ZERO).await;
    eventually("it is past its deadline", Duration::from_secs(5), || async {
        let expired = committer.expire_sending(test.tenant, Vec::new()).await?;
        Ok((expired == 1).then_some(()))
    })
    .await
    .unwrap();
    test.change(campaign, |standing| standing.cancel()).await;
    for (wish, left) in [(UnknownPolicy::Resend, 1), (UnknownPolicy::Fail, 0)] {
        let mut transaction = test.rows.begin_for(test.tenant).await.unwrap();
        let all = UnknownFilter::default();
        unknown::wish(&mut transaction, test.tenant, &all, wish)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        committer.settle_unknown(test.tenant, EPOCH).await.unwrap();
        let found = test.campaign(campaign).await;
        assert_eq!(found.counts[MessageState::Unknown], left, "{wish}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portfolio_counts_people_exactly_and_frees_the_place_of_a_refusal() {
    let (test, campaign, queued) = with_queued(4).await;
    let committer = Committer::start(test.system.clone());
    let portfolio = Uuid::now_v7().to_string();
    let mut connection = test.system.get().await.unwrap();
    connection
        .execute(
            "INSERT INTO portfolios (id, tenant_id, messaging_limit) VALUES ($1, $2, 3)",
            &[&portfolio, &test.tenant.0],
        )
        .await
        .unwrap();
    connection
        .execute(
            "UPDATE senders SET portfolio_id = $2 WHERE tenant_id = $1",
            &[&test.tenant.0, &portfolio],
        )
        .await
        .unwrap();
    let long = Duration::from_secs(60);
    let (claimed, held) = claim(&test, &committer, &queued, long).await;
    assert_eq!(claimed.len(), 3);
    assert_eq!(held.len(), 1, "the number rests");
    assert_eq!(held[0].0, test.sender);
    let found = test.campaign(campaign).await;
    assert_eq!(
        found.counts[MessageState::Planned],
        1,
        "unclaimed, and nothing reserved"
    );
    assert_eq!(committer.take_over(test.tenant, EPOCH).await.unwrap().held, 3);

    let refused = Settled {
        tenant: test.tenant,
        message: claimed[0].0,
        attempt: claimed[0].1,
        verdict: Verdict::Failed {
            code: 131_026,
            reason: "undeliverable".to_owned(),
        },
    };
    committer.settle(refused).await.unwrap();
    let waiting = queue(&test, campaign).await;
    let (claimed, held) = claim(&test, &committer, &waiting, long).await;
    assert_eq!((claimed.len(), held.len()), (1, 0), "the refusal's place is free");
    let row = connection
        .query_one("SELECT reached FROM portfolios WHERE id = $1", &[&portfolio])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 3);
}

/// Makes limiters under a prefix of their own.
async fn limiters(test: &TestTenant, prefix: &str) -> Limiters {
    let mut settings = malote::config::load(None, None)
        .expect("settings and Redis")
        .redis;
    settings.prefix = prefix.to_owned();
    let redis = Redis::connect(&settings).await.expect("settings and Redis");
    let senders = SenderDirectory::new(test.system.clone());
    Limiters::start(redis, test.system.clone(), senders)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_owner_never_moves_a_limiter_back() {
    let test = TestTenant::create().await;
    let prefix = format!("test:{}:", test.tenant);
    let limiters = limiters(&test, &prefix).await;
    let state = |rate: f64| StoredLimiter {
        theoretical_arrival: Timestamp::from_second(1_700_000_000).unwrap(),
        rate,
        pairs: vec![(7, Timestamp::from_second(1_700_000_100).unwrap())],
    };
    let (tenant, sender) = (test.tenant, test.sender);
    limiters.save(tenant, sender, Epoch(2), state(40.0)).await;
    limiters.save(tenant, sender, Epoch(5), state(20.0)).await;
    limiters.save(tenant, sender, Epoch(4), state(80.0)).await;
    let limits = limiters.load(tenant, sender).await.unwrap();
    assert_eq!(limits.stored, Some(state(20.0)));
    assert_eq!(limits.ways[1], Way::Account("waba".to_owned()));
    assert_eq!(limits.plan_messages_per_second, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_seen_by_every_node_and_lasts_until_the_latest_time() {
    let test = TestTenant::create().await;
    let prefix = format!("test:{}:", test.tenant);
    let (here, there) = (limiters(&test, &prefix).await, limiters(&test, &prefix).await);
    let ways = [Way::App("one".to_owned())];
    assert_eq!(there.held_until(&ways), None);
    let now = Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap();
    let (short, long) = (
        now + SignedDuration::from_secs(30),
        now + SignedDuration::from_secs(60),
    );
    here.hold(ways[0].clone(), long).await;
    here.hold(ways[0].clone(), short).await;
    assert_eq!(here.held_until(&ways), Some(long), "known here at once");
    eventually("the other node knows", Duration::from_secs(10), || async {
        Ok((there.held_until(&ways) == Some(long)).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(there.held_until(&[Way::App("another".to_owned())]), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_answer_to_a_pause_nothing_is_claimed_and_nothing_is_lost() {
    let (test, campaign, queued) = with_queued(8).await;
    let committer = Committer::start(test.system.clone());
    let long = Duration::from_secs(60);
    // A claim that races the pause wins with all of its rows if it read them before, else with none.
    let ((racing, _), _) = tokio::join!(
        claim(&test, &committer, &queued[..4], long),
        test.change(campaign, |standing| standing.pause(PauseReason::Manual))
    );
    assert!([0, 4].contains(&racing.len()), "{}", racing.len());
    let (late, _) = claim(&test, &committer, &queued[4..], long).await;
    assert!(late.is_empty(), "claimed after the pause");
    let counts = test.campaign(campaign).await.counts;
    let sending = i64::try_from(racing.len()).expect("a small number");
    assert_eq!(counts[MessageState::Sending], sending);
    assert_eq!(counts[MessageState::Planned], 8 - sending);
    test.change(campaign, Standing::resume).await;
    let again = queue(&test, campaign).await;
    assert_eq!(claim(&test, &committer, &again, long).await.0.len(), again.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opts_out_or_sleeps_after_the_launch_is_not_claimed() {
    let (test, campaign, queued) = with_queued(3).await;
    let committer = Committer::start(test.system.clone());
    let long = Duration::from_secs(60);
    let mut transaction = test
        .rows
        .begin_for(test.tenant)
        .await
        .expect("the database answers");
    let gone: Recipient = phones(1, 1)[0].parse().expect("a recipient");
    suppressions::put(&mut transaction, test.tenant, &gone, "asked")
        .await
        .expect("the database answers");
    transaction.commit().await.expect("the database answers");
    assert_eq!(claim(&test, &committer, &queued[..2], long).await.0.len(), 1);
    let counts = test.campaign(campaign).await.counts;
    assert_eq!(counts[MessageState::Suppressed], 1);
    // The window closes for the third: the tenant's clock is UTC's, and no hour is open twice a day.
    let hour = TimeZone::UTC.to_datetime(Timestamp::now()).hour();
    let (start, end) = ((hour + 6) % 22, (hour + 6) % 22 + 1);
    let window = format!(
        r#"{{"start":"{start:02}:00","end":"{end:02}:00","days":["mon","tue","wed","thu","fri","sat","sun"],"zone":"tenant"}}"#
    );
    let mut connection = test.system.get().await.expect("the database answers");
    connection
        .execute(
            "UPDATE campaigns SET sending_window = $2::text::json WHERE id = $1",
            &[&campaign.0, &window],
        )
        .await
        .expect("the database answers");
    assert!(claim(&test, &committer, &queued[2..], long).await.0.is_empty());
    assert_eq!(test.campaign(campaign).await.counts[MessageState::Planned], 1);
}
