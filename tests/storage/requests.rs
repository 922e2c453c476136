//! What the API's functions answer, from request to answer, without HTTP.

use std::time::Duration;

use domain::ids::CampaignId;
use domain::message::MessageState;
use futures_util::StreamExt as _;
use malote::api::campaigns::{self, CampaignBody, CampaignView, LaunchBody, LiveProgress};
use malote::api::messages::{self, MessageBody};
use malote::api::refused::Refused;
use malote::storage::Redis;
use malote::storage::campaigns::find;
use serde_json::{Value, json};

use crate::tenant::TestTenant;

async fn create(test: &TestTenant, recipients: &Value) -> Result<CampaignView, Refused> {
    let components = json!([{"type": "body", "parameters": [{"type": "text", "text": "{{name}}"}]}]);
    let body: CampaignBody = serde_json::from_value(json!({
        "name": "a campaign", "sender_id": test.sender.0, "recipients": recipients,
        "template": {"name": "welcome", "language": "pt_BR", "components": components},
    }))
    .expect("a body");
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    let created = campaigns::create(&mut transaction, test.tenant, body).await;
    transaction.commit().await.expect("committed");
    created
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_comes_with_its_first_recipients() {
    let test = TestTenant::create().await;
    let recipients = json!([{"recipient": "+5511900000001", "name": "Ana"}, {"recipient": "+5511900000002"}]);
    let view = create(&test, &recipients).await.expect("created");
    let report = view.recipients.expect("a report");
    assert_eq!(
        (report.accepted, report.rejected, report.errors[0].row),
        (1, 1, 2)
    );
    assert_eq!(
        (view.state, view.counts.total, view.counts.planned),
        ("draft", 1, 1)
    );
    let launched = campaigns::launch(
        &test.rows,
        test.tenant,
        CampaignId(view.id),
        &LaunchBody::default(),
    )
    .await
    .expect("launched");
    assert_eq!(launched.state, "running");
    let cancelled = campaigns::cancel(&test.rows, test.tenant, CampaignId(view.id))
        .await
        .expect("cancelled");
    assert_eq!((cancelled.state, cancelled.counts.cancelled), ("cancelled", 1));
    let refused = campaigns::resume(&test.rows, test.tenant, CampaignId(view.id)).await;
    assert!(matches!(
        refused,
        Err(Refused::Conflict {
            code: "campaign_state",
            ..
        })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_campaign_is_not_launched() {
    let test = TestTenant::create().await;
    let view = create(&test, &json!(null)).await.expect("created");
    let refused = campaigns::launch(
        &test.rows,
        test.tenant,
        CampaignId(view.id),
        &LaunchBody::default(),
    )
    .await;
    assert!(matches!(
        refused,
        Err(Refused::Conflict {
            code: "campaign_empty",
            ..
        })
    ));
    let read = campaigns::read(&test.rows, &redis().await, test.tenant, CampaignId(view.id))
        .await
        .expect("read");
    assert_eq!(read.state, "draft");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_tells_what_the_plan_would_do() {
    let test = TestTenant::create().await;
    let recipients: Vec<Value> = (0..5)
        .map(|n| json!({"recipient": format!("+551190000000{n}"), "name": "Ana"}))
        .collect();
    let view = create(&test, &json!(recipients)).await.expect("created");
    let campaign = CampaignId(view.id);
    let without = campaigns::preflight(&test.rows, test.tenant, campaign)
        .await
        .expect("computed");
    assert!(without.estimated_cost.is_none() && without.would_finish_at.is_some());
    test.assign_plan(3).await;
    let with = campaigns::preflight(&test.rows, test.tenant, campaign)
        .await
        .expect("computed");
    assert_eq!(
        (with.valid, with.allowance_left, with.would_block_after),
        (5, Some(3), Some(3))
    );
    assert_eq!(with.estimated_cost.expect("a cost").amount, "0.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_see_a_campaign_until_it_is_over() {
    let test = TestTenant::create().await;
    let recipients = json!([{"recipient": "+5511900000001", "name": "Ana"}]);
    let campaign = CampaignId(create(&test, &recipients).await.expect("created").id);
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    let found = find(&mut transaction, test.tenant, campaign)
        .await
        .expect("read")
        .expect("there");
    transaction.commit().await.expect("committed");
    let live = LiveProgress::start(test.system.clone());
    let seen = live.watch(&found).expect("room for one more");
    campaigns::cancel(&test.rows, test.tenant, campaign)
        .await
        .expect("cancelled");
    let seen: Vec<_> = tokio::time::timeout(Duration::from_secs(10), seen.collect())
        .await
        .expect("it ends");
    let states: Vec<_> = seen
        .iter()
        .map(|progress| progress.standing.state.as_str())
        .collect();
    assert_eq!(
        (states.first(), states.last()),
        (Some(&"draft"), Some(&"cancelled"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_tells_its_story() {
    let test = TestTenant::create().await;
    let body = |to: &str| -> MessageBody {
        serde_json::from_value(json!({"sender_id": test.sender.0, "to": to, "text": "Olá"})).expect("a body")
    };
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    let accepted = messages::store(&mut transaction, test.tenant, &body("+55 11 90000-0001"))
        .await
        .expect("stored");
    let refused = messages::store(&mut transaction, test.tenant, &body("nobody")).await;
    assert!(matches!(refused, Err(Refused::Invalid { field: "to", .. })));
    transaction.commit().await.expect("committed");
    assert_eq!(accepted.state, MessageState::Queued);
    let story = messages::read(&test.rows, test.tenant, accepted.id.into())
        .await
        .expect("read");
    assert_eq!(
        (story.message.recipient.as_str(), story.message.category),
        ("+5511900000001", "service")
    );
    assert_eq!(story.timeline[0].status, "stored");
    let unknown = messages::read(&test.rows, test.tenant, uuid::Uuid::now_v7().into()).await;
    assert!(matches!(unknown, Err(Refused::NotFound("message"))));
}

async fn redis() -> Redis {
    let config = malote::config::load(None, None).expect("the settings are read");
    Redis::connect(&config.redis)
        .await
        .expect("the settings make sense")
}
