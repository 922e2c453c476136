//! Finds `{{column}}` in the text of a JSON document, without parsing it.
//!
//! In JSON two opening braces never follow each other outside of a string, so each `{{` is inside of one; a placeholder
//! ends at `}}` in the same string. Anything else that looks alike is literal text.

use std::borrow::Cow;

/// A piece of a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    /// Text to keep, as it is written in JSON.
    Literal(&'a str),
    /// The name of the column whose value goes here.
    Column(Cow<'a, str>),
}

/// Splits a JSON document into literal text and columns.
pub(super) fn segments(json: &str) -> Segments<'_> {
    Segments {
        rest: json,
        column: None,
    }
}

/// The pieces of a JSON document, in order.
pub(super) struct Segments<'a> {
    rest: &'a str,
    column: Option<Cow<'a, str>>,
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        if let Some(column) = self.column.take() {
            return Some(Segment::Column(column));
        }
        if self.rest.is_empty() {
            return None;
        }
        let Some(found) = first_placeholder(self.rest) else {
            return Some(Segment::Literal(std::mem::take(&mut self.rest)));
        };
        let literal = &self.rest[..found.start];
        self.rest = &self.rest[found.end..];
        if literal.is_empty() {
            return Some(Segment::Column(found.column));
        }
        self.column = Some(found.column);
        Some(Segment::Literal(literal))
    }
}

struct Found<'a> {
    start: usize,
    end: usize,
    column: Cow<'a, str>,
}

fn first_placeholder(json: &str) -> Option<Found<'_>> {
    let mut from = 0;
    while let Some(at) = json[from..].find("{{") {
        let start = from + at;
        if let Some(found) = placeholder_at(json, start) {
            return Some(found);
        }
        from = start + 1; // `{{{a}}` is a brace and a placeholder.
    }
    None
}

fn placeholder_at(json: &str, start: usize) -> Option<Found<'_>> {
    let inside = &json[start + 2..];
    let bytes = inside.as_bytes();
    let mut position = 0;
    while position < bytes.len() {
        match bytes[position] {
            b'\\' => position += 1,
            b'"' | b'{' => return None,
            b'}' if bytes.get(position + 1) == Some(&b'}') => {
                return column_name(&inside[..position]).map(|column| Found {
                    start,
                    end: start + 2 + position + 2,
                    column,
                });
            }
            _ => {}
        }
        position += 1;
    }
    None
}

fn column_name(written: &str) -> Option<Cow<'_, str>> {
    if written.contains('\\') {
        let name: String = serde_json::from_str(&format!("\"{written}\"")).ok()?;
        let name = name.trim();
        return (!name.is_empty()).then(|| Cow::Owned(name.to_owned()));
    }
    let name = written.trim();
    (!name.is_empty()).then_some(Cow::Borrowed(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(json: &str) -> Vec<String> {
        segments(json)
            .filter_map(|segment| match segment {
                Segment::Column(name) => Some(name.into_owned()),
                Segment::Literal(_) => None,
            })
            .collect()
    }

    #[test]
    fn columns_are_found_with_and_without_spaces() {
        assert_eq!(
            columns(r#"{"text":"Hi {{name}}, {{ order id }}!"}"#),
            ["name", "order id"]
        );
        assert_eq!(columns(r#"{"text":"{{1}}{{2}}"}"#), ["1", "2"]);
    }

    #[test]
    fn what_only_looks_like_a_placeholder_is_text() {
        assert!(columns(r#"{"a":"{{","b":{"c":"}}"}}"#).is_empty());
        assert!(columns(r#"{"a":"{{}} {{ }} {x} }}"}"#).is_empty());
        assert!(columns(r#"{"a":"{{open","b":{"c":{}}}"#).is_empty());
    }

    #[test]
    fn the_innermost_braces_count() {
        assert_eq!(columns(r#"{"a":"{{{name}}}"}"#), ["name"]);
        assert_eq!(columns(r#"{"a":"{{not {{name}}"}"#), ["name"]);
    }

    #[test]
    fn a_column_may_have_a_quote_in_its_name() {
        assert_eq!(columns(r#"{"a":"{{the \"first\"}}"}"#), [r#"the "first""#]);
    }

    #[test]
    fn the_pieces_make_the_whole() {
        let json = r#"{"a":"x {{b}} y","c":"{{d}}"}"#;
        let whole: String = segments(json)
            .map(|segment| match segment {
                Segment::Literal(text) => text.to_owned(),
                Segment::Column(name) => format!("{{{{{name}}}}}"),
            })
            .collect();
        assert_eq!(whole, json);
    }
}
