//! Everything goes wrong at once, and the books still balance.

use actors::testing::Trouble;
use domain::message::MessageState;

use crate::rig::{Rig, in_paused_time, sender};

const TROUBLES: [Trouble; 9] = [
    Trouble::CommitPanics,
    Trouble::CommitPanicsLater,
    Trouble::CommitPanicsDone,
    Trouble::CommitLost,
    Trouble::CommitAnswerLost,
    Trouble::TakeOverUnavailable,
    Trouble::SettleUnavailable,
    Trouble::ExpirePanics,
    Trouble::SavePanics,
];

#[test]
fn faults_of_all_kinds_lose_nothing_and_charge_nothing_twice() {
    for seed in 0..40 {
        in_paused_time(move |rig| storm(rig, seed));
    }
}

async fn storm(rig: Rig, seed: u64) {
    let (tenant, sender) = (rig.fakes.tenant(Some(300)), sender());
    rig.fakes.state().rates.insert(sender, 40);
    let messages = rig.fakes.queued(tenant, sender, 400);
    let mut random = Random(seed + 1);
    let trouble = async {
        for _ in 0..20 {
            let trouble = TROUBLES[random.below(TROUBLES.len())];
            rig.fakes.trouble(tenant, trouble, 1);
            rig.run(tenant, 1).await;
        }
        rig.fakes.state().faults = Default::default();
        for _ in 0..40 {
            // Plans stay as they are, but somebody resumes the campaigns.
            rig.fakes.state().paused.clear();
            rig.run(tenant, 20).await;
        }
    };
    let (delivered, ()) = tokio::join!(rig.deliver(tenant, sender, &messages), trouble);
    delivered.expect("delivered or left to its rows");
    check(&rig, tenant, seed);
}

fn check(rig: &Rig, tenant: domain::ids::TenantId, seed: u64) {
    let accepted = rig.count(tenant, MessageState::Accepted);
    let unknown = rig.count(tenant, MessageState::Unknown);
    let planned = rig.count(tenant, MessageState::Planned) + rig.count(tenant, MessageState::Queued);
    assert_eq!(
        (accepted + unknown, planned),
        (300, 100),
        "seed {seed}, {unknown} unknown"
    );
    assert_eq!(rig.fakes.head(tenant).held, 300, "seed {seed}");
    let state = rig.fakes.state();
    assert_eq!(state.over_limit, 0, "seed {seed}");
    let mut attempts: Vec<_> = state.calls.iter().map(|call| call.1).collect();
    attempts.sort_unstable();
    attempts.dedup();
    assert_eq!(
        attempts.len(),
        state.calls.len(),
        "seed {seed}: no attempt is sent twice"
    );
    assert_eq!(
        accepted,
        state.calls.len(),
        "seed {seed}: no message is sent twice"
    );
    assert_eq!(unknown, 0, "seed {seed}: no panic cost an outcome");
}

/// A small generator of numbers (SplitMix64), so that a seed tells which troubles come and in which order; waits keep their jitter.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).unwrap_or(0)
    }
}
