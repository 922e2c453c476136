//! Poison: what failed again and again is dead, once, and is counted so.

use actors::ports::Poison;
use domain::ids::MessageId;
use domain::message::MessageState;
use malote::storage::message_rows;

use crate::late_events::{late_event, late_events};
use crate::tenant::{TestTenant, phones};

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_dead_once_and_found_with_its_reason() {
    let test = TestTenant::create().await;
    let campaign = test.draft().await;
    test.add(campaign, &phones(0, 3)).await;
    test.change(campaign, |standing| standing.launch(false)).await;
    let queued: Vec<MessageId> = {
        let mut transaction = test.system.begin().await.unwrap();
        let rows = transaction
            .query(
                "UPDATE messages SET state = 'queued', due_at = NULL, queued_at = now() WHERE tenant_id = $1 RETURNING id",
                &[&test.tenant.0],
            )
            .await
            .unwrap();
        let mut changes = malote::storage::count_changes::CountChanges::default();
        changes.added(test.tenant, campaign, MessageState::Planned, -3);
        changes.added(test.tenant, campaign, MessageState::Queued, 3);
        changes
            .write(&mut transaction, malote::storage::count_changes::Writer::Planner)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        rows.iter().map(|row| MessageId(row.get(0))).collect()
    };
    let poison = Poison {
        tenant: test.tenant,
        messages: queued[..1].to_vec(),
        events: Vec::new(),
        reason: "a row makes no sense".to_owned(),
    };
    message_rows::bury(&test.system, &poison).await.unwrap();
    message_rows::bury(&test.system, &poison).await.unwrap();
    let found = test.campaign(campaign).await;
    assert_eq!(
        (
            found.counts[MessageState::Dead],
            found.counts[MessageState::Queued]
        ),
        (1, 2)
    );
    let mut connection = test.system.get().await.unwrap();
    let row = connection
        .query_one(
            "SELECT dead_kind, error_reason, dead_at IS NOT NULL FROM messages WHERE tenant_id = $1 AND id = $2",
            &[&test.tenant.0, &queued[0].0],
        )
        .await
        .unwrap();
    assert_eq!(
        (
            row.get::<_, &str>(0),
            row.get::<_, &str>(1),
            row.get::<_, bool>(2)
        ),
        ("poison", "a row makes no sense", true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_event_is_not_looked_for_again() {
    let test = TestTenant::create().await;
    let event = late_event(&test, "1 hour").await;
    assert_eq!(late_events(&test, 10_000).await, [event]);
    let poison = Poison {
        tenant: test.tenant,
        messages: Vec::new(),
        events: vec![event],
        reason: "a row makes no sense".to_owned(),
    };
    message_rows::bury(&test.system, &poison).await.unwrap();
    message_rows::bury(&test.system, &poison).await.unwrap();
    assert_eq!(late_events(&test, 10_000).await, []);
}
