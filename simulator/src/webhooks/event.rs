//! One status to be told to the callback.

use std::cmp::Ordering;

use crate::messages::Status;

/// A status of a message, and when to send it. Times are milliseconds since the simulator started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// When to send it, or to send it again.
    pub(crate) due_ms: u64,
    /// When it happens; the timestamp in the webhook.
    pub(crate) occurred_ms: u64,
    /// When it was first sent; `None` before.
    pub(crate) first_sent_ms: Option<u64>,
    /// Which message.
    pub(crate) message: u32,
    /// Which status.
    pub(crate) status: Status,
    /// Requests made so far.
    pub(crate) attempts: u8,
    /// It carries the price: `sent`, and the first of `delivered` and `read`.
    pub(crate) priced: bool,
    /// It goes in a request of its own.
    pub(crate) alone: bool,
    /// How long its webhook is held back once it happened.
    pub(crate) postponed_ms: u64,
    /// It is sent late on purpose.
    pub(crate) late: bool,
    /// It is a second copy on purpose.
    pub(crate) duplicate: bool,
}

impl Event {
    /// A status to be sent when it happens.
    pub(crate) fn new(message: u32, status: Status, occurred_ms: u64) -> Self {
        Self {
            due_ms: occurred_ms,
            occurred_ms,
            first_sent_ms: None,
            message,
            status,
            attempts: 0,
            priced: matches!(status, Status::Sent | Status::Delivered),
            alone: false,
            postponed_ms: 0,
            late: false,
            duplicate: false,
        }
    }

    /// The same event, carrying the price of a `delivered` that never comes.
    pub(crate) fn implying_delivered(self, implied: bool) -> Self {
        Self {
            priced: self.priced || implied,
            ..self
        }
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |event: &Self| (event.due_ms, event.message, event.status, event.duplicate);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
