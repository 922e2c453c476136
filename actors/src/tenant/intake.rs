//! What waits for a commit to take it along: proposals and events, in order.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use domain::ids::EventId;

use crate::limits::{CLAIMS_PER_COMMIT_MOST, EVENTS_PER_COMMIT_MOST};
use crate::tenant::commit::without_doubles;
use crate::tenant::proposal::{Proposal, Proposed};
use crate::tenant::receipt::Receipt;
use crate::tenant::suspects::{Suspect, Suspects};

/// What waits for the next commit.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    proposals: VecDeque<Proposal>,
    events: VecDeque<WaitingEvents>,
}

/// Events of one delivery.
#[derive(Debug)]
struct WaitingEvents {
    events: Vec<EventId>,
    receipt: Option<Arc<Receipt>>,
}

impl Intake {
    /// Takes a proposal in.
    pub(crate) fn propose(&mut self, proposal: Proposal) {
        self.proposals.push_back(proposal);
    }

    /// Takes events in.
    pub(crate) fn apply(&mut self, events: Vec<EventId>, receipt: Option<Arc<Receipt>>) {
        if events.is_empty() {
            receipt.iter().for_each(|receipt| receipt.part_done());
            return;
        }
        self.events.push_back(WaitingEvents { events, receipt });
    }

    /// Tells how many claims wait.
    pub(crate) fn wanted(&self) -> usize {
        self.proposals.iter().map(Proposal::len).sum()
    }

    /// Tells whether events wait.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Takes the claims of the next commit.
    pub(crate) fn next_claims(&mut self, suspects: &Suspects) -> Vec<Proposed> {
        let mut claims = Vec::new();
        while let Some(proposal) = self.proposals.front_mut() {
            let room = CLAIMS_PER_COMMIT_MOST - claims.len();
            let trusted = proposal.trusted(suspects);
            let many = trusted_or_alone(trusted, room, claims.is_empty());
            if many == 0 {
                break;
            }
            let meets_suspect = trusted < proposal.len();
            claims.append(&mut proposal.take(many));
            if proposal.len() == 0 {
                self.proposals.pop_front();
            }
            if meets_suspect {
                break;
            }
        }
        without_doubles(claims)
    }

    /// Tells whether the next events begin with one that is to be tried alone.
    pub(crate) fn begins_with_suspect(&self, suspects: &Suspects) -> bool {
        let first = self.events.front().and_then(|waiting| waiting.events.first());
        first.is_some_and(|event| suspects.holds(Suspect::Event(*event)))
    }

    /// Takes the events of the next commit, each once, with who waits for them.
    pub(crate) fn next_events(&mut self, suspects: &Suspects) -> (Vec<EventId>, Vec<Arc<Receipt>>) {
        let (mut events, mut receipts, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        while let Some(waiting) = self.events.front_mut() {
            let room = EVENTS_PER_COMMIT_MOST - events.len();
            let is_trusted = |event: &&EventId| !suspects.holds(Suspect::Event(**event));
            let trusted = waiting.events.iter().take_while(is_trusted).count();
            let many = trusted_or_alone(trusted, room, events.is_empty());
            if many == 0 {
                break;
            }
            let meets_suspect = trusted < waiting.events.len();
            events.extend(waiting.events.drain(..many).filter(|event| seen.insert(*event)));
            // Who delivered them hears of it with the last of them.
            if waiting.events.is_empty() {
                receipts.extend(self.events.pop_front().and_then(|waiting| waiting.receipt));
            }
            if meets_suspect {
                break;
            }
        }
        (events, receipts)
    }
}

/// Tells how many to take: what is trusted, or one suspect that then goes alone.
fn trusted_or_alone(trusted: usize, room: usize, is_first: bool) -> usize {
    if trusted == 0 && is_first {
        1
    } else {
        trusted.min(room)
    }
}
