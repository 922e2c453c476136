//! The form of a tenant's API key: `mlt_<12 hexadecimal digits>_<64 hexadecimal digits>`.
//!
//! The first part finds the key's row, the second is 256 bits of randomness; only SHA-256 of the whole is stored.

use sha2::{Digest, Sha256};

/// What every key starts with.
const MARK: &str = "mlt_";
/// Digits of the part by which a key is looked up.
const PREFIX_DIGITS: usize = 12;
/// Digits of the secret part.
const SECRET_DIGITS: usize = 64;

/// A new key: shown once, then only its prefix and hash are known.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// By which the key is looked up.
    pub prefix: String,
    /// The whole key.
    pub text: String,
}

impl NewApiKey {
    /// Makes a key from 38 random bytes.
    pub fn from_random(random: [u8; 38]) -> Self {
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let (prefix, secret) = digits.split_at(PREFIX_DIGITS);
        Self {
            prefix: prefix.to_owned(),
            text: format!("{MARK}{prefix}_{secret}"),
        }
    }
}

/// Gives the prefix of a well-formed key.
pub fn prefix_of(text: &str) -> Option<&str> {
    let (prefix, secret) = text.strip_prefix(MARK)?.split_once('_')?;
    let hexadecimal = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let formed = prefix.len() == PREFIX_DIGITS && secret.len() == SECRET_DIGITS;
    (formed && hexadecimal(prefix) && hexadecimal(secret)).then_some(prefix)
}

/// Gives what is stored of a key.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_found_by_its_prefix() {
        let key = NewApiKey::from_random([7; 38]);
        assert_eq!(prefix_of(&key.text), Some(key.prefix.as_str()));
        assert_eq!(key.text.len(), MARK.len() + PREFIX_DIGITS + 1 + SECRET_DIGITS);
    }

    #[test]
    fn anything_else_has_no_prefix() {
        for text in ["", "mlt_", "mlt_abc_def", "Bearer x", "mlt_zzzzzzzzzzzz_00"] {
            assert_eq!(prefix_of(text), None);
        }
    }
}
