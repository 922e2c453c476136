//! Every child ends at every step in every way, under load: rows, never what it remembered, say what is left to do.

use std::time::Duration;

use actors::faults::{Child, Deed, Fault, Step};
use domain::ids::TenantId;
use domain::message::MessageState;

use crate::rig::{Rig, in_paused_time, sender};

const MESSAGES: usize = 400;

#[test]
fn a_child_that_ends_at_any_step_in_any_way_loses_nothing_and_sends_nothing_twice() {
    for child in Child::ALL {
        let steps = Step::ALL.into_iter().filter(|step| reaches(child, *step));
        for step in steps {
            for deed in Deed::ENDS {
                in_paused_time(move |rig| strike(rig, child, step, deed));
            }
        }
    }
}

const fn reaches(child: Child, step: Step) -> bool {
    match step {
        Step::Committed => matches!(child, Child::BillingCounter),
        Step::Claimed => matches!(child, Child::SendQueue),
        _ => true,
    }
}

async fn strike(rig: Rig, child: Child, step: Step, deed: Deed) {
    let what = format!("{} {} {}", child.as_str(), step.as_str(), deed.as_str());
    let (tenant, sender) = (rig.fakes.tenant(None), sender());
    rig.fakes.state().rates.insert(sender, 200);
    let messages = rig.fakes.queued(tenant, sender, MESSAGES);
    let trouble = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        if step == Step::Recover {
            // Somebody must recover for it to strike.
            plant(&rig, tenant, child, Step::Handle, Deed::Panic, 1);
        }
        plant(&rig, tenant, child, step, deed, 3);
        rig.run(tenant, 60).await;
    };
    let (delivered, ()) = tokio::join!(rig.deliver(tenant, sender, &messages), trouble);
    delivered.expect("delivered or left to its rows");
    let struck = rig.tenants().faults().all().last().map(|planted| planted.struck);
    assert_eq!(struck, Some(3), "{what}: how often it struck");
    check(&rig, tenant, &what);
    let vanished = format!(
        "malote_actor_restarts_total{{kind=\"{}\",cause=\"vanished\"}} 3",
        child.as_str()
    );
    assert_eq!(
        rig.shows(&vanished),
        deed != Deed::Panic,
        "{what}: what is counted"
    );
}

fn plant(rig: &Rig, tenant: TenantId, child: Child, step: Step, deed: Deed, times: u64) {
    rig.tenants().faults().plant(Fault {
        tenant: Some(tenant),
        child,
        step,
        deed,
        times: Some(times),
    });
}

fn check(rig: &Rig, tenant: TenantId, what: &str) {
    assert_eq!(rig.count(tenant, MessageState::Accepted), MESSAGES, "{what}");
    let held = rig.fakes.head(tenant).held;
    let state = rig.fakes.state();
    assert_eq!(state.calls.len(), MESSAGES, "{what}: nothing is sent twice");
    assert_eq!(
        held,
        i64::try_from(MESSAGES).expect("a number"),
        "{what}: nothing is charged twice"
    );
    assert_eq!(state.over_limit, 0, "{what}");
}

#[test]
fn a_fault_of_one_tenant_strikes_no_other() {
    in_paused_time(|rig| async move {
        let (struck, sound) = (rig.fakes.tenant(None), rig.fakes.tenant(None));
        plant(
            &rig,
            struck,
            Child::BillingCounter,
            Step::Handle,
            Deed::Panic,
            1_000_000,
        );
        let sender = sender();
        let messages = rig.fakes.queued(sound, sender, 100);
        rig.deliver(sound, sender, &messages).await.expect("delivered");
        rig.run(sound, 1).await;
        assert_eq!(rig.count(sound, MessageState::Accepted), 100);
        assert_eq!(rig.tenants().faults().all()[0].struck, 0);
    });
}
