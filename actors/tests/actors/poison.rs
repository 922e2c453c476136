//! Work that makes no sense to the ledger: it ends with the dead letters, alone.

use domain::message::MessageState;

use crate::rig::{in_paused_time, sender};

#[test]
fn a_poisoned_message_is_buried_and_those_beside_it_are_sent() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 100);
        let poison = messages[37];
        rig.fakes.state().poison_messages.insert(poison);
        rig.deliver(tenant, sender, &messages)
            .await
            .expect("delivered or given back");
        // Others keep the tenant's ledger moving while the suspects wait.
        rig.run(tenant, 10).await;
        let others = rig.fakes.queued(tenant, sender, 10);
        rig.deliver(tenant, sender, &others).await.expect("delivered");
        rig.run(tenant, 240).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 109);
        assert_eq!(rig.count(tenant, MessageState::Dead), 1);
        let buried = rig.fakes.state().buried.clone();
        let found: Vec<_> = buried.iter().flat_map(|one| one.messages.clone()).collect();
        assert_eq!(found, [poison], "and nothing else");
        assert!(buried[0].reason.contains("makes no sense"), "{buried:?}");
        assert!(
            rig.fakes.state().pauses.is_empty(),
            "no quarantine for one message"
        );
    });
}

#[test]
fn a_poisoned_event_is_set_aside_and_those_beside_it_are_applied() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 20);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 2).await;
        let events: Vec<_> = messages
            .iter()
            .map(|message| rig.fakes.capture(*message))
            .collect();
        rig.fakes.state().poison_events.insert(events[7]);
        rig.run(tenant, 240).await;
        let applied = rig
            .fakes
            .state()
            .events
            .values()
            .filter(|row| row.applied == 1)
            .count();
        assert_eq!(applied, 19, "a poisoned event holds nobody up");
        let buried = rig.fakes.state().buried.clone();
        let found: Vec<_> = buried.iter().flat_map(|one| one.events.clone()).collect();
        assert_eq!(found, [events[7]]);
        assert!(rig.fakes.state().pauses.is_empty());
    });
}
