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
    Poison, SendOutcome, SenderLimits, Settled, StoredLimiter, TenantCommit, Unavailable,
};
use crate::testing::{Fakes, Trouble};

/// What a number may send unless a test says otherwise.
const RATE: u32 = 1_000;

impl Fakes {
    fn strikes(&self, tenant: TenantId, trouble: Trouble) -> bool {
        self.state().faults.strikes(tenant, trouble)
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

    fn pause(
        &self,
        tenant: TenantId,
        scope: PauseScope,
        reason: PauseReason,
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
                return SendOutcome::NotSent {
                    reason: "past its deadline".to_owned(),
                };
            }
            let mut state = fakes.state();
            let tenant = state.messages[&claimed.message].tenant;
            let call = (claimed.message, claimed.attempt, Instant::now());
            state.calls.push(call);
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
        .boxed()
    }
}

impl LimiterStore for Fakes {
    fn load(&self, _: TenantId, sender: SenderId) -> Answer<Result<SenderLimits, Unavailable>> {
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            let state = fakes.state();
            Ok(SenderLimits {
                messages_per_second: state.rates.get(&sender).copied().unwrap_or(RATE),
                stored: state.limiters.get(&sender).copied(),
            })
        }
        .boxed()
    }

    fn save(&self, tenant: TenantId, sender: SenderId, stored: StoredLimiter) -> Answer<()> {
        assert!(
            !self.strikes(tenant, Trouble::SavePanics),
            "save panics on demand"
        );
        let fakes = self.clone();
        async move {
            fakes.latency().await;
            fakes.state().limiters.insert(sender, stored);
        }
        .boxed()
    }
}
