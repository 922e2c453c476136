//! Partitions that come and go.

use std::time::Duration;

use actors::node::Settings;
use actors::tenants::DeliverError;
use domain::message::MessageState;
use domain::partition::{Epoch, Partition};

use crate::rig::{PARTITION, in_paused_time, send, sender, with_settings};

#[test]
fn work_for_a_partition_of_another_node_is_refused() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let work = send(sender, &rig.fakes.queued(tenant, sender, 1));
        let refused = rig.tenants().deliver(Partition(9), tenant, work).await;
        assert_eq!(refused, Err(DeliverError::NotOwner));
    });
}

#[test]
fn a_later_owner_ends_this_one() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let mut revoked = rig.tenants().on_revoked();
        let messages = rig.fakes.queued(tenant, sender, 20);
        rig.deliver(tenant, sender, &messages[..10])
            .await
            .expect("delivered");
        rig.fakes.take_over_elsewhere(tenant, Epoch(2));
        let refused = rig.deliver(tenant, sender, &messages[10..]).await;
        assert_eq!(refused, Err(DeliverError::NotOwner));
        assert_eq!(revoked.recv().await, Some(PARTITION));
        assert!(rig.tenants().status().is_empty());
        assert!(rig.shows("malote_partitions_owned 0"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 10);
    });
}

#[test]
fn a_partition_given_up_finishes_what_is_in_flight() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 50);
        let messages = rig.fakes.queued(tenant, sender, 100);
        let tenants = rig.tenants();
        let delivery = rig.deliver(tenant, sender, &messages);
        let handover = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            tenants.revoke(PARTITION, Duration::from_secs(5)).await;
        };
        let (delivered, ()) = tokio::join!(delivery, handover);
        assert_eq!(delivered, Err(DeliverError::NotOwner));
        assert_eq!(rig.count(tenant, MessageState::Sending), 0);
        let accepted = rig.count(tenant, MessageState::Accepted);
        assert!((30..80).contains(&accepted), "{accepted} accepted");
        assert_eq!(rig.count(tenant, MessageState::Queued), 100 - accepted);

        tenants.grant(PARTITION, Epoch(2));
        rig.deliver(tenant, sender, &messages)
            .await
            .expect("delivered again");
        rig.run(tenant, 2).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 100);
        assert_eq!(rig.fakes.state().calls.len(), 100);
    });
}

#[test]
fn an_idle_tenant_leaves_and_comes_back() {
    let settings = Settings {
        passivate_after: Duration::from_secs(5),
        ..Settings::default()
    };
    with_settings(settings, |rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 40);
        for part in messages.chunks(10) {
            rig.deliver(tenant, sender, part).await.expect("delivered");
            assert_eq!(rig.tenants().status().len(), 1);
            rig.run(tenant, 8).await;
            assert!(rig.tenants().status().is_empty(), "idle tenants leave");
        }
        assert_eq!(rig.count(tenant, MessageState::Accepted), 40);
        assert!(rig.shows("malote_actor_restarts_total{kind=\"send_queue\",cause=\"vanished\"} 0"));
    });
}

#[test]
fn a_node_that_stops_waits_for_what_is_in_flight() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 100);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        let (tenants, fakes) = (rig.tenants(), rig.fakes.clone());
        let drained = rig.node.shutdown(Duration::from_secs(5)).await;
        assert_eq!(drained.in_flight_left, 0);
        assert_eq!(fakes.count(tenant, MessageState::Accepted), 100);
        let late = tenants.deliver(PARTITION, tenant, send(sender, &messages)).await;
        assert_eq!(late, Err(DeliverError::Stopping));
    });
}
