//! The plan's limit, and commits whose answer is lost.

use std::time::Duration;

use actors::ports::PauseScope;
use actors::tenants::Work;
use actors::testing::Trouble;
use domain::campaign::PauseReason;
use domain::message::MessageState;

use crate::rig::{PARTITION, in_paused_time, send, sender};

#[test]
fn a_plan_blocks_at_its_limit_exactly() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(Some(123)), sender());
        let messages = rig.fakes.queued(tenant, sender, 400);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 5).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 123);
        assert_eq!(rig.count(tenant, MessageState::Planned), 277);
        let state = rig.fakes.state();
        let paused = (tenant, PauseScope::Tenant, PauseReason::PlanBlocked);
        assert!(state.pauses.contains(&paused));
        assert_eq!(state.over_limit, 0);
    });
}

#[test]
fn a_lost_commit_is_made_again() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(Some(60)), sender());
        rig.fakes.trouble(tenant, Trouble::CommitLost, 2);
        rig.fakes.trouble(tenant, Trouble::TakeOverUnavailable, 2);
        let messages = rig.fakes.queued(tenant, sender, 60);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 3).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 60);
        assert_eq!(rig.fakes.head(tenant).held, 60);
    });
}

#[test]
fn a_commit_whose_answer_is_lost_charges_once_and_sends_once() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(Some(60)), sender());
        let messages = rig.fakes.queued(tenant, sender, 60);
        rig.fakes.trouble(tenant, Trouble::CommitAnswerLost, 2);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 3).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 60);
        assert_eq!(rig.fakes.head(tenant).held, 60);
        let state = rig.fakes.state();
        assert_eq!((state.calls.len(), state.over_limit), (60, 0));
        assert!(state.messages.values().all(|row| row.claims == 1));
    });
}

#[test]
fn a_head_that_moved_is_taken_over() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(Some(30)), sender());
        let messages = rig.fakes.queued(tenant, sender, 20);
        rig.deliver(tenant, sender, &messages[..10])
            .await
            .expect("delivered");
        {
            let mut state = rig.fakes.state();
            let head = &mut state.tenants.get_mut(&tenant).expect("a tenant").head;
            head.seq += 5;
            head.captured += 15;
        }
        rig.deliver(tenant, sender, &messages[10..])
            .await
            .expect("delivered");
        rig.run(tenant, 2).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 15);
        assert_eq!(rig.fakes.state().over_limit, 0);
    });
}

#[test]
fn events_are_applied_once_before_their_delivery_is_over() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 20);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        let events: Vec<_> = messages
            .iter()
            .map(|message| rig.fakes.capture(*message))
            .collect();
        let work = Work::Events(events.iter().chain(&events).copied().collect());
        let tenants = rig.tenants();
        tenants
            .deliver(PARTITION, tenant, work.clone())
            .await
            .expect("delivered");
        let head = rig.fakes.head(tenant);
        assert_eq!((head.held, head.captured), (0, 20));
        tenants
            .deliver(PARTITION, tenant, work)
            .await
            .expect("applied before");
        assert_eq!(rig.fakes.head(tenant), head);
    });
}

#[test]
fn events_that_nobody_delivers_are_found() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 2);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.fakes.capture(messages[0]);
        rig.run(tenant, 15).await;
        assert_eq!(rig.fakes.head(tenant).captured, 1);
    });
}

#[test]
fn a_plan_that_is_raised_sends_on() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(Some(10)), sender());
        let messages = rig.fakes.queued(tenant, sender, 30);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 5).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 10);
        {
            let mut state = rig.fakes.state();
            state.paused.clear();
            let head = &mut state.tenants.get_mut(&tenant).expect("a tenant").head;
            head.limit = Some(25);
        }
        rig.run(tenant, 60).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 25);
        assert_eq!(rig.fakes.state().over_limit, 0);
    });
}

#[test]
fn a_commit_that_comes_late_charges_once_and_sends_once() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(Some(1)), sender());
        let messages = rig.fakes.queued(tenant, sender, 1);
        rig.fakes.trouble(tenant, Trouble::CommitLate, 1);
        let work = send(sender, &messages);
        let delivered = rig.tenants().deliver(PARTITION, tenant, work).await;
        delivered.expect("delivered");
        rig.run(tenant, 40).await;
        let state = rig.fakes.state();
        let accepted = state
            .messages
            .values()
            .filter(|row| row.state == MessageState::Accepted);
        assert_eq!(accepted.count(), 1);
        assert_eq!(state.tenants[&tenant].head.held, 1);
        assert!(state.messages.values().all(|row| row.claims == 1));
        assert!(state.pauses.is_empty());
    });
}
