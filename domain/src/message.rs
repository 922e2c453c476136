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
