//! Reading what changed: each status and each message by itself, everything else as it came; then the rows to keep of it.

use domain::ids::{AttemptId, EventId, TenantId};
use domain::message::DeliveryStatus;
use domain::webhook::{Field, Quarantine, Timeliness, identity, time_of, timeliness};
use jiff::Timestamp;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::envelope::{Change, Entry, Envelope};
use super::shapes::{Contacts, MessageHead, Metadata, Status, Value, canonical, name, read_or_default};
use crate::storage::events::{NewOther, NewStatus};

/// The types of users' messages, as Meta documents them.
const MESSAGE_TYPES: [&str; 17] = [
    "text",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contacts",
    "button",
    "interactive",
    "order",
    "reaction",
    "system",
    "unsupported",
    "edit",
    "revoke",
    "request_welcome",
];

/// One thing that happened.
struct Update {
    identity: [u8; 32],
    occurred_at: Option<Timestamp>,
    raw: String,
    what: What,
}

enum What {
    Status(Box<Status>),
    Other,
    Quarantined(Quarantine),
}

/// A change, before it is known whose it is.
pub struct Sorted {
    /// Which field changed.
    pub field: Field,
    /// Meta's id of the account that reports it.
    pub account: String,
    /// Meta's id of the number that it is about, if it is about one.
    pub number: Option<String>,
    /// Messages of users of a type that nobody here has heard of.
    pub unknown_messages: usize,
    kind: String,
    updates: Vec<Update>,
}

/// The rows to keep of something that was delivered.
#[derive(Debug, Default)]
pub struct Rows {
    /// Statuses of our attempts.
    pub statuses: Vec<NewStatus>,
    /// Everything else.
    pub others: Vec<NewOther>,
    /// How many came more than five minutes after they happened.
    pub late: usize,
}

/// A part of a delivery.
pub enum Part {
    /// A change.
    Change(Sorted),
    /// Bytes that are none, in quarantine.
    NotUnderstood(Rows),
}

/// Takes a delivery apart. Whatever it is, some part of it is kept.
pub fn parts(body: &[u8]) -> Vec<Part> {
    let not_understood = |bytes: &[u8]| Part::NotUnderstood(Rows::not_understood(bytes));
    let mut parts = Vec::new();
    let entries =
        serde_json::from_slice::<Envelope<'_>>(body).map_or_else(|_| Vec::new(), |envelope| envelope.entry);
    for raw in entries {
        match serde_json::from_str::<Entry<'_>>(raw.get()) {
            Ok(entry) if !entry.changes.is_empty() => {
                parts.extend(entry.changes.iter().map(|raw| {
                    let change = serde_json::from_str::<Change<'_>>(raw.get());
                    change.map_or_else(
                        |_| not_understood(raw.get().as_bytes()),
                        |change| Part::Change(Sorted::read(&entry, &change)),
                    )
                }));
            }
            _ => parts.push(not_understood(raw.get().as_bytes())),
        }
    }
    if parts.is_empty() {
        parts.push(not_understood(body));
    }
    parts
}

impl Rows {
    /// Keeps bytes that are no envelope, or a part that is not understood.
    pub fn not_understood(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        Self {
            others: vec![NewOther {
                id: Uuid::now_v7(),
                identity: identity(&[b"bytes", bytes]),
                tenant: None,
                kind: "not_understood".to_owned(),
                phone_number_id: None,
                waba_id: String::new(),
                happened_at: None,
                quarantined_because: Some(Quarantine::NotUnderstood),
                raw: serde_json::Value::from(text).to_string(),
            }],
            ..Self::default()
        }
    }

    /// Takes other rows in.
    pub fn extend(&mut self, rows: Self) {
        self.statuses.extend(rows.statuses);
        self.others.extend(rows.others);
        self.late += rows.late;
    }
}

impl Sorted {
    /// Reads a change.
    fn read(entry: &Entry<'_>, change: &Change<'_>) -> Self {
        let field = Field::of(&change.field.0);
        let value = serde_json::from_str::<Value<'_>>(change.value.get()).ok();
        let metadata = value.as_ref().and_then(|value| value.metadata);
        let number = metadata.map(|raw| read_or_default::<Metadata>(raw).phone_number_id.0);
        let mut sorted = Self {
            field,
            account: name(&entry.id.0),
            number: number
                .filter(|number| !number.is_empty())
                .map(|number| name(&number)),
            unknown_messages: 0,
            kind: name(&change.field.0),
            updates: Vec::new(),
        };
        let time = entry.time.number().and_then(time_of);
        match value {
            Some(value) if field == Field::Messages => sorted.take_messages(&value, change, time),
            Some(value) => {
                let newest = value
                    .user_preferences
                    .iter()
                    .flatten()
                    .filter_map(|raw| time_in(raw))
                    .max();
                sorted.take_whole(change, time.or(newest), What::Other);
            }
            None if field == Field::Messages => {
                sorted.take_whole(change, time, What::Quarantined(Quarantine::NotUnderstood));
            }
            None => sorted.take_whole(change, time, What::Other),
        }
        sorted
    }

    /// How many things happened.
    pub const fn updates(&self) -> usize {
        self.updates.len()
    }

    fn take_messages(&mut self, value: &Value<'_>, change: &Change<'_>, time: Option<Timestamp>) {
        let statuses = value.statuses.as_deref().unwrap_or_default();
        let messages = value.messages.as_deref().unwrap_or_default();
        for raw in statuses {
            self.take_status(raw);
        }
        let contacts = Contacts::read(value.contacts.as_deref().unwrap_or_default());
        let metadata = value.metadata.map_or("null", RawValue::get);
        for raw in messages {
            self.take_message(raw, metadata, &contacts);
        }
        if value.errors.is_some() || (statuses.is_empty() && messages.is_empty()) {
            self.take_whole(change, time, What::Other);
        }
    }

    fn take_status(&mut self, raw: &RawValue) {
        let number = self.number.as_deref().unwrap_or_default().as_bytes();
        let update = match serde_json::from_str::<Status>(raw.get()) {
            Ok(status) => Update {
                identity: identity(&[
                    b"status",
                    number,
                    status.id.0.as_bytes(),
                    status.status.0.as_bytes(),
                    status.recipient_id.0.as_bytes(),
                    status.recipient_participant_id.0.as_bytes(),
                ]),
                occurred_at: status.timestamp.number().and_then(time_of),
                raw: raw.get().to_owned(),
                what: What::Status(Box::new(status)),
            },
            Err(_) => Update {
                identity: identity(&[b"status", number, raw.get().as_bytes()]),
                occurred_at: None,
                raw: raw.get().to_owned(),
                what: What::Quarantined(Quarantine::NotUnderstood),
            },
        };
        self.updates.push(update);
    }

    /// Keeps a message in the form of a value with this message alone, so that it reads like any other.
    fn take_message(&mut self, raw: &RawValue, metadata: &str, contacts: &Contacts<'_>) {
        let head = read_or_default::<MessageHead>(raw);
        let number = self.number.as_deref().unwrap_or_default().as_bytes();
        let own = if head.id.0.is_empty() {
            identity(&[b"message", number, raw.get().as_bytes()])
        } else {
            identity(&[b"message", number, head.id.0.as_bytes()])
        };
        self.unknown_messages += usize::from(!MESSAGE_TYPES.contains(&head.kind.0.as_str()));
        let contact = contacts.find(&head).unwrap_or_default();
        self.updates.push(Update {
            identity: own,
            occurred_at: head.timestamp.number().and_then(time_of),
            raw: format!(
                r#"{{"metadata":{metadata},"contacts":[{contact}],"messages":[{}]}}"#,
                raw.get()
            ),
            what: What::Other,
        });
    }

    fn take_whole(&mut self, change: &Change<'_>, occurred_at: Option<Timestamp>, what: What) {
        let time = occurred_at.map(|time| time.as_millisecond().to_be_bytes());
        self.updates.push(Update {
            identity: identity(&[
                b"change",
                self.account.as_bytes(),
                self.kind.as_bytes(),
                time.as_ref().map_or(&[], |bytes| bytes.as_slice()),
                canonical(change.value.get()).as_bytes(),
            ]),
            occurred_at,
            raw: change.value.get().to_owned(),
            what,
        });
    }

    /// Makes the rows, now that it is known whose they are, or why they are nobody's.
    pub fn rows(self, owner: Result<TenantId, Quarantine>, now: Timestamp) -> Rows {
        let mut rows = Rows::default();
        for update in self.updates {
            let judged = judge(&update, owner, now);
            rows.late += usize::from(matches!(judged, Ok((_, Timeliness::Late))));
            let judged = judged.and_then(|(tenant, _)| match &update.what {
                What::Status(status) => status_row(tenant, status, &update, now).map(Some),
                What::Other | What::Quarantined(_) => Ok(None),
            });
            match judged {
                Ok(Some(status)) => rows.statuses.push(status),
                kept => rows.others.push(NewOther {
                    id: Uuid::now_v7(),
                    identity: update.identity,
                    tenant: owner.ok(),
                    kind: self.kind.clone(),
                    phone_number_id: self.number.clone(),
                    waba_id: self.account.clone(),
                    happened_at: update.occurred_at,
                    quarantined_because: kept.err(),
                    raw: update.raw,
                }),
            }
        }
        rows
    }
}

fn judge(
    update: &Update,
    owner: Result<TenantId, Quarantine>,
    now: Timestamp,
) -> Result<(TenantId, Timeliness), Quarantine> {
    let tenant = owner?;
    if let What::Quarantined(because) = update.what {
        return Err(because);
    }
    match update.occurred_at.map(|time| timeliness(time, now)) {
        Some(Timeliness::Impossible(because)) => Err(because),
        Some(timeliness) => Ok((tenant, timeliness)),
        None => Ok((tenant, Timeliness::OnTime)),
    }
}

fn status_row(
    tenant: TenantId,
    status: &Status,
    update: &Update,
    now: Timestamp,
) -> Result<NewStatus, Quarantine> {
    // A voice message that was listened to has been read, and more.
    let reported = match status.status.0.as_str() {
        "played" => "read",
        reported => reported,
    };
    let known: DeliveryStatus = reported.parse().map_err(|_| Quarantine::UnknownStatus)?;
    let attempt = Uuid::parse_str(&status.biz_opaque_callback_data.0).map_err(|_| Quarantine::NotOurs)?;
    let pricing = status.pricing.as_ref();
    let row = NewStatus {
        id: EventId(Uuid::now_v7()),
        tenant,
        attempt: AttemptId(attempt),
        status: known.as_str(),
        occurred_at: update.occurred_at.unwrap_or(now),
        pricing_type: pricing.and_then(|pricing| pricing.kind.clone()),
        pricing_category: pricing.and_then(|pricing| pricing.category.clone()),
        pricing_billable: pricing.and_then(|pricing| pricing.billable),
        error_code: error_code(status),
        wamid: status.id.0.clone(),
        raw: update.raw.clone(),
    };
    let texts = [
        Some(&row.wamid),
        row.pricing_type.as_ref(),
        row.pricing_category.as_ref(),
    ];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(Quarantine::NotUnderstood);
    }
    Ok(row)
}

fn error_code(status: &Status) -> Option<i32> {
    let first = status.errors.as_deref()?.first()?;
    i32::try_from(first.code.number()?).ok()
}

fn time_in(raw: &RawValue) -> Option<Timestamp> {
    let head = read_or_default::<MessageHead>(raw);
    head.timestamp.number().and_then(time_of)
}
