//! The control API under `/_control`: the truth out, faults and settings in.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::NumberConfig;
use crate::faults::Faults;
use crate::messages::Status;
use crate::reads::Query;
use crate::recipients;
use crate::shared::Shared;
use crate::wamid;
use crate::webhooks::check_callback;

/// The longest list of recipients in one answer.
const RECIPIENTS_MAX: usize = 10_000;

/// Why the control API said no: HTTP status and text.
pub(crate) type Refusal = (u16, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallbackBody {
    url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberBody {
    rate: Option<u32>,
    waba_id: Option<String>,
    display_phone_number: Option<String>,
    restricted: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateBody {
    status: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensBody {
    revoked: Vec<String>,
}

/// A change of something else than a message: a template, a number, an account, a person's preferences.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    waba_id: String,
    field: String,
    value: Value,
    time: Option<i64>,
}

/// How long after the answer it goes down when it is told to: whoever asked hears that it was heard.
const DOWN_AFTER: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpellBody {
    for_ms: u64,
}

/// Answers one call; `path` is what follows `/_control/`.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    method: &Method,
    path: &[&str],
    query: &Query,
    body: &[u8],
) -> Result<Value, Refusal> {
    match (method.as_str(), path) {
        ("GET", ["truth"]) => Ok(json!(shared.state().truth())),
        ("GET", ["recipients"]) => Ok(all_recipients(shared, query)),
        ("GET", ["recipients", to]) => Ok(json!({"accepted": accepted_for(shared, to)})),
        ("GET", ["messages"]) => message(shared, query.get("id").unwrap_or_default()),
        ("GET", ["faults"]) => Ok(json!(*shared.state().faults)),
        ("PUT", ["faults"]) => set_faults(shared, parse(body)?).map(|()| json!({"success": true})),
        ("PUT", ["callback"]) => put_callback(shared, &parse(body)?),
        ("PUT", ["numbers", id]) => put_number(shared, id, parse(body)?),
        ("POST", ["throttle"]) => throttle(shared, parse(body)?),
        ("PUT", ["templates", name]) => {
            shared
                .templates
                .set_status(name, &parse::<TemplateBody>(body)?.status);
            Ok(json!({"success": true}))
        }
        ("PUT", ["tokens"]) => {
            shared.state().revoked = parse::<TokensBody>(body)?.revoked.into_iter().collect();
            Ok(json!({"success": true}))
        }
        ("POST", ["webhooks"]) => post_webhook(shared, parse(body)?).await,
        ("POST", ["down"]) => down(shared, parse(body)?),
        ("GET", ["idle"]) => Ok(idle(shared, query).await),
        ("POST", ["reset"]) => {
            shared.state().reset();
            Ok(json!({"success": true}))
        }
        _ => Err((404, "no such control; simulator/README.md lists them".to_owned())),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| (400, error.to_string()))
}

/// How many messages were accepted for a recipient, however it is written.
pub(crate) fn accepted_for(shared: &Shared, to: &str) -> u32 {
    shared
        .state()
        .recipients
        .find(&recipients::name_of(to))
        .map_or(0, |recipient| recipient.accepted)
}

/// Replaces the fault plan.
pub(crate) fn set_faults(shared: &Shared, faults: Faults) -> Result<(), Refusal> {
    faults.check().map_err(|error| (400, error))?;
    shared.state().faults = Arc::new(faults.normalised());
    Ok(())
}

/// Waits until no webhook is pending. False if that took longer than `within`.
pub(crate) async fn wait_until_idle(shared: &Shared, within: Duration) -> bool {
    let idle = async {
        while shared.state().queue.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(within, idle).await.is_ok()
}

async fn idle(shared: &Shared, query: &Query) -> Value {
    let within = Duration::from_millis(query.number("within_ms").unwrap_or(0) as u64);
    let idle = wait_until_idle(shared, within).await;
    json!({"idle": idle, "pending": shared.state().queue.pending()})
}

fn all_recipients(shared: &Shared, query: &Query) -> Value {
    let (skip, limit) = (
        query.number("after").unwrap_or(0),
        query.number("limit").unwrap_or(RECIPIENTS_MAX),
    );
    let state = shared.state();
    let page = state.recipients.iter().skip(skip).take(limit.min(RECIPIENTS_MAX));
    let accepted: serde_json::Map<String, Value> = page
        .map(|recipient| (recipient.name.to_string(), json!(recipient.accepted)))
        .collect();
    json!({"recipients": state.recipients.len(), "after": skip + accepted.len(), "accepted": accepted})
}

fn message(shared: &Shared, id: &str) -> Result<Value, Refusal> {
    let state = shared.state();
    let message = wamid::read(id, state.run).and_then(|index| state.messages.get(index as usize));
    let message = message.ok_or_else(|| (404, "no such message in this run".to_owned()))?;
    let delivered = message
        .happened_at(Status::Delivered)
        .or(message.happened_at(Status::Read))
        .is_some();
    Ok(json!({
        "status": message.last().map_or("accepted", Status::name),
        "recipient": *state.recipients.at(message.recipient).name,
        "delivered": delivered,
        "billable": delivered && !message.free,
        "category": message.category.name(),
    }))
}

/// Posts one change as Meta would, signed, and tells whether the callback took it. Its waba_id is the account's, or the portfolio's
/// where Meta names that.
async fn post_webhook(shared: &Shared, change: ChangeBody) -> Result<Value, Refusal> {
    let callback = shared.state().callback.clone();
    let callback = callback.ok_or_else(|| (409, "there is no callback".to_owned()))?;
    let mut entry =
        json!({"id": change.waba_id, "changes": [{"field": change.field, "value": change.value}]});
    if let Some(time) = change.time {
        entry["time"] = json!(time);
    }
    let body = json!({"object": "whatsapp_business_account", "entry": [entry]});
    let taken = shared.poster.post(&callback, body.to_string().into_bytes()).await;
    Ok(json!({"acknowledged": taken}))
}

fn put_callback(shared: &Shared, body: &CallbackBody) -> Result<Value, Refusal> {
    set_callback(shared, body.url.as_deref())?;
    Ok(json!({"success": true}))
}

/// Sends webhooks elsewhere, those still queued included; `None` sends them nowhere.
pub(crate) fn set_callback(shared: &Shared, url: Option<&str>) -> Result<(), Refusal> {
    let callback = url
        .map(check_callback)
        .transpose()
        .map_err(|error| (400, error))?;
    shared.state().callback = callback.map(Arc::new);
    Ok(())
}

fn put_number(shared: &Shared, id: &str, body: NumberBody) -> Result<Value, Refusal> {
    let mut state = shared.state();
    let known = state
        .numbers
        .find(id)
        .map(|index| (*state.numbers.at(index).config).clone());
    let mut config = known.unwrap_or_else(|| state.numbers.invented(id));
    config = NumberConfig {
        waba_id: body.waba_id.unwrap_or(config.waba_id),
        display_phone_number: body.display_phone_number.unwrap_or(config.display_phone_number),
        ..config
    };
    let index = state.numbers.put(config);
    let number = state.numbers.at_mut(index);
    body.rate.into_iter().for_each(|rate| number.set_rate(rate));
    number.restricted = body.restricted.unwrap_or(number.restricted);
    Ok(json!({"number": *number.config, "rate": number.rate, "restricted": number.restricted}))
}

fn throttle(shared: &Shared, body: SpellBody) -> Result<Value, Refusal> {
    shared.state().throttled_until_ms = shared.now_ms() + body.for_ms;
    Ok(json!({"success": true}))
}

fn down(shared: &Arc<Shared>, body: SpellBody) -> Result<Value, Refusal> {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::time::sleep(DOWN_AFTER).await;
        shared.down_for(Duration::from_millis(body.for_ms));
    });
    Ok(json!({"success": true}))
}
