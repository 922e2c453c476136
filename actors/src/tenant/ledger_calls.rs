//! `BillingCounter`'s calls to the ledger, and what follows from their outcomes.

use domain::campaign::PauseReason;
use tokio::time::Instant;

use crate::cell::Fault;
use crate::delays::Delays;
use crate::ports::{BillingHead, CommitError, Committed, PauseScope, TenantCommit};
use crate::sending_metrics::Scope;
use crate::tenant::billing_counter::{BillingCounter, BillingMessage};
use crate::tenant::rate_limiter::LimiterMessage;
use crate::tenant::send_queue::SendMessage;
use crate::tenant::{World, guarded};

/// How often the head may move under one batch before the ledger counts as broken.
const MOVES_MOST: u32 = 10;

impl BillingCounter {
    /// Calls the ledger with the batch in flight.
    pub(super) fn call(&mut self) {
        self.calls += 1;
        let call = self.calls;
        let (claims, events) = {
            let mut batch = self.world.commit.batch();
            let Some(batch) = batch.as_mut() else {
                return;
            };
            batch.call = call;
            batch.wishes()
        };
        let work = TenantCommit {
            tenant: self.world.tenant(),
            epoch: self.world.identity.epoch,
            expected_seq: self.head.seq,
            claims,
            deadline: self.world.shared.settings.claim_deadline,
            events,
        };
        let answer = self.world.shared.ports.ledger.commit(work);
        let world = self.world.clone();
        self.world.spawn(async move {
            let running = world.commit.running();
            let _turn = running.lock().await;
            let result = guarded(answer).await;
            let result = result.unwrap_or_else(|panic| Err(CommitError::Broken(panic)));
            world.billing.tell(BillingMessage::Ended { call, result });
        });
    }

    /// Follows the outcome of a call.
    pub(super) fn ended(&mut self, result: Result<Committed, CommitError>) -> Result<(), Fault> {
        match result {
            Ok(committed) => self.committed(committed),
            Err(CommitError::HeadMoved { head }) => self.moved(head)?,
            Err(CommitError::Unavailable(reason)) => self.outage(&reason),
            Err(error) => {
                if let Some(batch) = self.world.commit.batch().as_mut() {
                    batch.error = error.to_string();
                }
                return Err(fault(error));
            }
        }
        Ok(())
    }

    fn committed(&mut self, committed: Committed) {
        #[cfg(feature = "fault-injection")]
        {
            let (world, step) = (&self.world, crate::faults::Step::Committed);
            world
                .shared
                .faults
                .strike(world.tenant(), crate::metrics::Kind::BillingCounter, step);
        }
        self.head = committed.head;
        self.head_at = Instant::now();
        for (sender, until) in committed.held {
            let sending = self.world.shared.metrics.sending();
            sending.held_back(Scope::Portfolio, 1);
            self.world.limiter.tell(LimiterMessage::Hold { sender, until });
        }
        for (by, count) in committed.settled {
            self.world.shared.metrics.sending().unknown_settled(by, count);
        }
        for campaign in committed.blocked {
            let evidence = "the plan allows no more units of its category";
            let scope = PauseScope::Campaign(campaign);
            self.world.pause(scope, PauseReason::PlanBlocked, evidence);
        }
        let Some(batch) = self.world.commit.batch().take() else {
            return;
        };
        let messages = batch.claims.iter().map(|claim| claim.item.message);
        self.world.suspects.succeeded(messages, &batch.events);
        self.pause_if_blocked();
        let proposed = !batch.claims.is_empty();
        let to_send = batch.settle(&self.world, committed.claimed);
        if proposed {
            self.world.send_queue.tell(SendMessage::Claimed(to_send));
        }
    }

    /// Goes on from another head. What certainly was not committed is cut to what that head allows.
    fn moved(&mut self, head: BillingHead) -> Result<(), Fault> {
        self.head = head;
        let batch = self.world.commit.batch().take();
        let Some(mut batch) = batch else {
            return Ok(());
        };
        batch.moves += 1;
        let moves = batch.moves;
        if !batch.uncertain {
            batch.since = Instant::now();
            self.block_beyond_plan(&mut batch.claims);
        }
        if batch.claims.is_empty() && batch.events.is_empty() {
            return Ok(());
        }
        *self.world.commit.batch() = Some(batch);
        if moves > MOVES_MOST {
            return Err(Fault::Tenant("the ledger's head keeps moving".to_owned()));
        }
        self.call();
        Ok(())
    }

    /// Reads the head again, for as long as it takes, before deciding anything.
    fn outage(&mut self, reason: &str) {
        tracing::warn!(tenant.id = %self.world.tenant(), reason, "a commit's outcome is not known");
        let call = self.calls;
        if let Some(batch) = self.world.commit.batch().as_mut() {
            batch.uncertain = true;
        }
        let world = self.world.clone();
        self.world.spawn(async move {
            let result = guarded(read_head(&world)).await;
            let result = result.unwrap_or_else(|panic| Err(CommitError::Broken(panic)));
            world.billing.tell(BillingMessage::Head { call, result });
        });
    }

    /// Makes the call again from the head that was read.
    pub(super) fn head_read(&mut self, head: BillingHead) -> Result<(), Fault> {
        if head.seq == self.head.seq
            && let Some(batch) = self.world.commit.batch().as_mut()
        {
            batch.since = Instant::now();
        }
        self.head = head;
        self.call();
        Ok(())
    }
}

/// Takes the tenant over and reads its head, waiting for the database.
pub(super) async fn read_head(world: &World) -> Result<BillingHead, CommitError> {
    let mut delays = Delays::of_dependency();
    loop {
        let answer = world
            .shared
            .ports
            .ledger
            .take_over(world.tenant(), world.identity.epoch);
        match answer.await {
            Err(CommitError::Unavailable(reason)) => {
                tracing::warn!(tenant.id = %world.tenant(), reason, "waiting for the ledger");
            }
            Err(CommitError::HeadMoved { head }) => return Ok(head),
            answer => return answer,
        }
        tokio::time::sleep(delays.next()).await;
    }
}

/// Tells whose fault an error is.
pub(super) fn fault(error: CommitError) -> Fault {
    match error {
        CommitError::EpochGone { .. } => Fault::EpochGone,
        other => Fault::Tenant(other.to_string()),
    }
}
