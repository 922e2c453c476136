//! Tenants whose actors keep failing: given up soon, kept out of everyone's way, and nothing of theirs lost.

use std::time::Duration;

use actors::faults::{Child, Deed, Fault, Step};
use actors::ports::{PauseScope, QuarantineRow};
use actors::testing::Trouble;
use domain::campaign::PauseReason;
use domain::ids::{SenderId, TenantId};
use domain::message::MessageState;
use domain::partition::Epoch;
use tokio::time::Instant;

use crate::rig::{PARTITION, Rig, in_paused_time, sender};

/// The promise: a child that fails on every message costs its tenant no more than this.
const SOON: Duration = Duration::from_secs(10);

/// Lets a child of the tenant fail for good.
fn doom(rig: &Rig, tenant: TenantId, child: Child, step: Step, deed: Deed) {
    rig.tenants().faults().plant(Fault {
        tenant: Some(tenant),
        child,
        step,
        deed,
        times: None,
    });
}

fn row_of(rig: &Rig, tenant: TenantId) -> Option<QuarantineRow> {
    let rows = rig.tenants().quarantined();
    rows.into_iter().find(|row| row.tenant == tenant)
}

/// Delivers messages and lets time pass until the tenant is in quarantine; gives how long that took.
async fn until_quarantined(rig: &Rig, tenant: TenantId, sender: SenderId, messages: usize) -> Duration {
    let messages = rig.fakes.queued(tenant, sender, messages);
    let started = Instant::now();
    let patience = async {
        while row_of(rig, tenant).is_none() {
            assert!(
                started.elapsed() < Duration::from_secs(120),
                "no quarantine after two minutes"
            );
            rig.run(tenant, 1).await;
        }
        started.elapsed()
    };
    let (delivered, took) = tokio::join!(rig.deliver(tenant, sender, &messages), patience);
    delivered.expect("left to its rows");
    took
}

#[test]
fn a_child_that_fails_on_every_message_ends_in_quarantine_soon_and_release_brings_everything_back() {
    for child in Child::ALL {
        for deed in Deed::ENDS {
            in_paused_time(move |rig| async move {
                let (tenant, sender) = (rig.fakes.tenant(None), sender());
                doom(&rig, tenant, child, Step::Handle, deed);
                let took = until_quarantined(&rig, tenant, sender, 150).await;
                let what = format!("{} {}", child.as_str(), deed.as_str());
                assert!(took < SOON, "{what}: {took:?}");
                rig.run(tenant, 5).await;
                let row = row_of(&rig, tenant).expect("in quarantine");
                assert!(row.reason.contains(child.as_str()), "{what}: {}", row.reason);
                assert!(row.until > row.since);
                let paused = (tenant, PauseScope::Tenant, PauseReason::Quarantined);
                assert!(rig.fakes.state().pauses.contains(&paused), "{what}");
                assert_eq!(
                    rig.count(tenant, MessageState::Planned),
                    150,
                    "{what}: rows say what is left"
                );
                assert!(rig.shows("malote_tenants{state=\"quarantined\"} 1"), "{what}");
                let named = format!("malote_tenant_quarantined{{tenant=\"{tenant}\"}} 1");
                assert!(rig.shows(&named), "{what}");

                rig.tenants().faults().clear(None);
                assert!(rig.fakes.release(tenant));
                rig.run(tenant, 60).await;
                assert_eq!(rig.count(tenant, MessageState::Accepted), 150, "{what}");
                assert_eq!(
                    rig.fakes.state().calls.len(),
                    150,
                    "{what}: nothing is sent twice"
                );
                assert!(rig.shows("malote_tenants{state=\"quarantined\"} 0"), "{what}");
            });
        }
    }
}

#[test]
fn time_releases_a_tenant_and_its_campaigns() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        doom(&rig, tenant, Child::SendQueue, Step::Handle, Deed::Panic);
        until_quarantined(&rig, tenant, sender, 50).await;
        rig.run(tenant, 200).await;
        assert!(row_of(&rig, tenant).is_some(), "not before its time");
        rig.tenants().faults().clear(None);
        rig.run(tenant, 200).await;
        assert!(row_of(&rig, tenant).is_none(), "after its time");
        assert_eq!(rig.count(tenant, MessageState::Accepted), 50);
    });
}

#[test]
fn one_poison_message_among_good_ones_is_no_reason() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.state().rates.insert(sender, 50);
        let messages = rig.fakes.queued(tenant, sender, 300);
        let trouble = async {
            for _ in 0..6 {
                rig.run(tenant, 30).await;
                rig.tenants().faults().plant(Fault {
                    tenant: Some(tenant),
                    child: Child::BillingCounter,
                    step: Step::Handle,
                    deed: Deed::Panic,
                    times: Some(3),
                });
            }
            rig.run(tenant, 60).await;
        };
        let (delivered, ()) = tokio::join!(rig.deliver(tenant, sender, &messages), trouble);
        delivered.expect("delivered or left to its rows");
        assert!(row_of(&rig, tenant).is_none());
        assert!(rig.fakes.state().pauses.is_empty());
        assert_eq!(rig.count(tenant, MessageState::Accepted), 300);
        assert_eq!(rig.fakes.state().calls.len(), 300);
    });
}

#[test]
fn the_next_owner_respects_a_quarantine() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        doom(&rig, tenant, Child::RateLimiter, Step::Handle, Deed::Panic);
        until_quarantined(&rig, tenant, sender, 20).await;
        rig.run(tenant, 2).await;
        let restarts = rig.sum_of("malote_actor_restarts_total");
        // Another node has not seen it happen: it owns the partition anew and knows nothing but the row.
        rig.tenants().revoke(PARTITION, Duration::from_secs(1)).await;
        rig.tenants().grant(PARTITION, Epoch(2));
        let late = rig.fakes.queued(tenant, sender, 20);
        rig.deliver(tenant, sender, &late)
            .await
            .expect("left to its rows");
        assert!(rig.tenants().status().is_empty(), "its actors are not started");
        assert_eq!(rig.count(tenant, MessageState::Planned), 40);
        assert_eq!(rig.sum_of("malote_actor_restarts_total"), restarts);
    });
}

#[test]
fn an_owner_that_was_replaced_puts_nobody_into_quarantine() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        let messages = rig.fakes.queued(tenant, sender, 1);
        rig.deliver(tenant, sender, &messages).await.expect("delivered");
        doom(&rig, tenant, Child::RateLimiter, Step::Handle, Deed::Panic);
        rig.fakes.take_over_elsewhere(tenant, Epoch(2));
        rig.run(tenant, 30).await;
        assert!(rig.fakes.state().quarantines.is_empty());
        assert!(rig.fakes.state().pauses.is_empty());
        assert!(row_of(&rig, tenant).is_none());
    });
}

#[test]
fn a_quarantine_waits_for_the_database_and_holds_meanwhile() {
    in_paused_time(|rig| async move {
        let (tenant, sender) = (rig.fakes.tenant(None), sender());
        rig.fakes.trouble(tenant, Trouble::QuarantineUnavailable, 6);
        doom(&rig, tenant, Child::SendQueue, Step::Handle, Deed::Panic);
        until_quarantined(&rig, tenant, sender, 20).await;
        assert!(rig.fakes.state().quarantines.is_empty());
        rig.run(tenant, 2).await;
        assert!(
            row_of(&rig, tenant).is_some(),
            "an answer without its row does not end it"
        );
        rig.run(tenant, 30).await;
        assert!(rig.fakes.state().quarantines.contains_key(&tenant));
    });
}
