//! From delivery to Meta and back.

use std::collections::HashSet;
use std::time::Duration;

use actors::ports::{PauseScope, Refusal, SendOutcome};
use actors::tenants::{Delivered, Work};
use actors::testing::Trouble;
use domain::campaign::PauseReason;
use domain::message::{Lane, MessageState};
use domain::refusal_streak::IN_A_ROW;
use jiff::SignedDuration;
use tokio::time::Instant;

use crate::rig::{PARTITION, in_paused_time, sender};

fn refused(code: i32, transient: bool) -> SendOutcome {
    SendOutcome::Refused(Refusal {
        code,
        details: "on demand".to_owned(),
        retry_after: None,
        transient,
    })
}

#[test]
fn five_hundred_messages_are_claimed_once_and_accepted() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 500);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 500);
        let state = rig.fakes.state();
        assert!(state.messages.values().all(|row| row.claims == 1));
        let sent: HashSet<_> = state.calls.iter().map(|call| call.0).collect();
        assert_eq!((sent.len(), state.calls.len()), (500, 500));
        assert!(
            state.commits.len() < 100,
            "claims go together: {} commits",
            state.commits.len()
        );
    });
}

#[test]
fn a_message_delivered_twice_is_sent_once() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 50);
        let twice: Vec<_> = messages.iter().chain(&messages).copied().collect();
        rig.deliver(tenant, sender, &twice).await.expect("delivered");
        rig.deliver(tenant, sender, &messages).await.expect("stale");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.fakes.state().calls.len(), 50);
    });
}

#[test]
fn a_transient_refusal_is_retried_and_then_accepted() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 1);
        let script = [refused(131_000, true)].into();
        rig.fakes.state().script.insert(messages[0], script);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 10).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 1);
        assert_eq!(
            rig.fakes.head(tenant).held,
            1,
            "the first reservation was given back"
        );
        assert_eq!(rig.fakes.state().messages[&messages[0]].counted, 1);
    });
}

#[test]
fn the_fourth_unknown_error_is_the_last() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 1);
        rig.fakes
            .state()
            .number_script
            .insert(sender, refused(131_000, true));
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 120).await;
        assert_eq!(rig.count(tenant, MessageState::Dead), 1);
        assert_eq!(rig.fakes.state().calls.len(), 4);
        assert_eq!(rig.fakes.head(tenant).held, 0);
        assert!(rig.shows("malote_messages_settled_total{verdict=\"dead\",class=\"transient\"} 1"));
    });
}

#[test]
fn refusals_in_a_row_use_nothing_up_and_the_number_rests() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 40);
        rig.fakes
            .state()
            .number_script
            .insert(sender, refused(131_000, true));
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 600).await;
        assert_eq!(rig.count(tenant, MessageState::Dead), 0);
        let counted = rig
            .fakes
            .state()
            .messages
            .values()
            .map(|message| message.counted)
            .sum::<u32>();
        assert!(counted < IN_A_ROW, "{counted} attempts were used up");
        let calls = rig.fakes.state().calls.len();
        assert!(calls < 1_200, "{calls} calls of ten minutes");
        rig.fakes.state().number_script.remove(&sender);
        rig.run(tenant, 60).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 40);
    });
}

#[test]
fn a_number_sends_at_its_rate() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 80);
        let messages = rig.fakes.queued(tenant, sender, 240);
        let started = Instant::now();
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        let seconds = started.elapsed().as_secs_f64();
        assert!((2.8..3.6).contains(&seconds), "{seconds} s for 240 at 80/s");
        assert!(!rig.fakes.state().limiters.is_empty(), "the state is stored");
    });
}

#[test]
fn a_throttle_slows_the_number_and_uses_up_no_attempt() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 100);
        let messages = rig.fakes.queued(tenant, sender, 200);
        let script = [refused(130_429, false)];
        for message in &messages[..20] {
            rig.fakes.state().script.insert(*message, script.clone().into());
        }
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        let slowed = rig.fakes.state().limiters[&sender].1.rate;
        assert!(slowed < 100.0, "slowed to {slowed}");
        rig.run(tenant, 20).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 200);
        let state = rig.fakes.state();
        assert!(state.messages.values().all(|row| row.counted == 0));
    });
}

#[test]
fn a_dead_token_pauses_the_tenant() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes
            .state()
            .number_script
            .insert(sender, refused(190, false));
        let messages = rig.fakes.queued(tenant, sender, 200);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 3).await;
        let state = rig.fakes.state();
        let paused = (tenant, PauseScope::Tenant, PauseReason::TokenInvalid);
        assert_eq!(state.pauses, [paused], "once for all refusals");
        let kept = state.messages.values();
        assert!(
            kept.clone()
                .all(|row| row.state == MessageState::Planned && row.counted == 0)
        );
    });
}

#[test]
fn a_call_that_panics_leaves_the_message_unknown() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.trouble(tenant, Trouble::SendPanics, 1);
        let messages = rig.fakes.queued(tenant, sender, 10);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 1).await;
        assert_eq!(rig.count(tenant, MessageState::Unknown), 1);
        assert_eq!(rig.count(tenant, MessageState::Accepted), 9);
    });
}

#[test]
fn an_outcome_is_stored_once_the_database_answers_again() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.trouble(tenant, Trouble::SettleUnavailable, 60);
        let messages = rig.fakes.queued(tenant, sender, 10);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 40).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 10);
        assert_eq!(rig.fakes.state().calls.len(), 10);
    });
}

#[test]
fn what_waits_too_long_goes_back_to_planned() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 1);
        let messages = rig.fakes.queued(tenant, sender, 50);
        let delivery = rig.deliver(tenant, sender, &messages);
        let (delivered, ()) = tokio::join!(delivery, rig.run(tenant, 7));
        delivered.expect("delivered");
        let accepted = rig.count(tenant, MessageState::Accepted);
        assert!((4..=9).contains(&accepted), "{accepted} accepted");
        assert!(rig.fakes.state().given_back.len() >= 40);
    });
}

#[test]
fn single_messages_overtake_campaigns() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 20);
        let campaign = rig.fakes.queued(tenant, sender, 100);
        let single = rig.fakes.queued(tenant, sender, 1);
        let overtakes = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let started = Instant::now();
            let work = Work::Send {
                sender,
                lane: Lane::Fast,
                campaign: None,
                due: None,
                messages: single,
            };
            let delivered = rig.tenants().deliver(PARTITION, tenant, work).await;
            delivered.expect("delivered");
            started.elapsed()
        };
        let (delivered, took) = tokio::join!(rig.deliver(tenant, sender, &campaign), overtakes);
        delivered.expect("delivered");
        assert!(took < Duration::from_millis(250), "took {took:?}");
    });
}

#[test]
fn a_message_that_meta_accepts_tells_how_long_ago_it_was_due() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let work = |lane, due| Work::Send {
            sender,
            lane,
            campaign: None,
            due,
            messages: rig.fakes.queued(tenant, sender, 1),
        };
        let due = rig.fakes.now() - SignedDuration::from_secs(3);
        let unknown = work(Lane::Bulk, None);
        for work in [work(Lane::Fast, Some(due)), unknown] {
            let delivered = rig.tenants().deliver(PARTITION, tenant, work).await;
            assert_eq!(delivered, Ok(Delivered::Done));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 2);
        let name = "malote_message_due_to_accepted_seconds";
        for line in [
            format!("{name}_bucket{{le=\"2.5\",lane=\"fast\"}} 0"),
            format!("{name}_bucket{{le=\"5.0\",lane=\"fast\"}} 1"),
            format!("{name}_count{{lane=\"bulk\"}} 0"),
        ] {
            assert!(rig.shows(&line), "{line} in:\n{}", rig.metrics());
        }
    });
}
