//! When each message was accepted: what promises about pauses and latency are checked by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::shared::Shared;

/// One message that was accepted, whether or not its answer arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The digits of a phone number, or a business-scoped user id.
    pub recipient: Arc<str>,
    /// When, on the clock of this process, to a tenth of a millisecond.
    pub at: Instant,
}

/// A moment after the start, in the unit that a message keeps: 4,294,967,295 of them are nearly five days.
pub(crate) fn tenths_of_ms(after_start: Duration) -> u32 {
    u32::try_from(after_start.as_micros() / 100).unwrap_or(u32::MAX)
}

/// What a number had accepted since a moment, in order.
pub(crate) fn of_number(shared: &Shared, phone_number_id: &str, since: Instant) -> Vec<Acceptance> {
    let mut state = shared.state();
    let Some(number) = state.numbers.find(phone_number_id) else {
        return Vec::new();
    };
    // Cut off like the times of messages, so that nothing accepted after `since` is missed.
    let from = tenths_of_ms(since.saturating_duration_since(shared.started()));
    let mut found: Vec<Acceptance> = state
        .messages
        .iter()
        .filter(|message| message.number == number && message.accepted_tenths_ms >= from)
        .map(|message| Acceptance {
            recipient: Arc::clone(&state.recipients.at(message.recipient).name),
            at: shared.started() + Duration::from_micros(u64::from(message.accepted_tenths_ms) * 100),
        })
        .collect();
    found.sort_by_key(|acceptance| acceptance.at);
    found
}
