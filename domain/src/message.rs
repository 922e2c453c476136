//! The life of one message: its states and which fact may move it where.

use crate::named::named_states;

named_states! {
    /// Where a message is. A recipient of a campaign is in exactly one of these.
    MessageState, UnknownMessageState {
        /// Stored, waiting for its time.
        Planned = "planned",
        /// Handed to the broker; the tenant's owner will claim it.
        Queued = "queued",
        /// Claimed and paid for; the call to Meta may be under way.
        Sending = "sending",
        /// Meta answered 200.
        Accepted = "accepted",
        /// Meta's status `sent`.
        Sent = "sent",
        /// Meta's status `delivered`.
        Delivered = "delivered",
        /// Meta's status `read` or `played`.
        Read = "read",
        /// Refused for good, by the call or by a status.
        Failed = "failed",
        /// It may have left or not; only evidence or the tenant's policy moves it on.
        Unknown = "unknown",
        /// All attempts used up; waits for a replay.
        Dead = "dead",
        /// Its campaign was cancelled before it was claimed.
        Cancelled = "cancelled",
        /// The recipient is on the tenant's suppression list.
        Suppressed = "suppressed",
    }
}

named_states! {
    /// What a status webhook of Meta says of an attempt.
    DeliveryStatus, UnknownDeliveryStatus {
        /// On its way to the recipient's device.
        Sent = "sent",
        /// On the recipient's device.
        Delivered = "delivered",
        /// Displayed. Implies delivered.
        Read = "read",
        /// Will not arrive.
        Failed = "failed",
    }
}

named_states! {
    /// Which queue a message waits in at its owner.
    Lane, UnknownLane {
        /// Single messages: they overtake campaigns.
        Fast = "fast",
        /// Campaigns.
        Bulk = "bulk",
    }
}

impl MessageState {
    /// Tells whether something is still to be done to send the message.
    pub const fn is_to_send(self) -> bool {
        matches!(self, Self::Planned | Self::Queued | Self::Sending)
    }

    /// Decides where a status from Meta moves the message, if anywhere.
    ///
    /// Evidence only ever moves a message forward, so statuses may come late, twice or in any order:
    /// the last word is the strongest of those heard (`failed` < `sent` < `delivered` < `read`). A status
    /// is proof that the call arrived, whatever we believed: it also moves `sending`, `unknown`, `failed` and `dead`.
    pub fn after(self, status: DeliveryStatus) -> Option<Self> {
        let next = match status {
            DeliveryStatus::Sent => Self::Sent,
            DeliveryStatus::Delivered => Self::Delivered,
            DeliveryStatus::Read => Self::Read,
            DeliveryStatus::Failed => Self::Failed,
        };
        let moves = match next {
            Self::Failed => self.evidence() < Self::Delivered.evidence() && self != Self::Failed,
            Self::Sent => self.evidence() < Self::Sent.evidence() && self != Self::Failed,
            _ => self.evidence() < next.evidence(),
        };
        moves.then_some(next)
    }

    /// Ranks how much is known of the message's arrival.
    const fn evidence(self) -> u8 {
        match self {
            Self::Read => 4,
            Self::Delivered => 3,
            Self::Sent => 2,
            Self::Accepted => 1,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statuses() -> impl Strategy<Value = Vec<DeliveryStatus>> {
        proptest::collection::vec(proptest::sample::select(DeliveryStatus::ALL), 0..8)
    }

    fn settle(start: MessageState, statuses: &[DeliveryStatus]) -> MessageState {
        statuses
            .iter()
            .fold(start, |state, &status| state.after(status).unwrap_or(state))
    }

    #[test]
    fn a_late_status_never_moves_a_message_back() {
        assert_eq!(MessageState::Read.after(DeliveryStatus::Delivered), None);
        assert_eq!(MessageState::Delivered.after(DeliveryStatus::Sent), None);
        assert_eq!(MessageState::Delivered.after(DeliveryStatus::Failed), None);
    }

    #[test]
    fn a_status_settles_what_was_unknown() {
        assert_eq!(
            MessageState::Unknown.after(DeliveryStatus::Sent),
            Some(MessageState::Sent)
        );
        assert_eq!(
            MessageState::Sending.after(DeliveryStatus::Read),
            Some(MessageState::Read)
        );
        assert_eq!(
            MessageState::Failed.after(DeliveryStatus::Delivered),
            Some(MessageState::Delivered)
        );
    }

    proptest! {
        #[test]
        fn the_order_and_the_number_of_statuses_do_not_matter(
            (heard, shuffled) in statuses().prop_flat_map(|heard| (Just(heard.clone()), Just(heard).prop_shuffle())),
            start in proptest::sample::select(vec![MessageState::Sending, MessageState::Accepted, MessageState::Unknown]),
        ) {
            let twice: Vec<_> = shuffled.iter().chain(&heard).copied().collect();
            prop_assert_eq!(settle(start, &heard), settle(start, &shuffled));
            prop_assert_eq!(settle(start, &heard), settle(start, &twice));
        }
    }
}
