//! The reading side of the Graph API: templates, phone numbers, message history.

use serde_json::{Map, Value, json};

use crate::catalog::{self, GraphError};
use crate::config::TemplateConfig;
use crate::messages::{Message, Status};
use crate::numbers::Number;
use crate::shared::Shared;
use crate::state::State;
use crate::wamid;

/// The default and the largest page.
const PAGE: (usize, usize) = (25, 100);

/// The decoded query of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`.
    pub(crate) fn parse(query: &str) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(name), percent_decoded(value))
        };
        Self(
            query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(pair)
                .collect(),
        )
    }

    /// The first value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A number, or `None` if it is absent or not one.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok()
    }
}

fn percent_decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let escape = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `GET /{waba id}/message_templates`, with `name`, `language`, `status`, `limit`, `after`.
pub(crate) fn templates(
    shared: &Shared,
    waba_id: &str,
    query: &Query,
    url: &str,
) -> Result<Value, GraphError> {
    if !shared.state().numbers.has_waba(waba_id) {
        return Err(GraphError::no_object(waba_id));
    }
    let wanted = |filter: &str, value: &str| query.get(filter).is_none_or(|wanted| wanted == value);
    let now = |template: &TemplateConfig| TemplateConfig {
        status: shared
            .templates
            .changed_status(&template.name)
            .unwrap_or_else(|| template.status.clone()),
        ..template.clone()
    };
    let found: Vec<Value> = (shared.templates.list().iter().map(now).enumerate())
        .filter(|(_, template)| {
            wanted("name", &template.name)
                && wanted("language", &template.language)
                && wanted("status", &template.status)
        })
        .map(|(index, template)| template_json(index, &template))
        .collect();
    Ok(paged(&found, query, url))
}

fn template_json(index: usize, template: &TemplateConfig) -> Value {
    json!({
        "id": (594_425_479_261_596 + index as u64).to_string(),
        "name": template.name,
        "language": template.language,
        "status": template.status,
        "category": template.category,
        "parameter_format": "POSITIONAL",
        "components": [{"type": "BODY", "text": template.body}],
    })
}

/// One page of a list, with cursors and the address of the next page.
fn paged(all: &[Value], query: &Query, url: &str) -> Value {
    let start = query.number("after").unwrap_or(0).min(all.len());
    let limit = query.number("limit").unwrap_or(PAGE.0).clamp(1, PAGE.1);
    let end = (start + limit).min(all.len());
    let mut paging = json!({"cursors": {"before": start.to_string(), "after": end.to_string()}});
    if end < all.len() {
        paging["next"] = json!(format!("{url}?limit={limit}&after={end}"));
    }
    json!({"data": all[start..end], "paging": paging})
}

/// `GET /{phone number id}`, with `fields`.
pub(crate) fn phone(shared: &Shared, id: &str, query: &Query) -> Result<Value, GraphError> {
    let mut state = shared.state();
    let number = state.numbers.find(id).ok_or_else(|| GraphError::no_object(id))?;
    Ok(selected(
        phone_json(state.numbers.at(number)),
        query.get("fields"),
    ))
}

/// `GET /{waba id}/phone_numbers`.
pub(crate) fn phones(shared: &Shared, waba_id: &str, query: &Query, url: &str) -> Result<Value, GraphError> {
    let state = shared.state();
    if !state.numbers.has_waba(waba_id) {
        return Err(GraphError::no_object(waba_id));
    }
    let all: Vec<Value> = state.numbers.of_waba(waba_id).map(phone_json).collect();
    Ok(paged(&all, query, url))
}

fn phone_json(number: &Number) -> Value {
    let level = if number.rate > 80 || number.rate == 0 {
        "HIGH"
    } else {
        "STANDARD"
    };
    json!({
        "id": number.config.id,
        "display_phone_number": number.config.display_phone_number,
        "verified_name": "Simulated Business",
        "code_verification_status": "VERIFIED",
        "quality_rating": "GREEN",
        "platform_type": "CLOUD_API",
        "throughput": {"level": level},
        "status": "CONNECTED",
        "name_status": "APPROVED",
        "whatsapp_business_manager_messaging_limit": "TIER_UNLIMITED",
    })
}

/// Keeps the fields that were asked for, and `id`.
fn selected(object: Value, fields: Option<&str>) -> Value {
    let (Value::Object(all), Some(fields)) = (&object, fields) else {
        return object;
    };
    let name = |field: &str| {
        field
            .split(['{', '.', '('])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let wanted: Vec<String> = fields.split(',').map(name).collect();
    let kept: Map<String, Value> = all
        .iter()
        .filter(|(key, _)| *key == "id" || wanted.contains(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Value::Object(kept)
}

/// `GET /{phone number id}/message_history`, with `message_id`, or the newest messages first.
pub(crate) fn history(shared: &Shared, id: &str, query: &Query, url: &str) -> Result<Value, GraphError> {
    let mut state = shared.state();
    let number = state.numbers.find(id).ok_or_else(|| GraphError::no_object(id))?;
    if let Some(message_id) = query.get("message_id") {
        if !message_id.starts_with("wamid.") {
            return Err(GraphError::parameter(
                "Invalid parameter: message_id format is invalid",
            ));
        }
        let index = wamid::read(message_id, state.run).ok_or_else(GraphError::no_history)?;
        let message = state
            .messages
            .get(index as usize)
            .filter(|message| message.number == number);
        let found = history_json(&state, index, message.ok_or_else(GraphError::no_history)?);
        return Ok(json!({"data": [found], "paging": {"cursors": {"before": "0", "after": "1"}}}));
    }
    Ok(newest(&state, number, query, url))
}

/// Walks from the newest message back; the cursor is the index of the last one shown.
fn newest(state: &State, number: u32, query: &Query, url: &str) -> Value {
    let before = query
        .number("after")
        .unwrap_or(usize::MAX)
        .min(state.messages.len());
    let limit = query.number("limit").unwrap_or(PAGE.0).clamp(1, PAGE.1);
    let page: Vec<(usize, &Message)> = (state.messages[..before].iter().enumerate().rev())
        .filter(|(_, message)| message.number == number)
        .take(limit)
        .collect();
    let last = page.last().map_or(0, |(index, _)| *index);
    let mut paging = json!({"cursors": {"before": before.to_string(), "after": last.to_string()}});
    if last > 0 && page.len() == limit {
        paging["next"] = json!(format!("{url}?limit={limit}&after={last}"));
    }
    let data: Vec<Value> = page
        .iter()
        .map(|(index, message)| history_json(state, *index as u32, message))
        .collect();
    json!({"data": data, "paging": paging})
}

fn history_json(state: &State, index: u32, message: &Message) -> Value {
    let name = &state.recipients.at(message.recipient).name;
    let event = |status: Status| {
        message
            .happened_at(status)
            .map(|at_s| event_json(state, index, message, status, at_s))
    };
    let events: Vec<Value> = Status::ALL.into_iter().filter_map(event).collect();
    json!({
        "id": (1_000_000_000_000_000 + u64::from(index)).to_string(),
        "message_id": wamid::write(name, state.run, index),
        "events": {"data": events},
    })
}

fn event_json(state: &State, index: u32, message: &Message, status: Status, at_s: u32) -> Value {
    let webhook = match (message.is_acknowledged(status), message.pending) {
        (true, _) => "DELIVERED",
        (false, 0) => "FAILED",
        (false, _) => "PENDING",
    };
    let mut event = json!({
        "id": (2_000_000_000_000_000 + u64::from(index) * 4 + status as u64).to_string(),
        "delivery_status": status.name().to_uppercase(),
        "timestamp": at_s,
        "webhook_update_state": webhook,
        "application": {"id": "670843887433847"},
    });
    if let Some(callback) = &state.callback {
        event["webhook_uri"] = json!(callback.to_string());
    }
    if status == Status::Failed {
        event["error_description"] = json!(catalog::title(message.failed_code));
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("message_id=wamid.ab%2Bc%3D&limit=5&x");
        assert_eq!(
            (query.get("message_id"), query.number("limit")),
            (Some("wamid.ab+c="), Some(5))
        );
        assert_eq!((query.get("x"), query.get("y")), (Some(""), None));
    }
}
