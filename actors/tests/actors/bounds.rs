//! What is inside an actor stays bounded, however long it cannot work.

use actors::limits::{BILLING_QUEUE_MOST, IN_FLIGHT_MOST, SEND_QUEUE_MOST};
use actors::testing::Trouble;
use domain::message::MessageState;

use crate::rig::{Rig, in_paused_time, sender};

const MINUTES: u64 = 30;

fn depth_of(rig: &Rig, kind: &str) -> f64 {
    rig.sum_of(&format!(
        "malote_actor_queue_depth{{kind=\"{kind}\",stat=\"max\"}}"
    ))
}

#[test]
fn an_outage_of_half_an_hour_fills_no_inbox() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes
            .trouble(tenant, Trouble::TakeOverUnavailable, usize::MAX / 2);
        let messages = rig.fakes.queued(tenant, sender, 4_000);
        let most = [
            ("send_queue", SEND_QUEUE_MOST + IN_FLIGHT_MOST),
            ("billing_counter", BILLING_QUEUE_MOST + IN_FLIGHT_MOST),
            ("rate_limiter", 16),
        ];
        let outage = async {
            for _ in 0..MINUTES {
                rig.run(tenant, 60).await;
                for (kind, most) in most {
                    let (depth, most) = (depth_of(&rig, kind), most as f64);
                    assert!(depth <= most, "{kind}: {depth} inside, {most} at most");
                }
            }
            assert!(depth_of(&rig, "billing_counter") < 600.0, "its ticks pile up");
        };
        let (delivered, ()) = tokio::join!(rig.deliver(tenant, sender, &messages), outage);
        delivered.expect("delivered or left to its rows");
        rig.fakes.state().faults = actors::testing::Faults::default();
        rig.run(tenant, 120).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 4_000);
        assert_eq!(rig.fakes.state().calls.len(), 4_000);
    });
}
