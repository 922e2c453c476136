//! The keys that wrap senders' access tokens, as their secret spells them.

use std::fmt;

use super::Secret;
use crate::config::ConfigError;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Letters of a key's id.
const ID_LONGEST: usize = 40;

/// A key with the id that is stored beside what it wrapped.
#[derive(Clone)]
pub struct TokenKey {
    /// Its id.
    pub id: String,
    /// The key itself.
    pub bytes: [u8; KEY_BYTES],
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenKey({}, ...)", self.id)
    }
}

/// All keys: the first wraps, each unwraps what it wrapped.
#[derive(Clone, Debug)]
pub struct TokenKeys(Vec<TokenKey>);

impl TokenKeys {
    /// Reads `id:64 hexadecimal digits`, one a line.
    ///
    /// # Errors
    /// What is wrong, without the keys.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Vec<TokenKey> = lines.map(parse_line).collect::<Result<_, _>>()?;
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].iter().any(|other| other.id == key.id) {
                return Err(format!("two keys have the id {:?}", key.id));
            }
        }
        if keys.is_empty() {
            return Err("there is no key".to_owned());
        }
        Ok(Self(keys))
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// When it is not as [`TokenKeys::parse`] wants it.
    pub fn read(secret: &Secret) -> Result<Self, ConfigError> {
        Self::parse(secret.expose()).map_err(|problem| ConfigError::Unusable {
            name: "token_keys",
            problem,
        })
    }

    /// The key that wraps.
    pub fn current(&self) -> &TokenKey {
        // Parsing refuses an empty list.
        &self.0[0]
    }

    /// The key that wrapped something.
    pub fn find(&self, id: &str) -> Option<&TokenKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

fn parse_line(line: &str) -> Result<TokenKey, String> {
    let wanted = "each line is id:64 hexadecimal digits (`malote secrets new-key` makes one)";
    let (id, digits) = line.split_once(':').ok_or(wanted)?;
    let is_id = (1..=ID_LONGEST).contains(&id.len())
        && id
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    let is_key = digits.len() == KEY_BYTES * 2 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    if !is_id || !is_key {
        return Err(wanted.to_owned());
    }
    let mut bytes = [0; KEY_BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[index * 2..index * 2 + 2], 16).map_err(|_| wanted)?;
    }
    Ok(TokenKey {
        id: id.to_owned(),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_wraps_and_each_is_found_by_its_id() {
        let keys =
            TokenKeys::parse(&format!("new:{}\n\nold:{}\n", "ab".repeat(32), "01".repeat(32))).unwrap();
        assert_eq!(
            (keys.current().id.as_str(), keys.current().bytes[31]),
            ("new", 0xab)
        );
        assert_eq!(keys.find("old").unwrap().bytes, [1; 32]);
        assert!(keys.find("older").is_none());
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused_and_shows_nothing() {
        let key = "ab".repeat(32);
        for text in [
            "",
            "id",
            &format!(":{key}"),
            &format!("a b:{key}"),
            &format!("id:{key}0"),
            &format!("x:{key}\nx:{key}"),
            "id:éé",
        ] {
            let error = TokenKeys::parse(text).unwrap_err();
            assert!(!error.contains(&key), "{error}");
        }
        let keys = TokenKeys::parse(&format!("id:{key}")).unwrap();
        assert!(!format!("{keys:?}").contains("ab"), "{keys:?}");
    }
}
