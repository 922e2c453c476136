//! Meta is down: all wait, nothing is used up, few calls go out; then all is delivered. And what stays unknown.

use std::time::Duration;

use actors::testing::Trouble;
use domain::ids::{SenderId, TenantId};
use domain::message::MessageState;
use domain::unknown::UnknownPolicy;
use tokio::time::sleep;

use crate::rig::{PARTITION, Rig, in_paused_time, send, sender};

/// Lets seconds pass for many tenants.
async fn run_all(rig: &Rig, tenants: &[(TenantId, SenderId)], seconds: u64) {
    for _ in 0..seconds {
        rig.tenants().tick(PARTITION).await;
        for (tenant, _) in tenants {
            for (sender, messages) in rig.fakes.plan(*tenant) {
                for ids in messages.chunks(50) {
                    let (tenants, work, tenant) = (rig.tenants(), send(sender, ids), *tenant);
                    drop(tokio::spawn(async move {
                        // The rows tell what became of it.
                        let _ = tenants.deliver(PARTITION, tenant, work).await;
                    }));
                }
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

#[test]
fn a_minute_without_meta_kills_nothing_and_costs_few_calls() {
    in_paused_time(|rig| async move {
        let mut tenants = Vec::new();
        for _ in 0..20 {
            let (tenant, number) = (rig.fakes.tenant(None), sender());
            rig.fakes.state().rates.insert(number, 5);
            for message in rig.fakes.queued(tenant, number, 30) {
                if let Some(row) = rig.fakes.state().messages.get_mut(&message) {
                    row.state = MessageState::Planned;
                }
            }
            tenants.push((tenant, number));
        }
        run_all(&rig, &tenants, 2).await;
        let before = rig.fakes.state().calls.len();
        rig.fakes.state().is_down = true;
        run_all(&rig, &tenants, 60).await;
        let during = rig.fakes.state().calls.len() - before;
        assert!(during <= 100, "{during} calls while Meta was down");
        assert!(rig.shows("malote_meta_breaker{state=\"closed\"} 0"));
        rig.fakes.state().is_down = false;
        run_all(&rig, &tenants, 90).await;
        for (tenant, _) in &tenants {
            assert_eq!(rig.count(*tenant, MessageState::Accepted), 30);
            assert_eq!(rig.count(*tenant, MessageState::Dead), 0);
        }
        let state = rig.fakes.state();
        assert!(
            state.messages.values().all(|row| row.counted == 0),
            "an attempt was used up"
        );
        drop(state);
        assert!(rig.shows("malote_meta_breaker{state=\"closed\"} 1"));
    });
}

/// Makes ten messages, one of them unknown, under a policy that acts after ten seconds.
async fn with_policy(rig: &Rig, policy: UnknownPolicy) -> TenantId {
    let (tenant, sender) = (rig.fakes.tenant(None), sender());
    let after = Duration::from_secs(10);
    rig.fakes.state().policies.insert(tenant, (policy, after));
    rig.fakes.trouble(tenant, Trouble::SendPanics, 1);
    let messages = rig.fakes.queued(tenant, sender, 10);
    rig.deliver(tenant, sender, &messages).await.expect("delivered");
    rig.run(tenant, 5).await;
    assert_eq!(rig.count(tenant, MessageState::Unknown), 1, "before its time");
    rig.run(tenant, 15).await;
    tenant
}

#[test]
fn a_policy_settles_what_stays_unknown_and_gives_its_unit_back_once() {
    in_paused_time(|rig| async move {
        let kept = with_policy(&rig, UnknownPolicy::Keep).await;
        assert_eq!(rig.count(kept, MessageState::Unknown), 1);
        let resent = with_policy(&rig, UnknownPolicy::Resend).await;
        assert_eq!(rig.count(resent, MessageState::Accepted), 10);
        let failed = with_policy(&rig, UnknownPolicy::Fail).await;
        assert_eq!(rig.count(failed, MessageState::Failed), 1);
        let held = [kept, resent, failed].map(|tenant| rig.fakes.head(tenant).held);
        assert_eq!(held, [10, 10, 9]);
        assert!(rig.shows("malote_messages_unknown_settled_total{by=\"policy_resend\"} 1"));
        assert!(rig.shows("malote_messages_unknown_total{cause=\"panicked\"} 3"));
    });
}

#[test]
fn a_later_owner_s_epoch_keeps_an_earlier_one_from_resending() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let policy = (UnknownPolicy::Resend, Duration::from_secs(10));
        rig.fakes.state().policies.insert(tenant, policy);
        rig.fakes.trouble(tenant, Trouble::SendPanics, 1);
        let messages = rig.fakes.queued(tenant, sender, 1);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        rig.run(tenant, 1).await;
        rig.fakes.take_over_elsewhere(tenant, domain::partition::Epoch(9));
        rig.run(tenant, 30).await;
        assert_eq!(rig.count(tenant, MessageState::Unknown), 1);
        assert_eq!(rig.fakes.state().calls.len(), 1);
    });
}
