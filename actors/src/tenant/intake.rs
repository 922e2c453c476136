//! What waits for a commit to take it along: proposals and events, in order.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use domain::ids::EventId;

use crate::limits::{CLAIMS_PER_COMMIT_MOST, EVENTS_PER_COMMIT_MOST};
use crate::tenant::commit::without_doubles;
use crate::tenant::proposal::{Proposal, Proposed};
use crate::tenant::receipt::Receipt;

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
    pub(crate) fn next_claims(&mut self) -> Vec<Proposed> {
        let mut claims = Vec::new();
        while let Some(proposal) = self.proposals.front_mut() {
            let room = CLAIMS_PER_COMMIT_MOST - claims.len();
            if room == 0 {
                break;
            }
            claims.append(&mut proposal.take(room));
            if proposal.len() == 0 {
                self.proposals.pop_front();
            }
        }
        without_doubles(claims)
    }

    /// Takes the events of the next commit, each once, with who waits for them.
    pub(crate) fn next_events(&mut self) -> (Vec<EventId>, Vec<Arc<Receipt>>) {
        let (mut events, mut receipts, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        while let Some(waiting) = self.events.front() {
            if !events.is_empty() && events.len() + waiting.events.len() > EVENTS_PER_COMMIT_MOST {
                break;
            }
            let Some(waiting) = self.events.pop_front() else {
                break;
            };
            events.extend(waiting.events.into_iter().filter(|event| seen.insert(*event)));
            receipts.extend(waiting.receipt);
        }
        (events, receipts)
    }
}
