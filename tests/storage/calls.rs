//! The last look before a call to Meta, with the real client, a stored sender and a simulated Meta.

use std::sync::Arc;
use std::time::Duration;

use actors::ports::{Claimed, Content, Meta as _, SendOutcome};
use domain::category::Category;
use domain::ids::{AttemptId, MessageId};
use malote::meta::{Client, Lease, Licence};
use malote::storage::sender_directory::SenderDirectory;
use simulator::{Config, Simulator};
use tokio::time::Instant;
use uuid::Uuid;

use crate::tenant::TestTenant;

const CLAIM_DEADLINE: Duration = Duration::from_secs(5);

fn claimed(test: &TestTenant) -> Arc<Claimed> {
    let template = r#"{"name": "order_update", "language": "en_US", "components": [
        {"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}]}"#;
    Arc::new(Claimed {
        message: MessageId(Uuid::now_v7()),
        attempt: AttemptId(Uuid::now_v7()),
        attempt_number: 1,
        counted_before: 0,
        campaign: None,
        sender: test.sender,
        recipient: "+5511900000001".parse().expect("a recipient"),
        category: Category::Utility,
        content: Content {
            body: template.into(),
            parameters: None,
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_past_its_deadline_is_never_called() {
    let test = TestTenant::create().await;
    let simulator = Simulator::start(Config::for_tests()).await.expect("a simulator");
    let mut settings = malote::config::load(None, None)
        .expect("the settings are read")
        .meta;
    settings.base_url = simulator.base_url();
    let licence = Licence {
        lease: Lease::begin(),
        claim_deadline: CLAIM_DEADLINE,
    };
    let client = Client::new(&settings, SenderDirectory::new(test.system.clone()), licence);
    let in_time = client.send(claimed(&test), Instant::now() + CLAIM_DEADLINE).await;
    assert!(matches!(in_time, SendOutcome::Accepted { .. }), "{in_time:?}");
    // Read, rendered and ready, but a moment too late.
    let late = client.send(claimed(&test), Instant::now()).await;
    assert!(matches!(late, SendOutcome::NotBegun { .. }), "{late:?}");
    assert_eq!(simulator.truth().accepted, 1, "nothing of it left");
    simulator.stop().await;
}
