//! Tenants that leave whenever nobody looks, and come back with their next message.

use std::time::Duration;

use actors::node::Settings;
use actors::tenants::Work;
use domain::message::MessageState;

use crate::rig::{PARTITION, Rig, send, sender, with_settings};

const TENANTS: usize = 8;
const ROUNDS: usize = 40;

#[test]
fn a_storm_of_passivations_loses_nothing() {
    let settings = Settings {
        passivate_after: Duration::ZERO,
        ..Settings::default()
    };
    with_settings(settings, |rig| async move {
        let working = futures_util::future::join_all((0..TENANTS).map(|number| work(&rig, number)));
        let storm = async {
            let mut left = 0;
            loop {
                let before = rig.tenants().status().len();
                rig.tenants().tick(PARTITION).await;
                left += before.saturating_sub(rig.tenants().status().len());
                tokio::time::sleep(Duration::from_millis(1)).await;
                if rig.fakes.state().calls.len() == TENANTS * ROUNDS * 3 && rig.tenants().status().is_empty()
                {
                    return left;
                }
            }
        };
        let (_, left) = tokio::join!(working, storm);
        assert!(left > TENANTS * ROUNDS / 4, "only {left} passivations: no storm");
        assert!(rig.shows("malote_actor_restarts_total{kind=\"send_queue\",cause=\"vanished\"} 0"));
    });
}

#[test]
fn a_tenant_that_has_left_holds_nothing_any_more() {
    let settings = Settings {
        passivate_after: Duration::from_secs(5),
        ..Settings::default()
    };
    with_settings(settings, |rig| async move {
        for _ in 0..3 {
            let (tenant, sender) = (rig.fakes.tenant(None), sender());
            let messages = rig.fakes.queued(tenant, sender, 10);
            rig.deliver(tenant, sender, &messages).await.expect("delivered");
            assert!(rig.shows("malote_actors_alive{kind=\"send_queue\"} 1"));
            rig.run(tenant, 10).await;
            assert!(rig.tenants().status().is_empty());
            // Its memory is gone, not only its name: one reference to its world would keep it alive.
            assert!(rig.shows("malote_actors_alive{kind=\"send_queue\"} 0"));
        }
    });
}

/// Sends and settles three messages at a time, with pauses of all lengths around the time of a commit.
async fn work(rig: &Rig, number: usize) {
    let (tenant, sender) = (rig.fakes.tenant(None), sender());
    let tenants = rig.tenants();
    for round in 0..ROUNDS {
        let messages = rig.fakes.queued(tenant, sender, 3);
        let delivered = tenants.deliver(PARTITION, tenant, send(sender, &messages)).await;
        delivered.expect("delivered");
        let pause = u64::try_from((round * 7 + number * 3) % 90).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let events = messages
            .iter()
            .map(|message| rig.fakes.capture(*message))
            .collect();
        let applied = tenants.deliver(PARTITION, tenant, Work::Events(events)).await;
        applied.expect("applied");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let all = ROUNDS * 3;
    assert_eq!(rig.count(tenant, MessageState::Accepted), all);
    let head = rig.fakes.head(tenant);
    assert_eq!((head.held, usize::try_from(head.captured)), (0, Ok(all)));
}
