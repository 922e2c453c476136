//! The JSON of Meta's values, as far as we look into it.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::Scalar;

/// Characters of a name of Meta's that are kept; it is a label, and what came is in `raw`.
const NAME_MOST: usize = 128;
#[derive(Deserialize)]
pub(super) struct Value<'a> {
    #[serde(borrow, default)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) contacts: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    pub(super) statuses: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    pub(super) messages: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    pub(super) errors: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) user_preferences: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) phone_number_id: Scalar,
}

#[derive(Default, Deserialize)]
pub(super) struct Person {
    #[serde(default)]
    pub(super) wa_id: Scalar,
    #[serde(default)]
    pub(super) user_id: Scalar,
}

/// What every message of a user has in front.
#[derive(Default, Deserialize)]
pub(super) struct MessageHead {
    #[serde(default)]
    pub(super) id: Scalar,
    #[serde(default)]
    pub(super) from: Scalar,
    #[serde(default)]
    pub(super) from_user_id: Scalar,
    #[serde(default)]
    pub(super) timestamp: Scalar,
    #[serde(default, rename = "type")]
    pub(super) kind: Scalar,
}

#[derive(Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) id: Scalar,
    #[serde(default)]
    pub(super) status: Scalar,
    #[serde(default)]
    pub(super) timestamp: Scalar,
    #[serde(default)]
    pub(super) recipient_id: Scalar,
    #[serde(default)]
    pub(super) recipient_participant_id: Scalar,
    #[serde(default)]
    pub(super) biz_opaque_callback_data: Scalar,
    #[serde(default)]
    pub(super) pricing: Option<Pricing>,
    #[serde(default)]
    pub(super) errors: Option<Vec<ErrorField>>,
}

#[derive(Deserialize)]
pub(super) struct Pricing {
    #[serde(default)]
    pub(super) billable: Option<bool>,
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) category: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ErrorField {
    #[serde(default)]
    pub(super) code: Scalar,
}

/// The people of a value, by how messages name their sender.
pub(super) struct Contacts<'a>(HashMap<String, &'a str>);

impl<'a> Contacts<'a> {
    pub(super) fn read(contacts: &[&'a RawValue]) -> Self {
        let mut found = HashMap::new();
        for raw in contacts {
            let person = read_or_default::<Person>(raw);
            for name in [person.wa_id.0, person.user_id.0] {
                if !name.is_empty() {
                    found.insert(name, raw.get());
                }
            }
        }
        Self(found)
    }

    pub(super) fn find(&self, head: &MessageHead) -> Option<&'a str> {
        let known = |name: &Scalar| self.0.get(&name.0).copied();
        known(&head.from).or_else(|| known(&head.from_user_id))
    }
}

pub(super) fn read_or_default<T: Default + for<'de> Deserialize<'de>>(raw: &RawValue) -> T {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// The same text for the same value, whatever its spaces and the order of its fields. What is nested too deeply is itself.
pub(super) fn canonical(json: &str) -> String {
    serde_json::from_str::<serde_json::Value>(json)
        .map_or_else(|_| json.to_owned(), |value| value.to_string())
}

/// A name of Meta's in the form of a label: short, and without the character that PostgreSQL does not take.
pub(super) fn name(text: &str) -> String {
    text.chars()
        .take(NAME_MOST)
        .map(|character| if character == '\0' { '\u{fffd}' } else { character })
        .collect()
}
