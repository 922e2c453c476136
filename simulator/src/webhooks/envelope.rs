//! The body of a webhook, in the form Meta uses since Graph v24: prices per message, no conversation.

use std::sync::Arc;

use serde::Serialize;

use crate::catalog;
use crate::config::NumberConfig;
use crate::messages::{Category, Status};
use crate::recipients;

const ERRORS_PAGE: &str = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/";

/// One status with all that its webhook says.
#[derive(Debug)]
pub(crate) struct Line {
    /// The message's id.
    pub(crate) id: String,
    /// What happened.
    pub(crate) status: Status,
    /// When it happened.
    pub(crate) unix_s: u64,
    /// Digits, or a business-scoped user id.
    pub(crate) recipient: Arc<str>,
    /// Whose message it is.
    pub(crate) number: Arc<NumberConfig>,
    /// `biz_opaque_callback_data` as it was sent.
    pub(crate) opaque: Option<Arc<str>>,
    /// The price, on the statuses that carry it: category, and whether it is free.
    pub(crate) price: Option<(Category, bool)>,
    /// Why it failed; 0 if it did not.
    pub(crate) failed_code: u32,
}

/// Writes the body that tells all of `lines`: one change per number.
pub(crate) fn write(lines: &[Line], with_contacts: bool) -> Vec<u8> {
    let mut numbers: Vec<&Arc<NumberConfig>> = Vec::new();
    for line in lines {
        if !numbers.iter().any(|number| number.id == line.number.id) {
            numbers.push(&line.number);
        }
    }
    let entry = numbers
        .into_iter()
        .map(|number| entry_of(number, lines, with_contacts))
        .collect();
    serde_json::to_vec(&Envelope {
        object: "whatsapp_business_account",
        entry,
    })
    .unwrap_or_default()
}

fn entry_of<'a>(number: &'a NumberConfig, lines: &'a [Line], with_contacts: bool) -> Entry<'a> {
    let own = || lines.iter().filter(|line| line.number.id == number.id);
    let value = Value {
        messaging_product: "whatsapp",
        metadata: Metadata {
            display_phone_number: &number.display_phone_number,
            phone_number_id: &number.id,
        },
        contacts: with_contacts.then(|| own().map(contact_of).collect()),
        statuses: own().map(status_of).collect(),
    };
    Entry {
        id: &number.waba_id,
        changes: [Change {
            value,
            field: "messages",
        }],
    }
}

fn contact_of(line: &Line) -> Contact<'_> {
    let is_user_id = recipients::is_user_id(&line.recipient);
    let user_id = if is_user_id {
        line.recipient.to_string()
    } else {
        format!("US.{}", line.recipient)
    };
    Contact {
        profile: Profile {
            name: "Simulated Recipient",
        },
        wa_id: (!is_user_id).then_some(&*line.recipient),
        user_id,
    }
}

fn status_of(line: &Line) -> StatusJson<'_> {
    StatusJson {
        id: &line.id,
        status: line.status.name(),
        timestamp: line.unix_s.to_string(),
        recipient_id: &line.recipient,
        biz_opaque_callback_data: line.opaque.as_deref(),
        pricing: line.price.map(|(category, free)| Pricing {
            billable: !free,
            pricing_model: "PMP",
            kind: if free { free_kind(category) } else { "regular" },
            category: category.name(),
        }),
        errors: (line.status == Status::Failed).then(|| [error_of(line.failed_code)]),
    }
}

/// Free-form messages are free within the monthly allowance, templates through a free entry point.
fn free_kind(category: Category) -> &'static str {
    if category == Category::Service {
        "free_customer_service"
    } else {
        "free_entry_point"
    }
}

fn error_of(code: u32) -> StatusError {
    let title = catalog::title(code);
    StatusError {
        code,
        title,
        message: title,
        error_data: ErrorDetails { details: title },
        href: ERRORS_PAGE,
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    object: &'a str,
    entry: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    changes: [Change<'a>; 1],
}

#[derive(Serialize)]
struct Change<'a> {
    value: Value<'a>,
    field: &'a str,
}

#[derive(Serialize)]
struct Value<'a> {
    messaging_product: &'a str,
    metadata: Metadata<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contacts: Option<Vec<Contact<'a>>>,
    statuses: Vec<StatusJson<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    display_phone_number: &'a str,
    phone_number_id: &'a str,
}

#[derive(Serialize)]
struct Contact<'a> {
    profile: Profile<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wa_id: Option<&'a str>,
    user_id: String,
}

#[derive(Serialize)]
struct Profile<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct StatusJson<'a> {
    id: &'a str,
    status: &'a str,
    timestamp: String,
    recipient_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    biz_opaque_callback_data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<Pricing<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<[StatusError; 1]>,
}

#[derive(Serialize)]
struct Pricing<'a> {
    billable: bool,
    pricing_model: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    category: &'a str,
}

#[derive(Serialize)]
struct StatusError {
    code: u32,
    title: &'static str,
    message: &'static str,
    error_data: ErrorDetails,
    href: &'static str,
}

#[derive(Serialize)]
struct ErrorDetails {
    details: &'static str,
}
