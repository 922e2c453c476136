//! Single messages, lists and timelines.

use domain::ids::MessageId;
use domain::message::MessageState;
use domain::recipient::Recipient;
use malote::content::single_body;
use malote::storage::messages::{self, Message, MessageFilter, NewMessage};
use malote::storage::suppressions;
use serde_json::json;
use uuid::Uuid;

use crate::tenant::{TestTenant, phones};

async fn send(test: &TestTenant, to: &Recipient) -> (MessageId, Option<MessageState>) {
    let body = single_body(None, Some(&json!("Olá"))).expect("a text");
    let new = NewMessage {
        id: MessageId(Uuid::now_v7()),
        sender: test.sender,
        recipient: to,
        body: &body.json,
        parameters: None,
        template: None,
        category: None,
    };
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    let state = messages::insert_single(&mut transaction, test.tenant, &new)
        .await
        .expect("stored");
    transaction.commit().await.expect("committed");
    (new.id, state)
}

async fn list(test: &TestTenant, filter: &MessageFilter, after: Option<MessageId>) -> Vec<Message> {
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    let found = messages::list(&mut transaction, test.tenant, filter, after, 2)
        .await
        .expect("listed");
    transaction.commit().await.expect("committed");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_message_is_queued_unless_its_recipient_opted_out() {
    let test = TestTenant::create().await;
    let to: Recipient = "+5511900000001".parse().expect("a recipient");
    assert_eq!(send(&test, &to).await.1, Some(MessageState::Queued));
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    suppressions::put(&mut transaction, test.tenant, &to, "asked")
        .await
        .expect("stored");
    transaction.commit().await.expect("committed");
    assert_eq!(send(&test, &to).await.1, Some(MessageState::Suppressed));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_gives_its_messages_page_by_page() {
    let test = TestTenant::create().await;
    let campaign = test.draft().await;
    test.add(campaign, &phones(1, 3)).await;
    let to: Recipient = "+5511900000001".parse().expect("a recipient");
    let (single, _) = send(&test, &to).await;
    let of_campaign = MessageFilter {
        campaign: Some(campaign),
        ..MessageFilter::default()
    };
    let first = list(&test, &of_campaign, None).await;
    let second = list(&test, &of_campaign, Some(first[1].id)).await;
    let recipients: Vec<_> = first
        .iter()
        .chain(&second)
        .map(|found| found.recipient.clone())
        .collect();
    assert_eq!(recipients, phones(1, 3));
    let of_recipient = MessageFilter {
        recipient: Some(to),
        ..MessageFilter::default()
    };
    let found = list(&test, &of_recipient, None).await;
    assert_eq!(
        found.iter().map(|found| found.id).collect::<Vec<_>>(),
        [single, first[0].id]
    );
    let queued = MessageFilter {
        state: Some(MessageState::Queued),
        ..MessageFilter::default()
    };
    assert_eq!(list(&test, &queued, None).await.len(), 1);
    assert_eq!(list(&test, &MessageFilter::default(), None).await[0].id, single);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_joins_attempts_and_evidence() {
    let test = TestTenant::create().await;
    let to: Recipient = "+5511900000001".parse().expect("a recipient");
    let (message, _) = send(&test, &to).await;
    let mut transaction = test.rows.begin_for(test.tenant).await.expect("a transaction");
    let (first, last) = (Uuid::now_v7(), Uuid::now_v7());
    transaction
        .execute(
            "INSERT INTO message_attempts (tenant_id, attempt_id, message_id, attempt_number, ended_at, outcome, reason)
             VALUES ($1, $2, $3, 1, now() - interval '1 minute', 'retry', 'busy')",
            &[&test.tenant.0, &first, &message.0],
        )
        .await
        .expect("stored");
    transaction
        .execute(
            "UPDATE messages SET attempt_id = $3 WHERE tenant_id = $1 AND id = $2",
            &[&test.tenant.0, &message.0, &last],
        )
        .await
        .expect("changed");
    transaction
        .execute(
            "INSERT INTO events (tenant_id, id, source, status, attempt_id, occurred_at)
             VALUES ($1, $2, 'meta', 'delivered', $3, now())",
            &[&test.tenant.0, &Uuid::now_v7(), &last],
        )
        .await
        .expect("stored");
    let timeline = messages::timeline(&mut transaction, test.tenant, message)
        .await
        .expect("read");
    transaction.rollback().await.expect("rolled back");
    let said: Vec<_> = timeline
        .iter()
        .map(|happening| (happening.source.as_str(), happening.status.as_str()))
        .collect();
    assert_eq!(said, [("attempt", "retry"), ("meta", "delivered")]);
}
