//! Actors that fail.

use actors::ports::PauseScope;
use actors::testing::Trouble;
use domain::campaign::PauseReason;
use domain::ids::TenantId;
use domain::message::MessageState;

use crate::rig::{Rig, in_paused_time, sender};

#[test]
fn a_panic_in_billing_loses_nothing() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(Some(200)), sender());
        let messages = rig.fakes.queued(tenant, sender, 200);
        rig.fakes.trouble(tenant, Trouble::CommitPanics, 1);
        rig.fakes.trouble(tenant, Trouble::CommitPanicsLater, 1);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 5).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 200);
        assert_eq!(rig.fakes.state().calls.len(), 200);
        assert!(rig.shows("malote_actor_restarts_total{kind=\"billing_counter\",cause=\"panic\"} 1"));
        assert!(rig.shows("malote_actor_restarts_total{kind=\"billing_counter\",cause=\"fault\"} 1"));
    });
}

#[test]
fn a_panic_in_the_queue_loses_nothing() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 60);
        let messages = rig.fakes.queued(tenant, sender, 500);
        let delivery = rig.deliver(tenant, sender, &messages);
        let trouble = async {
            rig.run(tenant, 3).await;
            rig.fakes.trouble(tenant, Trouble::ExpirePanics, 2);
            rig.run(tenant, 20).await;
        };
        let (delivered, ()) = tokio::join!(delivery, trouble);
        delivered.expect("delivered");
        assert_eq!(rig.count(tenant, MessageState::Accepted), 500);
        assert_eq!(rig.fakes.state().calls.len(), 500);
        assert!(rig.shows("malote_actor_restarts_total{kind=\"send_queue\",cause=\"panic\"} 2"));
    });
}

#[test]
fn a_panic_in_the_limiter_loses_nothing_and_lends_no_burst() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 100);
        let messages = rig.fakes.queued(tenant, sender, 400);
        rig.fakes.trouble(tenant, Trouble::SavePanics, 2);
        let (delivered, ()) = tokio::join!(rig.deliver(tenant, sender, &messages), rig.run(tenant, 20));
        delivered.expect("delivered");
        assert_eq!(rig.count(tenant, MessageState::Accepted), 400);
        assert_eq!(rig.fakes.state().calls.len(), 400);
    });
}

#[test]
fn a_broken_ledger_ends_in_quarantine_and_a_neighbour_does_not_notice() {
    in_paused_time(|rig| async move {
        let (broken, sound) = (rig.fakes.tenant(None), rig.fakes.tenant(None));
        let (sender_of_broken, sender_of_sound) = (sender(), sender());
        rig.fakes.trouble(broken, Trouble::CommitBroken, usize::MAX);
        let doomed = rig.fakes.queued(broken, sender_of_broken, 100);
        let messages = rig.fakes.queued(sound, sender_of_sound, 500);
        let (first, second) = tokio::join!(
            rig.deliver(broken, sender_of_broken, &doomed),
            rig.deliver(sound, sender_of_sound, &messages),
        );
        first.expect("left to its rows");
        second.expect("delivered");
        rig.run(sound, 1).await;
        assert_eq!(rig.count(sound, MessageState::Accepted), 500);
        let mut minutes = 0;
        while !is_quarantined(&rig, broken) {
            minutes += 1;
            assert!(minutes < 10, "no quarantine after ten minutes");
            rig.run(broken, 60).await;
        }
        let paused = (broken, PauseScope::Tenant, PauseReason::Quarantined);
        assert!(rig.fakes.state().pauses.contains(&paused));
        assert_eq!(rig.count(broken, MessageState::Planned), 100, "nothing is lost");
        assert!(rig.shows("malote_tenants{state=\"quarantined\"} 1"));

        rig.fakes.state().faults = actors::testing::Faults::default();
        assert!(rig.fakes.release(broken), "an operator releases it");
        rig.run(broken, 60).await;
        assert_eq!(rig.count(broken, MessageState::Accepted), 100);
    });
}

#[test]
fn an_outage_is_no_fault_of_the_tenant() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.trouble(tenant, Trouble::TakeOverUnavailable, 20);
        let messages = rig.fakes.queued(tenant, sender, 100);
        rig.deliver(tenant, sender, &messages)
            .await
            .expect("delivered or left");
        rig.run(tenant, 120).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 100);
        assert_eq!(rig.fakes.state().calls.len(), 100);
        assert!(rig.fakes.state().pauses.is_empty());
        assert!(rig.shows("malote_actor_restarts_total{kind=\"billing_counter\",cause=\"fault\"} 0"));
    });
}

fn is_quarantined(rig: &Rig, tenant: TenantId) -> bool {
    rig.tenants().quarantined().iter().any(|row| row.tenant == tenant)
}
