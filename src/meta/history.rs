//! Reading what Meta's message history says of a message.

use domain::message::DeliveryStatus;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Something that happened to a message, as the history tells it.
#[derive(Debug, PartialEq, Eq)]
pub struct Past {
    /// What.
    pub status: DeliveryStatus,
    /// When.
    pub occurred_at: Timestamp,
    /// As it came.
    pub raw: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    events: Events,
}

#[derive(Deserialize)]
struct Events {
    data: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Event {
    delivery_status: String,
    timestamp: i64,
}

/// Reads the answer; what is not a status of ours is passed over.
pub(super) fn read(body: &[u8]) -> Result<Vec<Past>, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| format!("Meta's answer is not understood: {error}"))?;
    let events = answer.data.into_iter().flat_map(|message| message.events.data);
    Ok(events.filter_map(|raw| past(&raw)).collect())
}

fn past(raw: &RawValue) -> Option<Past> {
    let event: Event = serde_json::from_str(raw.get()).ok()?;
    Some(Past {
        status: event.delivery_status.to_lowercase().parse().ok()?,
        occurred_at: Timestamp::from_second(event.timestamp).ok()?,
        raw: raw.get().to_owned(),
    })
}
