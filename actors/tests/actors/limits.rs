//! Limits in paused time: fairness, lanes, pairs, plans, apps, what is in flight, crashes without a burst.

use std::collections::HashMap;
use std::time::Duration;

use actors::ports::{Refusal, SendOutcome, Way};
use actors::tenants::Work;
use actors::testing::Trouble;
use domain::ids::{CampaignId, MessageId, SenderId, TenantId};
use domain::in_flight::in_flight_most;
use domain::message::{Lane, MessageState};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::rig::{PARTITION, Rig, in_paused_time, sender};

fn of_campaign(sender: SenderId, campaign: CampaignId, messages: &[MessageId]) -> Work {
    Work::Send {
        sender,
        lane: Lane::Bulk,
        campaign: Some(campaign),
        due: None,
        messages: messages.to_vec(),
    }
}

fn single(sender: SenderId, message: MessageId) -> Work {
    Work::Send {
        sender,
        lane: Lane::Fast,
        campaign: None,
        due: None,
        messages: vec![message],
    }
}

fn refusal(code: i32, seconds: u64) -> SendOutcome {
    SendOutcome::Refused(Refusal {
        code,
        details: "on demand".to_owned(),
        retry_after: Some(Duration::from_secs(seconds)),
        transient: true,
    })
}

/// Hands work in without waiting for it.
fn deliver_soon(rig: &Rig, tenant: TenantId, work: Work) {
    let tenants = rig.tenants();
    drop(tokio::spawn(async move {
        // The rows tell what became of it.
        let _ = tenants.deliver(PARTITION, tenant, work).await;
    }));
}

fn called(rig: &Rig, messages: &[MessageId]) -> usize {
    let state = rig.fakes.state();
    let calls = state.calls.iter();
    calls.filter(|call| messages.contains(&call.0)).count()
}

#[test]
fn campaigns_of_one_number_take_turns() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 20);
        let (large, small) = (CampaignId(Uuid::now_v7()), CampaignId(Uuid::now_v7()));
        let many = rig.fakes.queued(tenant, sender, 500);
        let few = rig.fakes.queued(tenant, sender, 20);
        for part in many.chunks(50) {
            deliver_soon(&rig, tenant, of_campaign(sender, large, part));
        }
        sleep(Duration::from_millis(500)).await;
        deliver_soon(&rig, tenant, of_campaign(sender, small, &few));
        sleep(Duration::from_millis(2_500)).await;
        let (of_large, of_small) = (called(&rig, &many), called(&rig, &few));
        assert_eq!(of_small, 20, "beside {of_large} of the large one");
        assert!(of_large >= 20, "{of_large}");
    });
}

#[test]
fn a_backlog_of_neighbours_does_not_keep_a_tenant_waiting() {
    in_paused_time(|rig| async move {
        for _ in 0..19 {
            let (neighbour, number) = (rig.fakes.tenant(None), sender());
            let backlog = rig.fakes.queued(neighbour, number, 1_000);
            for part in backlog.chunks(50) {
                let work = of_campaign(number, CampaignId(Uuid::now_v7()), part);
                deliver_soon(&rig, neighbour, work);
            }
        }
        sleep(Duration::from_millis(200)).await;
        let (tenant, number) = (rig.fakes.tenant(None), sender());
        let one = rig.fakes.queued(tenant, number, 1);
        let started = Instant::now();
        let work = of_campaign(number, CampaignId(Uuid::now_v7()), &one);
        rig.tenants()
            .deliver(PARTITION, tenant, work)
            .await
            .expect("delivered");
        assert!(
            started.elapsed() < Duration::from_millis(300),
            "{:?}",
            started.elapsed()
        );
    });
}

#[test]
fn a_single_message_takes_the_very_next_permit_and_finds_room_at_the_door() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 80);
        let campaign = CampaignId(Uuid::now_v7());
        // More than there is room for: the door of the campaign's lane is full.
        let bulk = rig.fakes.queued(tenant, sender, 2_500);
        for part in bulk.chunks(50) {
            deliver_soon(&rig, tenant, of_campaign(sender, campaign, part));
        }
        sleep(Duration::from_secs(1)).await;
        let singles = rig.fakes.queued(tenant, sender, 20);
        for message in singles {
            let started = Instant::now();
            deliver_soon(&rig, tenant, single(sender, message));
            let reached = loop {
                let calls = rig.fakes.state().calls.clone();
                if let Some(call) = calls.iter().find(|call| call.0 == message) {
                    break call.2;
                }
                assert!(started.elapsed() < Duration::from_secs(1), "it was not sent");
                sleep(Duration::from_millis(1)).await;
            };
            // The interval of 12.5 ms, a commit under way, its own, and the way to Meta, 20 ms each.
            let took = reached.duration_since(started);
            assert!(took < Duration::from_millis(85), "took {took:?}");
            sleep(Duration::from_millis(37)).await;
        }
    });
}

#[test]
fn what_a_crash_can_make_unknown_is_bounded_per_number() {
    in_paused_time(|rig| async move {
        let tenant = rig.fakes.tenant(None);
        let numbers = [sender(), sender()];
        rig.fakes.state().meta_latency = Some(Duration::from_secs(4));
        for number in numbers {
            rig.fakes.state().rates.insert(number, 80);
            for part in rig.fakes.queued(tenant, number, 200).chunks(50) {
                deliver_soon(
                    &rig,
                    tenant,
                    of_campaign(number, CampaignId(Uuid::now_v7()), part),
                );
            }
        }
        sleep(Duration::from_millis(3_500)).await;
        for number in numbers {
            let state = rig.fakes.state();
            let rows = state.messages.values();
            let sending = rows.filter(|row| row.sender == number && row.state == MessageState::Sending);
            let sending = u64::try_from(sending.count()).expect("a count");
            assert!(sending <= in_flight_most(80), "{sending} are sending");
            assert!(sending >= 40, "{sending} are sending");
        }
    });
}

#[test]
fn a_number_at_metas_highest_rate_keeps_it() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().meta_latency = Some(Duration::from_millis(300));
        let campaign = CampaignId(Uuid::now_v7());
        for part in rig.fakes.queued(tenant, sender, 3_500).chunks(50) {
            deliver_soon(&rig, tenant, of_campaign(sender, campaign, part));
        }
        sleep(Duration::from_millis(3_000)).await;
        let sent = rig.fakes.state().calls.len();
        assert!((2_200..=3_100).contains(&sent), "{sent} in 3 s at 1,000/s");
    });
}

#[test]
fn a_limiter_that_keeps_crashing_gives_no_burst() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 50);
        let campaign = CampaignId(Uuid::now_v7());
        for part in rig.fakes.queued(tenant, sender, 400).chunks(50) {
            deliver_soon(&rig, tenant, of_campaign(sender, campaign, part));
        }
        for _ in 0..4 {
            rig.fakes.trouble(tenant, Trouble::SavePanics, 1);
            rig.tenants().tick(PARTITION).await;
            sleep(Duration::from_secs(1)).await;
        }
        let state = rig.fakes.state();
        let times: Vec<_> = state.calls.iter().map(|call| call.2).collect();
        assert!(times.len() > 60, "{} were sent", times.len());
        for (first, from) in times.iter().enumerate() {
            let within = times[first..].iter();
            let within = within.take_while(|at| at.duration_since(*from) < Duration::from_secs(1));
            let within = within.count();
            assert!(within <= 50 + 5 + 2, "{within} within a second");
        }
    });
}

#[test]
fn many_messages_to_one_recipient_come_back_each_at_its_time() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 55);
        let recipient = "+351910000001".parse().ok();
        for message in &messages {
            let mut state = rig.fakes.state();
            let row = state.messages.get_mut(message).expect("a row");
            row.recipient.clone_from(&recipient);
        }
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.fakes.state().calls.len(), 45);
        assert_eq!(rig.count(tenant, MessageState::Planned), 10);
        rig.run(tenant, 80).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 55);
        let state = rig.fakes.state();
        assert!(state.messages.values().all(|row| row.counted == 0));
        let claims: u32 = state.messages.values().map(|row| row.claims).sum();
        assert!(claims <= 70, "{claims} claims for 55 messages");
    });
}

#[test]
fn a_plans_rate_is_shared_by_all_of_its_numbers() {
    in_paused_time(|rig| async move {
        let tenant = rig.fakes.tenant(None);
        rig.fakes.state().plan_rates.insert(tenant, 10);
        for _ in 0..2 {
            let number = sender();
            for part in rig.fakes.queued(tenant, number, 100).chunks(50) {
                deliver_soon(
                    &rig,
                    tenant,
                    of_campaign(number, CampaignId(Uuid::now_v7()), part),
                );
            }
        }
        sleep(Duration::from_millis(4_000)).await;
        let sent = rig.fakes.state().calls.len();
        assert!((30..=42).contains(&sent), "{sent} in 4 s at 10/s");
    });
}

#[test]
fn a_throttle_of_the_app_holds_every_tenant_that_uses_it() {
    in_paused_time(|rig| async move {
        let mut numbers = HashMap::new();
        for app in ["shared", "shared", "another"] {
            let (tenant, number) = (rig.fakes.tenant(None), sender());
            let ways = vec![Way::App(app.to_owned())];
            rig.fakes.state().ways.insert(number, ways);
            numbers.entry(app).or_insert_with(Vec::new).push((tenant, number));
        }
        let (first, second, other) = (numbers["shared"][0], numbers["shared"][1], numbers["another"][0]);
        let refused = rig.fakes.queued(first.0, first.1, 1);
        let script = [refusal(4, 20)].into();
        rig.fakes.state().script.insert(refused[0], script);
        rig.deliver(first.0, first.1, &refused).await.expect("delivered");
        sleep(Duration::from_secs(1)).await;
        let waits = rig.fakes.queued(second.0, second.1, 3);
        let passes = rig.fakes.queued(other.0, other.1, 3);
        rig.deliver(other.0, other.1, &passes).await.expect("delivered");
        deliver_soon(
            &rig,
            second.0,
            of_campaign(second.1, CampaignId(Uuid::now_v7()), &waits),
        );
        rig.run(second.0, 10).await;
        assert_eq!((called(&rig, &waits), called(&rig, &passes)), (0, 3));
        for _ in 0..40 {
            rig.run(first.0, 1).await;
            rig.run(second.0, 1).await;
        }
        assert_eq!((called(&rig, &waits), called(&rig, &refused)), (3, 2));
    });
}

#[test]
fn a_wait_that_meta_asks_of_a_number_is_kept_by_all_of_its_messages() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 20);
        let messages = rig.fakes.queued(tenant, sender, 60);
        let script = [refusal(130_429, 12)].into();
        rig.fakes.state().script.insert(messages[0], script);
        deliver_soon(
            &rig,
            tenant,
            of_campaign(sender, CampaignId(Uuid::now_v7()), &messages),
        );
        rig.run(tenant, 10).await;
        let early = rig.fakes.state().calls.len();
        assert!(early < 10, "{early} calls within the wait");
        rig.run(tenant, 60).await;
        assert_eq!(rig.count(tenant, MessageState::Accepted), 60);
    });
}
