//! The one commit of a tenant that may be in flight, kept where it outlives `BillingCounter`: whoever comes next knows
//! what may have been committed and proposes exactly that again, never more.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ids::{AttemptId, EventId};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::ports::{Claim, Claimed};
use crate::tenant::World;
use crate::tenant::proposal::Proposed;
use crate::tenant::receipt::Receipt;
use crate::tenant::sending::{ToSend, Turn};

/// What one commit is about.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Which call to the ledger it waits for.
    pub(crate) call: u64,
    /// The messages to claim.
    pub(crate) claims: Vec<Proposed>,
    /// The events to apply, each once.
    pub(crate) events: Vec<EventId>,
    /// Who waits for events to be applied.
    pub(crate) receipts: Vec<Arc<Receipt>>,
    /// When the first call began that may have claimed them.
    pub(crate) since: Instant,
    /// Whether an earlier call may have claimed them.
    pub(crate) uncertain: bool,
    /// How often an incarnation failed while this was in flight.
    pub(crate) failures: u32,
    /// What went wrong last.
    pub(crate) error: String,
    /// How often the head had moved.
    pub(crate) moves: u32,
}

impl Batch {
    pub(crate) fn new(claims: Vec<Proposed>, events: Vec<EventId>, receipts: Vec<Arc<Receipt>>) -> Self {
        Self {
            call: 0,
            claims,
            events,
            receipts,
            since: Instant::now(),
            uncertain: false,
            failures: 0,
            error: String::new(),
            moves: 0,
        }
    }

    /// Gives what the ledger is asked for.
    pub(crate) fn wishes(&self) -> (Vec<Claim>, Vec<EventId>) {
        let claims = self.claims.iter().map(Proposed::claim).collect();
        (claims, self.events.clone())
    }

    /// Sorts what was claimed from what was stale. All of it is durable now, so all receipts are kept.
    pub(crate) fn settle(self, world: &Arc<World>, claimed: Vec<Claimed>) -> Vec<ToSend> {
        let deadline = self.since + world.shared.settings.claim_deadline;
        let mut claimed: HashMap<AttemptId, Claimed> = claimed
            .into_iter()
            .map(|claimed| (claimed.attempt, claimed))
            .collect();
        let mut to_send = Vec::with_capacity(claimed.len());
        for Proposed { item, live } in self.claims {
            if let Some(claimed) = claimed.remove(&live.id()) {
                let turn = Turn {
                    lane: item.lane,
                    due: item.due(),
                };
                to_send.push(ToSend::new(world.clone(), claimed, live, (deadline, turn)));
            }
            item.done();
        }
        self.receipts.iter().for_each(|receipt| receipt.part_done());
        to_send
    }
}

/// Gives each message once: a message that is proposed twice is stale the second time.
pub(crate) fn without_doubles(claims: Vec<Proposed>) -> Vec<Proposed> {
    let mut seen = HashSet::with_capacity(claims.len());
    let (once, again): (Vec<_>, Vec<_>) = claims
        .into_iter()
        .partition(|claim| seen.insert(claim.item.message));
    again.into_iter().for_each(|claim| claim.item.done());
    once
}

/// Where the commit in flight is kept.
#[derive(Debug, Default)]
pub(crate) struct CommitSlot {
    batch: Mutex<Option<Batch>>,
    running: Arc<AsyncMutex<()>>,
}

impl CommitSlot {
    /// Gives access to the commit in flight, if any.
    pub(crate) fn batch(&self) -> MutexGuard<'_, Option<Batch>> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what a call to the ledger holds while it runs, so that no two run at once.
    pub(crate) fn running(&self) -> Arc<AsyncMutex<()>> {
        self.running.clone()
    }
}
