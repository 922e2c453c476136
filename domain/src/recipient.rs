//! Who a message goes to: a phone number or Meta's business-scoped user id.

use std::fmt;
use std::str::FromStr;

/// The address of a recipient, in its one canonical spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recipient {
    /// An E.164 number without its plus sign: 8 to 15 digits, the first not zero.
    Phone(String),
    /// A business-scoped user id: two-letter country, a dot, up to 128 letters, digits, or (parent form) dots.
    UserId(String),
}

impl Recipient {
    /// Gives the canonical text: `+` and digits, or the user id.
    pub fn canonical(&self) -> String {
        match self {
            Self::Phone(digits) => format!("+{digits}"),
            Self::UserId(id) => id.clone(),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

impl fmt::Debug for Recipient {
    /// Keeps phone numbers out of logs: only the kind is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Phone(_) => "Phone(..)",
            Self::UserId(_) => "UserId(..)",
        })
    }
}

/// Why a text is no recipient. The text itself is not repeated, since it may be a phone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// Nothing was given.
    #[error("the recipient is empty")]
    Empty,
    /// Neither a phone number nor a user id.
    #[error("not an E.164 phone number (+ and 8 to 15 digits) nor a business-scoped user id")]
    Malformed,
}

impl FromStr for Recipient {
    type Err = RecipientError;

    /// Takes E.164 with or without the plus sign and with spaces, dashes, dots and brackets between digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RecipientError::Empty);
        }
        if is_user_id(text) {
            return Ok(Self::UserId(text.to_owned()));
        }
        phone_digits(text)
            .map(Self::Phone)
            .ok_or(RecipientError::Malformed)
    }
}

fn phone_digits(text: &str) -> Option<String> {
    let rest = text.strip_prefix('+').unwrap_or(text);
    let mut digits = String::with_capacity(rest.len());
    for character in rest.chars() {
        match character {
            '0'..='9' => digits.push(character),
            ' ' | '-' | '.' | '(' | ')' => {}
            _ => return None,
        }
    }
    let plausible = (8..=15).contains(&digits.len()) && !digits.starts_with('0');
    plausible.then_some(digits)
}

fn is_user_id(text: &str) -> bool {
    let Some((country, rest)) = text.split_once('.') else {
        return false;
    };
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=132).contains(&rest.len())
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}
