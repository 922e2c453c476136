//! Reading a delivery of Meta: each status by itself, everything else kept as it came.

use domain::ids::{AttemptId, EventId, TenantId};
use domain::message::DeliveryStatus;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::storage::events::{NewOther, NewStatus};

/// A delivery, as far as we look into it. Unknown fields are Meta's right.
#[derive(Deserialize)]
pub(super) struct Delivery<'a> {
    #[serde(borrow, default)]
    pub(super) entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(default)]
    pub(super) id: String,
    /// When Meta sent it, in seconds; only of what is not about a message.
    #[serde(default)]
    time: Option<i64>,
    #[serde(borrow, default)]
    pub(super) changes: Vec<Change<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Change<'a> {
    #[serde(default)]
    pub(super) field: String,
    #[serde(borrow)]
    pub(super) value: &'a RawValue,
}

#[derive(Deserialize)]
struct Value<'a> {
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(borrow, default)]
    statuses: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata {
    phone_number_id: String,
}

#[derive(Deserialize)]
struct Status {
    id: String,
    status: String,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    biz_opaque_callback_data: Option<String>,
    #[serde(default)]
    pricing: Option<PricingField>,
    #[serde(default)]
    errors: Vec<ErrorField>,
}

#[derive(Deserialize)]
struct PricingField {
    #[serde(default)]
    billable: Option<bool>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    category: Option<String>,
}

#[derive(Deserialize)]
struct ErrorField {
    code: i32,
}

/// What a change holds, before its number is known to be whose.
pub(super) struct Sorted {
    /// Meta's id of the number, if the change is about one.
    pub(super) phone_number_id: Option<String>,
    /// The statuses, as they came.
    statuses: Vec<String>,
    /// Whether there is something else that must be kept.
    keep_whole: bool,
}

impl Sorted {
    /// Reads a change; what is not understood is kept whole.
    pub(super) fn read(change: &Change<'_>) -> Self {
        let whole = Self {
            phone_number_id: None,
            statuses: Vec::new(),
            keep_whole: true,
        };
        if change.field != "messages" {
            return whole;
        }
        let Ok(value) = serde_json::from_str::<Value<'_>>(change.value.get()) else {
            return whole;
        };
        Self {
            phone_number_id: value.metadata.map(|metadata| metadata.phone_number_id),
            keep_whole: value.messages.is_some() || value.statuses.is_empty(),
            statuses: value
                .statuses
                .iter()
                .map(|status| status.get().to_owned())
                .collect(),
        }
    }

    /// Makes the rows to store, now that the number's tenant is known (or known to be nobody's).
    pub(super) fn rows(
        self,
        tenant: Option<TenantId>,
        entry: &Entry<'_>,
        change: &Change<'_>,
        now: Timestamp,
    ) -> (Vec<NewStatus>, Vec<NewOther>) {
        let other = |because, raw: &str| NewOther {
            tenant,
            kind: change.field.clone(),
            phone_number_id: self.phone_number_id.clone(),
            waba_id: entry.id.clone(),
            happened_at: entry.time.and_then(|second| Timestamp::from_second(second).ok()),
            quarantined_because: because,
            raw: raw.to_owned(),
        };
        let (mut statuses, mut others) = (Vec::new(), Vec::new());
        for raw in &self.statuses {
            let read = tenant
                .ok_or("no tenant has this number")
                .and_then(|tenant| read_status(tenant, raw, now));
            match read {
                Ok(status) => statuses.push(status),
                Err(because) => others.push(other(Some(because), raw)),
            }
        }
        if self.keep_whole {
            others.push(other(None, change.value.get()));
        }
        (statuses, others)
    }
}

fn read_status(tenant: TenantId, raw: &str, now: Timestamp) -> Result<NewStatus, &'static str> {
    let status: Status = serde_json::from_str(raw).map_err(|_| "the status is not understood")?;
    // A voice message that was listened to has been read, and more.
    let name = if status.status == "played" {
        "read"
    } else {
        &status.status
    };
    let known: DeliveryStatus = name.parse().map_err(|_| "the status is not known")?;
    let attempt = status.biz_opaque_callback_data.as_deref().unwrap_or_default();
    let attempt = Uuid::parse_str(attempt).map_err(|_| "the message was not sent by us")?;
    let pricing = status.pricing.as_ref();
    Ok(NewStatus {
        id: EventId(Uuid::now_v7()),
        tenant,
        attempt: AttemptId(attempt),
        status: known.as_str(),
        occurred_at: seconds(&status.timestamp).unwrap_or(now),
        pricing_type: pricing.and_then(|pricing| pricing.kind.clone()),
        pricing_category: pricing.and_then(|pricing| pricing.category.clone()),
        pricing_billable: pricing.and_then(|pricing| pricing.billable),
        error_code: status.errors.first().map(|error| error.code),
        wamid: status.id,
        raw: raw.to_owned(),
    })
}

fn seconds(text: &str) -> Option<Timestamp> {
    Timestamp::from_second(text.parse().ok()?).ok()
}
