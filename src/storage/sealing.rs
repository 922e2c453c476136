//! Senders' access tokens at rest. Each is sealed under a key of its own, which the installation's key wraps; both seals are bound to
//! the tenant and the sender, so that a row copied to another one opens nothing.

use domain::ids::{SenderId, TenantId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::StorageError;
use crate::config::{KEY_BYTES, Secret, SecretName, Secrets, TokenKey, TokenKeys};

/// The first byte of what is stored: the form of the rest.
const FORM: u8 = 1;
/// What a seal adds to what it seals: its nonce and its tag.
const SEAL_BYTES: usize = NONCE_LEN + 16;
/// Where the token begins, behind the form and the wrapped key.
const TOKEN_AT: usize = 1 + SEAL_BYTES + KEY_BYTES;

/// A token as it is stored.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Which key wraps it.
    pub key_id: String,
    /// The form, the wrapped key, the token.
    pub bytes: Vec<u8>,
}

/// The keys in use.
///
/// # Errors
/// When they cannot be read.
pub fn keys(secrets: &Secrets) -> Result<TokenKeys, StorageError> {
    let secret = secrets.get(SecretName::TokenKeys);
    secret
        .and_then(|secret| TokenKeys::read(&secret))
        .map_err(|error| StorageError::Unavailable(error.to_string()))
}

/// Seals a token for its sender.
///
/// # Errors
/// When the system gives no randomness.
pub fn seal(
    keys: &TokenKeys,
    tenant: TenantId,
    sender: SenderId,
    token: &str,
) -> Result<Sealed, StorageError> {
    let mut own = [0; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut own)
        .map_err(|_| failed("there is no randomness"))?;
    let key = keys.current();
    let bound = bound_to(tenant, sender);
    let mut bytes = vec![FORM];
    bytes.extend(close(&key.bytes, &bound, &own)?);
    bytes.extend(close(&own, &bound, token.as_bytes())?);
    Ok(Sealed {
        key_id: key.id.clone(),
        bytes,
    })
}

/// Opens a token that [`seal`] sealed for the same sender.
///
/// # Errors
/// When the key is not known any more, or what is stored was sealed for somebody else or changed.
pub fn open(
    keys: &TokenKeys,
    tenant: TenantId,
    sender: SenderId,
    key_id: &str,
    sealed: &[u8],
) -> Result<Secret, StorageError> {
    let key: &TokenKey = keys.find(key_id).ok_or_else(|| {
        failed(&format!(
            "sender {sender}: its token is wrapped by the key {key_id:?}, which is not among token_keys"
        ))
    })?;
    let wrong = || {
        failed(&format!(
            "sender {sender}: its token does not open: it was changed, or sealed for somebody else"
        ))
    };
    if sealed.first() != Some(&FORM) || sealed.len() < TOKEN_AT {
        return Err(wrong());
    }
    let bound = bound_to(tenant, sender);
    let own = unclose(&key.bytes, &bound, &sealed[1..TOKEN_AT]).ok_or_else(wrong)?;
    let own: [u8; KEY_BYTES] = own.try_into().map_err(|_| wrong())?;
    let token = unclose(&own, &bound, &sealed[TOKEN_AT..]).ok_or_else(wrong)?;
    Ok(Secret::new(String::from_utf8(token).map_err(|_| wrong())?))
}

/// Makes a new key, as its line in the secret.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_key(id: &str) -> Result<String, StorageError> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| failed("there is no randomness"))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("{id}:{digits}");
    TokenKeys::parse(&line).map_err(StorageError::Broken)?;
    Ok(line)
}

fn bound_to(tenant: TenantId, sender: SenderId) -> Vec<u8> {
    [
        b"malote sender token".as_slice(),
        tenant.0.as_bytes(),
        sender.0.as_bytes(),
    ]
    .concat()
}

fn key_of(bytes: &[u8; KEY_BYTES]) -> Result<LessSafeKey, StorageError> {
    let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| failed("a key has the wrong length"))?;
    Ok(LessSafeKey::new(key))
}

fn close(key: &[u8; KEY_BYTES], bound: &[u8], plain: &[u8]) -> Result<Vec<u8>, StorageError> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| failed("there is no randomness"))?;
    let mut text = plain.to_vec();
    key_of(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut text)
        .map_err(|_| failed("a token cannot be sealed"))?;
    Ok([nonce.as_slice(), &text].concat())
}

fn unclose(key: &[u8; KEY_BYTES], bound: &[u8], closed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = closed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = text.to_vec();
    let opened = key_of(key)
        .ok()?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(bound), &mut text)
        .ok()?;
    Some(opened.to_vec())
}

fn failed(what: &str) -> StorageError {
    StorageError::Broken(what.to_owned())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn keys(ids: &[&str]) -> TokenKeys {
        let lines: Vec<String> = ids
            .iter()
            .map(|id| format!("{id}:{}", format!("{:02x}", id.len()).repeat(32)))
            .collect();
        TokenKeys::parse(&lines.join("\n")).unwrap()
    }

    fn ids() -> (TenantId, SenderId) {
        (TenantId(Uuid::from_u128(1)), SenderId(Uuid::from_u128(2)))
    }

    #[test]
    fn a_token_opens_for_its_sender_and_looks_different_each_time() {
        let ((tenant, sender), keys) = (ids(), keys(&["k"]));
        let [one, other] = [(), ()].map(|()| seal(&keys, tenant, sender, "EAA-token").unwrap());
        assert_ne!(one.bytes, other.bytes);
        assert!(!one.bytes.windows(4).any(|part| part == b"EAA-"));
        let opened = open(&keys, tenant, sender, &one.key_id, &one.bytes).unwrap();
        assert_eq!(opened.expose(), "EAA-token");
    }

    #[test]
    fn it_opens_for_nobody_else_and_not_when_a_byte_was_changed() {
        let ((tenant, sender), keys) = (ids(), keys(&["k"]));
        let sealed = seal(&keys, tenant, sender, "EAA-token").unwrap();
        let (other, another) = (TenantId(Uuid::from_u128(9)), SenderId(Uuid::from_u128(9)));
        assert!(open(&keys, other, sender, "k", &sealed.bytes).is_err());
        assert!(open(&keys, tenant, another, "k", &sealed.bytes).is_err());
        for at in 0..sealed.bytes.len() {
            let mut changed = sealed.bytes.clone();
            changed[at] ^= 1;
            assert!(open(&keys, tenant, sender, "k", &changed).is_err(), "byte {at}");
            assert!(
                open(&keys, tenant, sender, "k", &sealed.bytes[..at]).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn an_old_key_goes_on_opening_while_a_new_one_seals() {
        let (tenant, sender) = ids();
        let old = seal(&keys(&["old"]), tenant, sender, "t").unwrap();
        let both = keys(&["newer", "old"]);
        assert_eq!(
            open(&both, tenant, sender, &old.key_id, &old.bytes)
                .unwrap()
                .expose(),
            "t"
        );
        assert_eq!(seal(&both, tenant, sender, "t").unwrap().key_id, "newer");
        let gone = open(&keys(&["newer"]), tenant, sender, &old.key_id, &old.bytes).unwrap_err();
        assert!(gone.to_string().contains("\"old\""), "{gone}");
    }

    #[test]
    fn a_new_key_can_be_used() {
        let line = new_key("k-1").unwrap();
        assert_eq!(TokenKeys::parse(&line).unwrap().current().id, "k-1");
        assert!(new_key("no id").is_err());
    }
}
