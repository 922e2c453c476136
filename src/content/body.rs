//! What a single message says: a template without columns, or free text.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Template, TemplateRefused};

/// Meta's limit on the text of a message, in characters.
const MOST_TEXT_CHARACTERS: usize = 4096;

/// The body of a single message, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleBody {
    /// The JSON to store.
    pub json: String,
    /// The name and language of its template; none for text.
    pub template: Option<(String, String)>,
}

/// Why something cannot be the body of a single message. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefused {
    /// Both were given, or neither.
    #[error("give either a template or a text")]
    NotExactlyOne,
    /// The template is none.
    #[error("template: {0}")]
    Template(#[from] TemplateRefused),
    /// A single message has no columns.
    #[error("template: {{{{{column}}}}} has no value; a single message carries its values in the components")]
    HasColumns {
        /// The first column.
        column: String,
    },
    /// The text is of no form that Meta takes.
    #[error("text: {0}")]
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    body: String,
    #[serde(default)]
    preview_url: bool,
}

/// Checks what a tenant wants to say in a single message. `text` is a string, or Meta's `{body, preview_url}`.
///
/// # Errors
/// When it could not be sent.
pub fn single_body(template: Option<&Value>, text: Option<&Value>) -> Result<SingleBody, BodyRefused> {
    match (template, text) {
        (Some(template), None) => template_body(template),
        (None, Some(text)) => text_body(text),
        _ => Err(BodyRefused::NotExactlyOne),
    }
}

fn template_body(given: &Value) -> Result<SingleBody, BodyRefused> {
    let template = Template::check(given)?;
    if let Some(column) = template.columns().next() {
        return Err(BodyRefused::HasColumns {
            column: column.to_owned(),
        });
    }
    Ok(SingleBody {
        json: template.json().to_owned(),
        template: Some((template.name().to_owned(), template.language().to_owned())),
    })
}

fn text_body(given: &Value) -> Result<SingleBody, BodyRefused> {
    let text = match given {
        Value::String(body) => Text {
            body: body.clone(),
            preview_url: false,
        },
        other => Text::deserialize(other).map_err(|error| BodyRefused::Text(error.to_string()))?,
    };
    let characters = text.body.chars().count();
    if text.body.trim().is_empty() || characters > MOST_TEXT_CHARACTERS || text.body.contains('\0') {
        return Err(BodyRefused::Text(format!(
            "must have 1 to {MOST_TEXT_CHARACTERS} characters, none of them NUL"
        )));
    }
    Ok(SingleBody {
        json: json!({"body": text.body, "preview_url": text.preview_url}).to_string(),
        template: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_be_a_string_or_metas_object() {
        let short = single_body(None, Some(&json!("Olá"))).expect("a text");
        let long = single_body(None, Some(&json!({"body": "Olá"}))).expect("a text");
        assert_eq!(short, long);
        assert_eq!(short.json, r#"{"body":"Olá","preview_url":false}"#);
    }

    #[test]
    fn what_could_not_be_sent_is_refused() {
        assert_eq!(single_body(None, None), Err(BodyRefused::NotExactlyOne));
        assert!(single_body(None, Some(&json!(""))).is_err());
        assert!(single_body(None, Some(&json!("x".repeat(4097)))).is_err());
        assert!(single_body(None, Some(&json!({"body": "x", "colour": "red"}))).is_err());
        let template =
            json!({"name": "a", "language": "en", "components": [{"type": "body", "text": "{{x}}"}]});
        assert!(matches!(
            single_body(Some(&template), None),
            Err(BodyRefused::HasColumns { .. })
        ));
    }
}
