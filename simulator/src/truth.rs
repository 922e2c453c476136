//! What really happened, to compare a client's books with.

use serde::Serialize;

/// What really happened to one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientTruth {
    /// The recipient: digits of a phone number without `+`, or a user id.
    pub recipient: String,
    /// Messages accepted for it.
    pub accepted: u32,
    /// Messages delivered to it.
    pub delivered: u32,
    /// Of those, the ones that Meta charges for.
    pub billable: u32,
    /// Messages accepted and failed afterwards.
    pub failed: u32,
}

/// The simulator's own counts since it started or was reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// Messages accepted, those whose answer was then lost included.
    pub accepted: u64,
    /// Calls refused for good: bad body, token, number, template or recipient.
    pub refused: u64,
    /// Calls refused for their pace: codes 130429 and 131056.
    pub throttled: u64,
    /// Calls refused with a transient error, as JSON or not.
    pub transient_errors: u64,
    /// Accepted messages whose answer never reached the client.
    pub lost_answers: u64,
    /// Messages delivered to their recipient.
    pub delivered: u64,
    /// Messages read by their recipient.
    pub read: u64,
    /// Messages delivered that Meta charges for.
    pub billable: u64,
    /// Messages accepted and failed afterwards.
    pub failed_async: u64,
    /// Statuses answered with 200 by the callback, repeated ones included.
    pub webhooks_sent: u64,
    /// Of those, statuses sent again on purpose.
    pub webhooks_duplicated: u64,
    /// Statuses sent long after they happened, on purpose.
    pub webhooks_late: u64,
    /// Requests to the callback.
    pub webhook_requests: u64,
    /// Requests to the callback that were not answered with 200.
    pub webhook_requests_failed: u64,
    /// Statuses dropped after the time to give up.
    pub webhooks_given_up: u64,
    /// Statuses still to be sent or on their way.
    pub webhooks_pending: u64,
    /// Distinct recipients seen.
    pub recipients: u64,
    /// The largest number of messages accepted for one recipient.
    pub most_accepted_for_one_recipient: u32,
}
