//! What a delivery says beside its envelope, in AMQP headers: which trace it continues, and since when what it names waits. Nothing
//! depends on it: an older program writes none and reads none.

use jiff::Timestamp;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use super::Envelope;

/// W3C's header: version, trace, span, flags.
const TRACEPARENT: &str = "traceparent";
/// The times, eight bytes for each.
const SINCE: &str = "malote-since";

/// What a delivery says beside its envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The trace that it continues: a message's id, the first one's where it names several.
    pub trace: Option<Uuid>,
    /// When what it names began to wait: messages were due, events happened by Meta's clock. In no order; it may know fewer times
    /// than the envelope has ids.
    pub since: Vec<Timestamp>,
}

impl Note {
    /// Makes the note of an envelope whose messages are due now.
    pub fn of(envelope: &Envelope) -> Self {
        match envelope {
            Envelope::Send { messages, .. } => Self {
                trace: messages.first().map(|message| message.0),
                since: vec![Timestamp::now()],
            },
            Envelope::Events { .. } | Envelope::Tick => Self::default(),
        }
    }

    /// Gives the oldest of the times.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.since.iter().min().copied()
    }

    /// Adds the times of an envelope that was gathered with this one's.
    pub(super) fn absorb(&mut self, other: Self) {
        self.trace = self.trace.or(other.trace);
        self.since.extend(other.since);
    }

    /// Writes it as headers, with a span of its own. Messages of one delivery are due together: the oldest stands for all.
    pub(super) fn headers(&self, envelope: &Envelope) -> FieldTable {
        let mut headers = FieldTable::default();
        if let Some(trace) = self.trace {
            let parent = traceparent(trace, rand::random_range(1..=u64::MAX));
            headers.insert(TRACEPARENT.into(), AMQPValue::LongString(parent.into()));
        }
        let since = match envelope {
            Envelope::Send { .. } => self.oldest().into_iter().collect(),
            Envelope::Events { .. } => self.since.clone(),
            Envelope::Tick => Vec::new(),
        };
        if !since.is_empty() {
            let times = since.iter().flat_map(|time| time.as_millisecond().to_be_bytes());
            let times: Vec<u8> = times.collect();
            headers.insert(SINCE.into(), AMQPValue::LongString(times.into()));
        }
        headers
    }

    /// Reads it from headers; what is not understood is not there.
    pub(super) fn read(headers: Option<&FieldTable>) -> Self {
        let text = |name: &str| match headers?.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.as_bytes()),
            _ => None,
        };
        let times = text(SINCE).unwrap_or_default().chunks_exact(8);
        let times = times.filter_map(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)));
        Self {
            trace: text(TRACEPARENT).and_then(trace_of),
            since: times
                .filter_map(|time| Timestamp::from_millisecond(time).ok())
                .collect(),
        }
    }
}

fn traceparent(trace: Uuid, span: u64) -> String {
    format!("00-{}-{span:016x}-01", trace.simple())
}

/// Reads the trace of a `traceparent`, of whichever version.
fn trace_of(text: &[u8]) -> Option<Uuid> {
    let text = std::str::from_utf8(text).ok()?;
    let trace = text.split('-').nth(1).filter(|trace| trace.len() == 32)?;
    Uuid::try_parse(trace).ok().filter(|trace| !trace.is_nil())
}

#[cfg(test)]
mod tests {
    use domain::ids::{EventId, MessageId, SenderId, TenantId};
    use domain::message::Lane;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn events(many: usize) -> Envelope {
        Envelope::Events {
            tenant: TenantId(Uuid::now_v7()),
            events: vec![EventId(Uuid::now_v7()); many],
        }
    }

    #[test]
    fn a_note_survives_the_way_and_its_trace_is_the_message() {
        let message = Uuid::now_v7();
        let envelope = Envelope::Send {
            tenant: TenantId(Uuid::now_v7()),
            sender: SenderId(Uuid::now_v7()),
            lane: Lane::Fast,
            campaign: None,
            messages: vec![MessageId(message)],
        };
        let mut note = Note::of(&envelope);
        assert_eq!(note.trace, Some(message));
        note.since = vec![at(7), at(5)];
        let headers = note.headers(&envelope);
        let Some(AMQPValue::LongString(parent)) = headers.inner().get(TRACEPARENT) else {
            panic!("{headers:?}");
        };
        let parent = String::from_utf8(parent.as_bytes().to_vec()).expect("text");
        let parts: Vec<&str> = parent.split('-').collect();
        let simple = message.simple().to_string();
        assert_eq!((parts[0], parts[1], parts[3]), ("00", simple.as_str(), "01"));
        assert_eq!(parts[2].len(), 16);
        let read = Note::read(Some(&headers));
        assert_eq!((read.trace, read.since), (Some(message), vec![at(5)]));
    }

    #[test]
    fn each_event_keeps_its_time_and_gathers_with_others() {
        let mut note = Note {
            trace: None,
            since: vec![at(3)],
        };
        let trace = Uuid::now_v7();
        note.absorb(Note {
            trace: Some(trace),
            since: vec![at(1), at(2)],
        });
        let read = Note::read(Some(&note.headers(&events(3))));
        assert_eq!(read.since, [at(3), at(1), at(2)]);
        assert_eq!((read.trace, read.oldest()), (Some(trace), Some(at(1))));
    }

    #[test]
    fn what_others_write_is_no_note() {
        assert_eq!(Note::read(None), Note::default());
        let mut headers = FieldTable::default();
        headers.insert(TRACEPARENT.into(), AMQPValue::LongString("00-zz-1-01".into()));
        headers.insert(SINCE.into(), AMQPValue::LongLongInt(7));
        assert_eq!(Note::read(Some(&headers)), Note::default());
        for text in [
            "",
            "00",
            "00-00000000000000000000000000000000-0000000000000001-01",
        ] {
            assert_eq!(trace_of(text.as_bytes()), None, "{text}");
        }
    }
}
