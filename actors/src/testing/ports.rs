//! The ports to the world in memory.

use std::future::Future;
use std::sync::Arc;

use domain::campaign::PauseReason;
use domain::ids::{AttemptId, EventId, MessageId, SenderId, TenantId};
use domain::partition::Epoch;
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::ports::{
    Answer, BillingHead, Claimed, CommitError, Committed, Ledger, LimiterStore, Messages, Meta, PauseScope,
    Poison, Quarantine, QuarantineRow, QuarantineWish, SendOutcome, SenderLimits, Settled, SettledUnknown,
    StoredLimiter, TenantCommit, Unavailable, Way,
};
use crate::testing::{Fakes, Trouble};

/// What a number may send unless a test says otherwise.
const RATE: u32 = 1_000;

impl Fakes {
    fn strikes(&self, tenant: TenantId, trouble: Trouble) -> bool {
        self.state().faults.strikes(tenant, trouble)
    }

    /// Records a call to Meta and gives its outcome.
    fn called(&self, claimed: &Claimed) -> SendOutcome {
        let mut state = self.state();
        let tenant = state.messages[&claimed.message].tenant;
        state
            .calls
            .push((claimed.message, claimed.attempt, Instant::now()));
        if state.is_down {
            return SendOutcome::Unreachable {
                reason: "on demand".to_owned(),
            };
        }
        assert!(
            !state.faults.strikes(tenant, Trouble::SendPanics),
            "the call panics on demand"
        );
        let script = state.script.get_mut(&claimed.message);
        let scripted = script.and_then(|outcomes| outcomes.pop_front());
        let scripted = scripted.or_else(|| state.number_script.get(&claimed.sender).cloned());
        scripted.unwrap_or_else(|| SendOutcome::Accepted {
            wamid: format!("wamid.{}", claimed.attempt),
        })
    }

    /// Commits between the reading of the head and the commit that follows it.
    fn commit_late(&self, work: TenantCommit) -> impl Future<Output = ()> + Send + use<> {
        let fakes = self.clone();
        async move {
            tokio::time::sleep(fakes.0.latency * 3 / 2).await;
            // Its answer is lost.
            drop(fakes.state().commit(&work));
        }
    }
}

impl Ledger for Fakes {
    fn take_over(&self, tenant: TenantId, epoch: Epoch) -> Answer<Result<BillingHead, CommitError>> {
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            if fakes.strikes(tenant, Trouble::TakeOverUnavailable) {
                return Err(CommitError::Unavailable("on demand".to_owned()));
            }
            let mut state = fakes.state();
            let row = state.tenants.get_mut(&tenant);
            let row = row.ok_or_else(|| CommitError::Broken("no such tenant".to_owned()))?;
            if row.epoch > epoch {
                return Err(CommitError::EpochGone { current: row.epoch });
            }
            row.epoch = epoch;
            Ok(row.head.clone())
        }
        .boxed()
    }

    fn commit(&self, work: TenantCommit) -> Answer<Result<Committed, CommitError>> {
        let tenant = work.tenant;
        assert!(
            !self.strikes(tenant, Trouble::CommitPanics),
            "commit panics on demand"
        );
        let fakes = self.clone();
        async move {
            if fakes.strikes(tenant, Trouble::CommitLate) {
                drop(tokio::spawn(fakes.commit_late(work)));
                return Err(CommitError::Unavailable("on demand".to_owned()));
            }
            fakes.latency().await;
            assert!(
                !fakes.strikes(tenant, Trouble::CommitPanicsLater),
                "commit panics later, on demand"
            );
            if fakes.strikes(tenant, Trouble::CommitBroken) {
                return Err(CommitError::Broken("on demand".to_owned()));
            }
            if fakes.strikes(tenant, Trouble::CommitLost) {
                return Err(CommitError::Unavailable("on demand".to_owned()));
            }
            let committed = fakes.state().commit(&work);
            assert!(
                !fakes.strikes(tenant, Trouble::CommitPanicsDone),
                "commit panics when done, on demand"
            );
            if fakes.strikes(tenant, Trouble::CommitAnswerLost) {
                return Err(CommitError::Unavailable("on demand".to_owned()));
            }
            committed
        }
        .boxed()
    }

    fn unapplied_events(&self, tenant: TenantId, most: usize) -> Answer<Result<Vec<EventId>, Unavailable>> {
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            let state = fakes.state();
            let events = state.events.iter();
            let is_buried = |event| state.buried.iter().any(|poison| poison.events.contains(event));
            let unapplied =
                events.filter(|(event, row)| row.tenant == tenant && row.applied == 0 && !is_buried(event));
            let mut unapplied: Vec<_> = unapplied.map(|(event, _)| *event).collect();
            unapplied.sort_unstable();
            unapplied.truncate(most);
            Ok(unapplied)
        }
        .boxed()
    }
}

impl Messages for Fakes {
    fn settle(&self, settled: Settled) -> Answer<Result<Option<EventId>, Unavailable>> {
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            if fakes.strikes(settled.tenant, Trouble::SettleUnavailable) {
                return Err(Unavailable {
                    dependency: "postgresql",
                    reason: "on demand".to_owned(),
                });
            }
            Ok(fakes.state().settle(&settled))
        }
        .boxed()
    }

    fn give_back(
        &self,
        _: TenantId,
        messages: Vec<MessageId>,
        due_at: Timestamp,
    ) -> Answer<Result<(), Unavailable>> {
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            fakes.state().give_back(&messages, due_at);
            Ok(())
        }
        .boxed()
    }

    fn bury(&self, poison: Poison) -> Answer<Result<(), Unavailable>> {
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            fakes.state().bury(poison);
            Ok(())
        }
        .boxed()
    }

    fn expire_sending(&self, tenant: TenantId, live: Vec<AttemptId>) -> Answer<Result<usize, Unavailable>> {
        assert!(
            !self.strikes(tenant, Trouble::ExpirePanics),
            "expire panics on demand"
        );
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            Ok(fakes.state().expire(tenant, &live))
        }
        .boxed()
    }

    fn settle_unknown(&self, tenant: TenantId, epoch: Epoch) -> Answer<Result<SettledUnknown, Unavailable>> {
        let (fakes, now) = (self.clone(), self.0.clock.now());
        async move {
            fakes.latency().await;
            Ok(fakes.state().settle_unknown(tenant, epoch, now))
        }
        .boxed()
    }

    fn pause(
        &self,
        tenant: TenantId,
        scope: PauseScope,
        reason: PauseReason,
        _: String,
    ) -> Answer<Result<(), Unavailable>> {
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            let mut state = fakes.state();
            state.pauses.push((tenant, scope, reason));
            if scope == PauseScope::Tenant {
                state.paused.insert(tenant);
            }
            Ok(())
        }
        .boxed()
    }
}

impl Meta for Fakes {
    fn send(&self, claimed: Arc<Claimed>, deadline: Instant) -> Answer<SendOutcome> {
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            if Instant::now() > deadline {
                return SendOutcome::NotBegun {
                    reason: "past its deadline".to_owned(),
                };
            }
            let outcome = fakes.called(&claimed);
            let late = fakes.state().meta_latency;
            tokio::time::sleep(late.unwrap_or_default()).await;
            outcome
        }
        .boxed()
    }
}

impl LimiterStore for Fakes {
    fn load(&self, tenant: TenantId, sender: SenderId) -> Answer<Result<SenderLimits, Unavailable>> {
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            let state = fakes.state();
            Ok(SenderLimits {
                messages_per_second: state.rates.get(&sender).copied().unwrap_or(RATE),
                plan_messages_per_second: state.plan_rates.get(&tenant).copied(),
                ways: state.ways.get(&sender).cloned().unwrap_or_default(),
                stored: state.limiters.get(&sender).map(|(_, stored)| stored.clone()),
            })
        }
        .boxed()
    }

    fn save(&self, tenant: TenantId, sender: SenderId, epoch: Epoch, stored: StoredLimiter) -> Answer<()> {
        assert!(
            !self.strikes(tenant, Trouble::SavePanics),
            "save panics on demand"
        );
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            let mut state = fakes.state();
            let known = state.limiters.get(&sender).map(|(known, _)| *known);
            if known.is_none_or(|known| known <= epoch) {
                state.limiters.insert(sender, (epoch, stored));
            }
        }
        .boxed()
    }

    fn hold(&self, way: Way, until: Timestamp) -> Answer<()> {
        let mut state = self.state();
        let held = state.holds.entry(way).or_insert(until);
        *held = until.max(*held);
        futures_util::future::ready(()).boxed()
    }

    fn held_until(&self, ways: &[Way]) -> Option<Timestamp> {
        let state = self.state();
        ways.iter().filter_map(|way| state.holds.get(way).copied()).max()
    }
}

impl Quarantine for Fakes {
    fn enter(&self, wish: QuarantineWish) -> Answer<Result<Option<QuarantineRow>, Unavailable>> {
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            if fakes.strikes(wish.tenant, Trouble::QuarantineUnavailable) {
                return Err(Unavailable {
                    dependency: "postgresql",
                    reason: "on demand".to_owned(),
                });
            }
            let now = fakes.0.clock.now();
            Ok(fakes.state().quarantine(wish, now))
        }
        .boxed()
    }

    fn look(&self) -> Answer<Result<Vec<QuarantineRow>, Unavailable>> {
        let fakes = self.clone();
        async move {
            let now = fakes.0.clock.now();
            let rows: Vec<_> = {
                let mut state = fakes.state();
                let over = state.quarantines.values().filter(|row| row.until <= now);
                let over: Vec<_> = over.map(|row| row.tenant).collect();
                over.into_iter().for_each(|tenant| assert!(state.release(tenant)));
                state.quarantines.values().cloned().collect()
            };
            fakes.latency().await;
            Ok(rows)
        }
        .boxed()
    }
}
