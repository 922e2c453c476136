//! Claims on their way from `SendQueue` to `BillingCounter` and back. A proposal that is dropped unanswered goes back to
//! `SendQueue`, which proposes the same attempts again: so a crash of `BillingCounter` loses nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::ids::{AttemptId, SenderId};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::gate::Port;
use crate::metrics::Metrics;
use crate::ports::Claim;
use crate::tenant::receipt::Item;
use crate::tenant::send_queue::SendMessage;
use crate::tenant::suspects::{Suspect, Suspects};

/// The attempts of a tenant between proposal and stored outcome. Outlives the actors' incarnations.
#[derive(Debug)]
pub(crate) struct Live {
    attempts: Mutex<HashMap<AttemptId, SenderId>>,
    /// Told when there is no attempt any more.
    empty: Notify,
    metrics: Metrics,
}

impl Live {
    pub(crate) fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            attempts: Mutex::default(),
            empty: Notify::new(),
            metrics,
        })
    }

    /// Starts an attempt from a number with a new id.
    pub(crate) fn begin(self: &Arc<Self>, sender: SenderId) -> LiveAttempt {
        let attempt = AttemptId(Uuid::now_v7());
        self.change(|attempts| {
            attempts.insert(attempt, sender);
        });
        self.metrics.begun(1);
        LiveAttempt {
            attempt,
            live: self.clone(),
        }
    }

    /// Gives all attempts.
    pub(crate) fn attempts(&self) -> Vec<AttemptId> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.keys().copied().collect()
    }

    /// Tells how many attempts of a number there are.
    pub(crate) fn of(&self, sender: SenderId) -> usize {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.values().filter(|from| **from == sender).count()
    }

    /// Tells how many attempts there are.
    pub(crate) fn count(&self) -> usize {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until there is no attempt.
    pub(crate) async fn drained(&self) {
        loop {
            // Asked for before the look, so that it is not missed between the two.
            let empty = self.empty.notified();
            if self.count() == 0 {
                return;
            }
            empty.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<AttemptId, SenderId>)) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut attempts);
        if attempts.is_empty() {
            // An emptied map keeps its room.
            *attempts = HashMap::new();
            self.empty.notify_waiters();
        }
    }
}

/// One attempt; it is live until this is dropped.
#[derive(Debug)]
pub(crate) struct LiveAttempt {
    attempt: AttemptId,
    live: Arc<Live>,
}

impl LiveAttempt {
    /// Gives the attempt's id.
    pub(crate) const fn id(&self) -> AttemptId {
        self.attempt
    }
}

impl Drop for LiveAttempt {
    fn drop(&mut self) {
        self.live.change(|attempts| {
            attempts.remove(&self.attempt);
        });
        self.live.metrics.ended();
    }
}

/// A message that is proposed under an attempt.
#[derive(Debug)]
pub(crate) struct Proposed {
    pub(crate) item: Item,
    pub(crate) live: LiveAttempt,
}

impl Proposed {
    /// Gives what the ledger is asked for.
    pub(crate) const fn claim(&self) -> Claim {
        Claim {
            message: self.item.message,
            attempt: self.live.id(),
        }
    }
}

/// Claims of one sender.
#[derive(Debug)]
pub(crate) struct Proposal {
    sender: SenderId,
    claims: Vec<Proposed>,
    home: Port<SendMessage>,
}

impl Proposal {
    pub(crate) const fn new(sender: SenderId, claims: Vec<Proposed>, home: Port<SendMessage>) -> Self {
        Self { sender, claims, home }
    }

    pub(crate) const fn len(&self) -> usize {
        self.claims.len()
    }

    /// Tells how many of the next claims are trusted, up to the first suspect.
    pub(crate) fn trusted(&self, suspects: &Suspects) -> usize {
        let is_trusted = |claim: &&Proposed| !suspects.holds(Suspect::Message(claim.item.message));
        self.claims.iter().take_while(is_trusted).count()
    }

    /// Takes up to `most` claims; from now on they are answered for by whoever took them.
    pub(crate) fn take(&mut self, most: usize) -> Vec<Proposed> {
        let rest = self.claims.split_off(most.min(self.claims.len()));
        std::mem::replace(&mut self.claims, rest)
    }
}

impl Drop for Proposal {
    fn drop(&mut self) {
        let claims = std::mem::take(&mut self.claims);
        if !claims.is_empty() {
            let sender = self.sender;
            self.home.tell(SendMessage::Lost { sender, claims });
        }
    }
}
