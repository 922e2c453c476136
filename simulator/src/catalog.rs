//! Meta's errors: the codes this simulator answers with, and their JSON.

use std::borrow::Cow;

use serde::Serialize;

use crate::base64;
use crate::faults::Faults;

/// An error as the Graph API answers it.
#[derive(Clone, Debug)]
pub(crate) struct GraphError {
    /// HTTP status.
    pub(crate) status: u16,
    /// Meta's code, the only thing a client should decide by.
    pub(crate) code: u32,
    kind: &'static str,
    subcode: Option<u32>,
    message: Cow<'static, str>,
    details: Option<Cow<'static, str>>,
    transient: bool,
    /// Seconds for `Retry-After`.
    pub(crate) retry_after_s: Option<u64>,
    /// Minutes for `X-Business-Use-Case-Usage`.
    pub(crate) regain_access_min: Option<u64>,
}

/// HTTP status and title by code; statuses as in the reference, section 2.
const CATALOG: &[(u32, u16, &str)] = &[
    (2, 503, "Service temporarily unavailable"),
    (4, 429, "Application request limit reached"),
    (80007, 429, "Rate limit issues"),
    (130429, 429, "Rate limit hit"),
    (131000, 500, "Something went wrong"),
    (131008, 400, "Required parameter is missing"),
    (131009, 400, "Parameter value is not valid"),
    (131016, 503, "Service unavailable"),
    (131026, 400, "Message undeliverable"),
    (131042, 400, "Business eligibility payment issue"),
    (131047, 400, "Re-engagement message"),
    (131048, 429, "Spam rate limit hit"),
    (
        131049,
        400,
        "This message was not delivered to maintain healthy ecosystem engagement.",
    ),
    (
        131050,
        400,
        "Unable to deliver the message. This recipient has chosen to stop receiving marketing messages",
    ),
    (131051, 400, "Message type is not supported."),
    (
        131056,
        429,
        "(Business Account, Consumer Account) pair rate limit hit",
    ),
    (
        132000,
        400,
        "Number of parameters does not match the expected number of params",
    ),
    (132001, 404, "Template name does not exist in the translation"),
    (132015, 400, "Template is Paused"),
    (132016, 400, "Template is Disabled"),
    (137000, 400, "Recipient identity key hash mismatch"),
];

/// The title of a code, for messages and for `failed` webhooks.
pub(crate) fn title(code: u32) -> &'static str {
    entry(code).map_or("Something went wrong", |&(_, _, title)| title)
}

fn entry(code: u32) -> Option<&'static (u32, u16, &'static str)> {
    CATALOG.iter().find(|&&(known, _, _)| known == code)
}

impl GraphError {
    /// A catalogued error with what went wrong in particular.
    pub(crate) fn new(code: u32, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: entry(code).map_or(400, |&(_, status, _)| status),
            code,
            kind: "OAuthException",
            subcode: None,
            message: format!("(#{code}) {}", title(code)).into(),
            details: Some(details.into()),
            transient: matches!(code, 2 | 4 | 80007 | 130429 | 131000 | 131016 | 131056),
            retry_after_s: None,
            regain_access_min: None,
        }
    }

    /// Code 100: a parameter of the Graph call itself is missing or wrong.
    pub(crate) fn parameter(message: impl Into<Cow<'static, str>>) -> Self {
        let message = format!("(#100) {}", message.into());
        Self {
            message: message.into(),
            ..Self::plain(400, 100, "OAuthException", "")
        }
    }

    /// Code 190: the token is absent, wrong or expired.
    pub(crate) fn token(message: &'static str) -> Self {
        Self::plain(401, 190, "OAuthException", message)
    }

    /// Code 100 with subcode 33: no such object, or not ours to see.
    pub(crate) fn no_object(id: &str) -> Self {
        let message = format!(
            "Unsupported post request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
             permissions, or does not support this operation. Please read the Graph API documentation at \
             https://developers.facebook.com/docs/graph-api"
        );
        let plain = Self::plain(400, 100, "GraphMethodException", "");
        Self {
            message: message.into(),
            subcode: Some(33),
            ..plain
        }
    }

    /// Code 2500: nothing lives at this path.
    pub(crate) fn no_path(path: &str) -> Self {
        let message = format!("Unknown path components: {path}");
        Self {
            message: message.into(),
            ..Self::plain(400, 2500, "OAuthException", "")
        }
    }

    /// Code 100 with HTTP 422: the history does not know this message.
    pub(crate) fn no_history() -> Self {
        let message = "The requested message_id was not found in the message history";
        Self::plain(422, 100, "GraphMethodException", message)
    }

    fn plain(status: u16, code: u32, kind: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            kind,
            subcode: None,
            message: message.into(),
            details: None,
            transient: false,
            retry_after_s: None,
            regain_access_min: None,
        }
    }

    /// The same error with another HTTP status.
    pub(crate) fn with_status(self, status: Option<u16>) -> Self {
        Self {
            status: status.unwrap_or(self.status),
            ..self
        }
    }

    /// The same error with the waits that the fault plan asks for.
    pub(crate) fn with_waits(self, faults: &Faults) -> Self {
        let set = |value: u64| (value > 0).then_some(value);
        Self {
            retry_after_s: set(faults.retry_after_s),
            regain_access_min: set(faults.regain_access_min),
            ..self
        }
    }

    /// The JSON body.
    pub(crate) fn body(&self) -> Vec<u8> {
        let details = self.details.as_deref();
        let error = ErrorJson {
            message: &self.message,
            kind: self.kind,
            code: self.code,
            error_subcode: self.subcode,
            is_transient: self.transient.then_some(true),
            error_data: details.map(|details| ErrorData {
                messaging_product: "whatsapp",
                details,
            }),
            fbtrace_id: trace_id(),
        };
        serde_json::to_vec(&Envelope { error }).unwrap_or_default()
    }
}

fn trace_id() -> String {
    let mut id = base64::encode(&rand::random::<[u8; 16]>())
        .replace('+', "-")
        .replace('/', "_");
    id.truncate(22);
    id.insert(0, 'A');
    id
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: ErrorJson<'a>,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    code: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_subcode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_transient: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_data: Option<ErrorData<'a>>,
    fbtrace_id: String,
}

#[derive(Serialize)]
struct ErrorData<'a> {
    messaging_product: &'a str,
    details: &'a str,
}
