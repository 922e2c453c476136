//! A campaign's template: checked once, then asked for the values that each recipient must bring.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::placeholders::{Segment, segments};

/// Keys whose values say what a component is; a recipient cannot change them.
const FIXED_KEYS: [&str; 4] = ["type", "sub_type", "index", "parameter_name"];
/// As many as any template of Meta has.
const MOST_COMPONENTS: usize = 32;
/// Far above what a template with all its parameters takes.
const MOST_BYTES: usize = 64 * 1024;
/// Meta's own limit on names.
const MOST_NAME_BYTES: usize = 512;

/// A template that was checked, as it is stored: with `{{column}}` where a recipient's values go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    name: String,
    language: String,
    json: String,
    columns: BTreeSet<String>,
}

/// Why something is not a template. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateRefused {
    /// It is not of the form `{name, language, components}`.
    #[error("{0}")]
    Malformed(String),
    /// A part that must be the same for all recipients contains `{{...}}`.
    #[error("{{{{...}}}} may not stand in {place}, only in text, media links or ids and button parameters")]
    PlaceholderMisplaced {
        /// Where it was found.
        place: String,
    },
    /// It is too long.
    #[error("too long, at most {MOST_BYTES} bytes and {MOST_COMPONENTS} components")]
    TooLong,
}

/// A recipient has no value for a column that the template needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no value for column {column:?}")]
pub struct MissingValue {
    /// Which column.
    pub column: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    language: Language,
    #[serde(default)]
    components: Vec<Value>,
}

/// Meta writes `{"code": "pt_BR"}`; people write `"pt_BR"`. Both are taken.
#[derive(Deserialize)]
#[serde(untagged)]
enum Language {
    Code(String),
    Object { code: String },
}

impl Template {
    /// Checks a template as a tenant gives it.
    ///
    /// # Errors
    /// When it is no template, or asks for values where none may go.
    pub fn check(given: &Value) -> Result<Self, TemplateRefused> {
        let written =
            Written::deserialize(given).map_err(|error| TemplateRefused::Malformed(error.to_string()))?;
        let language = match written.language {
            Language::Code(code) | Language::Object { code } => code,
        };
        check_word("name", &written.name)?;
        check_word("language", &language)?;
        let json = given.to_string();
        if json.len() > MOST_BYTES || written.components.len() > MOST_COMPONENTS {
            return Err(TemplateRefused::TooLong);
        }
        for component in &written.components {
            if !component.is_object() {
                return Err(TemplateRefused::Malformed(
                    "each component is an object".to_owned(),
                ));
            }
            check_places(component)?;
        }
        Ok(Self {
            name: written.name,
            language,
            columns: columns_of(&json),
            json,
        })
    }

    /// Reads a template that was checked before it was stored.
    ///
    /// # Errors
    /// When it was not.
    pub fn from_stored(json: &str) -> Result<Self, TemplateRefused> {
        let value =
            serde_json::from_str(json).map_err(|error| TemplateRefused::Malformed(error.to_string()))?;
        Self::check(&value)
    }

    /// Its name at Meta.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its language's code at Meta.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// The JSON to store.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The columns whose values each recipient must bring, in alphabetical order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns.iter().map(String::as_str)
    }

    /// Gives the JSON object of one recipient's values: those that the template needs and no others, so that nothing
    /// personal is kept without a use. None when it needs none.
    ///
    /// # Errors
    /// When a value is missing or blank, which Meta would refuse.
    pub fn parameters<'a>(
        &self,
        value_of: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<String>, MissingValue> {
        if self.columns.is_empty() {
            return Ok(None);
        }
        let mut json = String::with_capacity(64);
        for column in &self.columns {
            let value = value_of(column)
                .filter(|value| !value.trim().is_empty())
                .ok_or_else(|| MissingValue {
                    column: column.clone(),
                })?;
            json.push(if json.is_empty() { '{' } else { ',' });
            push_string(&mut json, column);
            json.push(':');
            push_string(&mut json, value);
        }
        json.push('}');
        Ok(Some(json))
    }
}

/// Appends a text as a JSON string. PostgreSQL's `json` refuses the character NUL, so it is left out.
fn push_string(json: &mut String, text: &str) {
    let kept = text.replace('\0', "");
    json.push_str(&Value::String(kept).to_string());
}

fn check_word(key: &str, word: &str) -> Result<(), TemplateRefused> {
    if word.trim().is_empty() || word.len() > MOST_NAME_BYTES {
        return Err(TemplateRefused::Malformed(format!(
            "{key} must have 1 to {MOST_NAME_BYTES} characters"
        )));
    }
    if has_placeholder(word) {
        return Err(TemplateRefused::PlaceholderMisplaced {
            place: key.to_owned(),
        });
    }
    Ok(())
}

fn check_places(part: &Value) -> Result<(), TemplateRefused> {
    match part {
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| {
            let fixed = FIXED_KEYS.contains(&key.as_str());
            if has_placeholder(key) || fixed && value.as_str().is_some_and(has_placeholder) {
                return Err(TemplateRefused::PlaceholderMisplaced { place: key.clone() });
            }
            check_places(value)
        }),
        Value::Array(parts) => parts.iter().try_for_each(check_places),
        _ => Ok(()),
    }
}

fn has_placeholder(text: &str) -> bool {
    !columns_of(&Value::from(text).to_string()).is_empty()
}

fn columns_of(json: &str) -> BTreeSet<String> {
    segments(json)
        .filter_map(|segment| match segment {
            Segment::Column(name) => Some(name.into_owned()),
            Segment::Literal(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(components: &Value) -> Result<Template, TemplateRefused> {
        Template::check(&json!({"name": "welcome", "language": "pt_BR", "components": components}))
    }

    fn greeting() -> Template {
        template(&json!([
            {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://x.example/{{picture}}"}}]},
            {"type": "body", "parameters": [{"type": "text", "text": "{{name}}"}]},
            {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "{{order}}"}]},
        ]))
        .expect("a template")
    }

    #[test]
    fn the_columns_come_from_text_links_and_buttons() {
        assert_eq!(
            greeting().columns().collect::<Vec<_>>(),
            ["name", "order", "picture"]
        );
    }

    #[test]
    fn only_the_values_that_are_needed_are_kept() {
        let values = |column: &str| match column {
            "name" => Some("Ana \"the first\""),
            "picture" | "order" | "salary" => Some("7"),
            _ => None,
        };
        let parameters = greeting().parameters(values).expect("complete").expect("some");
        assert_eq!(
            parameters,
            r#"{"name":"Ana \"the first\"","order":"7","picture":"7"}"#
        );
    }

    #[test]
    fn a_blank_value_is_missing() {
        let refused = greeting().parameters(|column| Some(if column == "name" { " " } else { "x" }));
        assert_eq!(refused.expect_err("blank").column, "name");
    }

    #[test]
    fn values_may_not_change_what_a_component_is() {
        let typed = template(&json!([{"type": "{{kind}}"}]));
        assert!(matches!(typed, Err(TemplateRefused::PlaceholderMisplaced { place }) if place == "type"));
        let keyed = template(&json!([{"type": "body", "{{key}}": 1}]));
        assert!(matches!(keyed, Err(TemplateRefused::PlaceholderMisplaced { .. })));
        let named = Template::check(&json!({"name": "{{name}}", "language": "en"}));
        assert!(matches!(named, Err(TemplateRefused::PlaceholderMisplaced { .. })));
    }

    #[test]
    fn both_spellings_of_a_language_are_taken() {
        let object =
            Template::check(&json!({"name": "a", "language": {"code": "en_US"}})).expect("a template");
        assert_eq!(object.language(), "en_US");
        assert!(Template::check(&json!({"name": "a", "language": "en", "colour": 1})).is_err());
    }
}
