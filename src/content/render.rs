//! Meta's request body for one call. Runs once a call, so it copies text and parses as little as it can.

use std::borrow::Cow;
use std::collections::HashMap;

use domain::ids::AttemptId;
use domain::recipient::Recipient;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::placeholders::{Segment, segments};

/// Why a stored message cannot be rendered: its rows were written by something that did not check them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The stored body is neither a template nor a text.
    #[error("the stored body makes no sense: {0}")]
    Body(String),
    /// The stored values are not an object of plain values.
    #[error("the stored values make no sense: {0}")]
    Parameters(String),
    /// The template asks for a value that is not there.
    #[error("no value for column {0:?}")]
    Missing(String),
}

/// The parts of a stored body, each still as JSON text.
#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    language: Option<&'a RawValue>,
    #[serde(borrow)]
    components: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

type Values<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// Writes Meta's request body: the stored template or text, with this recipient's values in it, under this attempt.
///
/// # Errors
/// When the stored JSON is not what checking leaves behind.
pub fn render(
    body: &str,
    parameters: Option<&str>,
    recipient: &Recipient,
    attempt: AttemptId,
) -> Result<String, RenderError> {
    let stored: Stored<'_> =
        serde_json::from_str(body).map_err(|error| RenderError::Body(error.to_string()))?;
    let mut json = String::with_capacity(body.len() + parameters.map_or(0, str::len) + 256);
    push_envelope(&mut json, recipient, attempt);
    match (stored.name, stored.language, stored.body) {
        (Some(name), Some(language), None) => {
            push_template_head(&mut json, name, language);
            if let Some(components) = stored.components {
                json.push_str(r#","components":"#);
                push_components(&mut json, components.get(), parameters)?;
            }
            json.push_str("}}");
        }
        (None, None, Some(_)) => {
            json.push_str(r#""type":"text","text":"#);
            json.push_str(body);
            json.push('}');
        }
        _ => return Err(RenderError::Body("neither a template nor a text".to_owned())),
    }
    Ok(json)
}

fn push_envelope(json: &mut String, recipient: &Recipient, attempt: AttemptId) {
    use std::fmt::Write as _;
    let key = match recipient {
        Recipient::Phone(_) => "to",
        Recipient::UserId(_) => "recipient",
    };
    // A recipient is letters, digits, dots and a plus sign: nothing to escape. Writing to a String cannot fail.
    let _ = write!(
        json,
        r#"{{"messaging_product":"whatsapp","recipient_type":"individual","{key}":"{recipient}","biz_opaque_callback_data":"{attempt}","#
    );
}

fn push_template_head(json: &mut String, name: &RawValue, language: &RawValue) {
    json.push_str(r#""type":"template","template":{"name":"#);
    json.push_str(name.get());
    json.push_str(r#","language":"#);
    if language.get().starts_with('{') {
        json.push_str(language.get());
    } else {
        json.push_str(r#"{"code":"#);
        json.push_str(language.get());
        json.push('}');
    }
}

fn push_components(json: &mut String, components: &str, parameters: Option<&str>) -> Result<(), RenderError> {
    let values: Values<'_> = match parameters {
        Some(parameters) => {
            serde_json::from_str(parameters).map_err(|error| RenderError::Parameters(error.to_string()))?
        }
        None => Values::new(),
    };
    for segment in segments(components) {
        match segment {
            Segment::Literal(text) => json.push_str(text),
            Segment::Column(column) => push_value(json, &column, &values)?,
        }
    }
    Ok(())
}

/// A value is JSON already: without its quotes it goes into the string around the placeholder as it is.
fn push_value(json: &mut String, column: &str, values: &Values<'_>) -> Result<(), RenderError> {
    let written = values
        .get(column)
        .ok_or_else(|| RenderError::Missing(column.to_owned()))?
        .get();
    match written.as_bytes().first() {
        Some(b'"') => json.push_str(&written[1..written.len() - 1]),
        Some(b'n') => return Err(RenderError::Missing(column.to_owned())),
        Some(b'{' | b'[') => {
            return Err(RenderError::Parameters(format!(
                "{column:?} is not a plain value"
            )));
        }
        _ => json.push_str(written),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::content::Template;

    fn rendered(body: &Value, parameters: Option<&Value>, to: &str) -> Result<Value, RenderError> {
        let recipient: Recipient = to.parse().expect("a recipient");
        let parameters = parameters.map(Value::to_string);
        let json = render(
            &body.to_string(),
            parameters.as_deref(),
            &recipient,
            AttemptId(Uuid::nil()),
        )?;
        Ok(serde_json::from_str(&json).expect("what is rendered is JSON"))
    }

    #[test]
    fn a_template_becomes_metas_body() {
        let body = json!({"name": "hello", "language": "en_US", "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "Hi {{name}}"}]}]});
        let expected = json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+5511999990000",
            "biz_opaque_callback_data": Uuid::nil().to_string(), "type": "template",
            "template": {"name": "hello", "language": {"code": "en_US"}, "components": [
                {"type": "body", "parameters": [{"type": "text", "text": "Hi Ana \"A\""}]}]},
        });
        let values = json!({"name": "Ana \"A\""});
        assert_eq!(rendered(&body, Some(&values), "+5511999990000"), Ok(expected));
    }

    #[test]
    fn a_text_is_taken_literally() {
        let body = json!({"body": "{{name}}", "preview_url": false});
        let json = rendered(&body, None, "US.123").expect("renders");
        assert_eq!(json["type"], "text");
        assert_eq!(json["text"]["body"], "{{name}}");
        assert_eq!(json["recipient"], "US.123");
        assert!(json.get("to").is_none());
    }

    #[test]
    fn a_missing_value_is_an_error_and_no_hole() {
        let body = json!({"name": "a", "language": {"code": "en"}, "components": [{"text": "{{x}}"}]});
        let missing = Err(RenderError::Missing("x".to_owned()));
        assert_eq!(rendered(&body, None, "+5511999990000"), missing);
        assert_eq!(
            rendered(&body, Some(&json!({"x": null})), "+5511999990000"),
            missing
        );
    }

    /// A piece of a template's text: either plain, or a column by its number.
    fn pieces() -> impl Strategy<Value = Vec<Result<String, usize>>> {
        let piece = prop_oneof!["[^{}]{0,12}".prop_map(Ok), (0_usize..4).prop_map(Err)];
        proptest::collection::vec(piece, 0..8)
    }

    proptest! {
        #[test]
        fn each_value_stands_where_its_column_stood(
            pieces in pieces(),
            values in proptest::collection::vec("\\PC{1,20}|[\"\\\\{}\n\t]{1,6}x", 4),
            names in proptest::collection::hash_set("[a-z\"\\\\é]{1,8}", 4),
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let text: String = pieces.iter().map(|piece| match piece {
                Ok(plain) => plain.clone(),
                Err(column) => format!("{{{{{}}}}}", names[*column]),
            }).collect();
            let expected: String = pieces.iter().map(|piece| match piece {
                Ok(plain) => plain.as_str(),
                Err(column) => values[*column].as_str(),
            }).collect();
            let given = json!({"name": "a", "language": "en", "components": [{"type": "body", "text": text}]});
            let template = Template::check(&given).expect("a template");
            let value_of = |column: &str| {
                names.iter().position(|name| name == column).map(|position| values[position].as_str())
            };
            prop_assume!(values.iter().all(|value| !value.trim().is_empty()));
            let parameters = template.parameters(value_of).expect("all values are there");
            let parameters = parameters.map(|json| serde_json::from_str::<Value>(&json).expect("JSON"));
            let json = rendered(&given, parameters.as_ref(), "+5511999990000").expect("renders");
            prop_assert_eq!(&json["template"]["components"][0]["text"], &Value::from(expected));
        }
    }
}
