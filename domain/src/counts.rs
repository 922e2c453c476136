//! How many recipients of a campaign are in each state: the balance sheet and its changes.

use std::ops::{AddAssign, Index, IndexMut};

use crate::message::MessageState;

/// A number for each message state: counts, or changes of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([i64; MessageState::ALL.len()]);

impl Counts {
    /// Gives the sum over all states. For counts it is the campaign's total, for changes of counts without
    /// new messages it is zero.
    pub fn total(&self) -> i64 {
        self.0.iter().sum()
    }

    /// Notes that a message went from one state to another.
    pub fn moved(&mut self, from: MessageState, to: MessageState) {
        self[from] -= 1;
        self[to] += 1;
    }

    /// Tells whether nothing changes.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|&count| count == 0)
    }

    /// Gives each state with its number, in the design's order.
    pub fn iter(&self) -> impl Iterator<Item = (MessageState, i64)> + '_ {
        MessageState::ALL.iter().map(|&state| (state, self[state]))
    }

    /// Tells whether the campaign has nothing left to send.
    pub fn nothing_to_send(&self) -> bool {
        MessageState::ALL
            .iter()
            .filter(|state| state.is_to_send())
            .all(|&state| self[state] == 0)
    }
}

impl Index<MessageState> for Counts {
    type Output = i64;

    fn index(&self, state: MessageState) -> &i64 {
        &self.0[state as usize]
    }
}

impl Index<&MessageState> for Counts {
    type Output = i64;

    fn index(&self, state: &MessageState) -> &i64 {
        &self.0[*state as usize]
    }
}

impl IndexMut<MessageState> for Counts {
    fn index_mut(&mut self, state: MessageState) -> &mut i64 {
        &mut self.0[state as usize]
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(mine, theirs)| *mine += theirs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_message_never_changes_the_total() {
        let mut counts = Counts::default();
        counts[MessageState::Planned] = 3;
        counts.moved(MessageState::Planned, MessageState::Queued);
        assert_eq!(counts.total(), 3);
        assert!(!counts.nothing_to_send());
    }
}
