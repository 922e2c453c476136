//! One row of an upload: a recipient and the values that the template needs.

use std::str::FromStr as _;

use domain::recipient::{Recipient, RecipientError};
use serde_json::{Map, Value};

use crate::content::{MissingValue, Template};

/// The column that names the recipient.
pub(super) const RECIPIENT_COLUMN: &str = "recipient";
/// Far above what any value of a template may take at Meta.
const MOST_VALUE_BYTES: usize = 4_096;

/// Why a row was rejected. The others are not touched by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowRefused {
    /// The recipient is none.
    #[error("{RECIPIENT_COLUMN}: {0}")]
    Recipient(#[from] RecipientError),
    /// A value that the template needs is missing or blank.
    #[error(transparent)]
    Missing(#[from] MissingValue),
    /// A value is longer than any template takes.
    #[error("column {0:?} is longer than {MOST_VALUE_BYTES} bytes")]
    TooLong(String),
    /// The row is not of the file's form.
    #[error("{0}")]
    Malformed(String),
}

/// A row that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The recipient in canonical spelling.
    pub recipient: String,
    /// The JSON of its values, if the template needs any.
    pub parameters: Option<String>,
}

/// Reads rows for one campaign.
#[derive(Clone, Debug)]
pub struct RowReader {
    template: Template,
}

impl RowReader {
    /// Reads rows for a template.
    pub const fn new(template: Template) -> Self {
        Self { template }
    }

    /// The template whose values are read.
    pub(super) const fn template(&self) -> &Template {
        &self.template
    }

    /// Checks a row, given how to find the value of a column.
    ///
    /// # Errors
    /// When the row cannot be sent to.
    pub fn read<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> Result<Row, RowRefused> {
        let recipient = Recipient::from_str(value_of(RECIPIENT_COLUMN).unwrap_or_default())?;
        let too_long = |column: &&str| value_of(column).is_some_and(|value| value.len() > MOST_VALUE_BYTES);
        if let Some(column) = self.template.columns().find(too_long) {
            return Err(RowRefused::TooLong(column.to_owned()));
        }
        Ok(Row {
            recipient: recipient.canonical(),
            parameters: self.template.parameters(value_of)?,
        })
    }

    /// Checks a row of the form `{"recipient": "...", "column": value, ...}`. Numbers and booleans are taken as they are
    /// written.
    ///
    /// # Errors
    /// When the row cannot be sent to.
    pub fn read_object(&self, object: &Map<String, Value>) -> Result<Row, RowRefused> {
        let mut texts = Vec::with_capacity(object.len());
        for (column, value) in object {
            match value {
                Value::String(text) => texts.push((column.as_str(), text.clone())),
                Value::Number(number) => texts.push((column.as_str(), number.to_string())),
                Value::Bool(truth) => texts.push((column.as_str(), truth.to_string())),
                Value::Null => {}
                Value::Array(_) | Value::Object(_) => {
                    return Err(RowRefused::Malformed(format!(
                        "column {column:?} is not a plain value"
                    )));
                }
            }
        }
        let value_of = |column: &str| {
            let found = texts.iter().find(|(name, _)| *name == column);
            found.map(|(_, text)| text.as_str())
        };
        self.read(value_of)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reader() -> RowReader {
        let template =
            json!({"name": "a", "language": "en", "components": [{"type": "body", "text": "{{name}}"}]});
        RowReader::new(Template::check(&template).expect("a template"))
    }

    fn read(row: &Value) -> Result<Row, RowRefused> {
        reader().read_object(row.as_object().expect("an object"))
    }

    #[test]
    fn a_row_is_a_recipient_and_its_values() {
        let row = read(&json!({"recipient": "+55 11 99999-0000", "name": 7, "other": null})).expect("a row");
        assert_eq!(row.recipient, "+5511999990000");
        assert_eq!(row.parameters.as_deref(), Some(r#"{"name":"7"}"#));
    }

    #[test]
    fn a_row_that_cannot_be_sent_to_says_why() {
        let reason = |row: &Value| read(row).expect_err("refused").to_string();
        assert_eq!(
            reason(&json!({"name": "Ana"})),
            "recipient: the recipient is empty"
        );
        assert_eq!(
            reason(&json!({"recipient": "+5511999990000"})),
            "no value for column \"name\""
        );
        assert_eq!(
            reason(&json!({"recipient": "+5511999990000", "name": ["x"]})),
            "column \"name\" is not a plain value"
        );
        let long = json!({"recipient": "+5511999990000", "name": "x".repeat(5_000)});
        assert_eq!(read(&long), Err(RowRefused::TooLong("name".to_owned())));
    }
}
