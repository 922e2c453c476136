//! The hop between a relay and the server: Standard Webhooks signatures with a nonce inside, believed for five minutes and once.
//!
//! The window applies to the attempt to transport a delivery, never to the time of Meta's events inside it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

/// How far the time of an attempt may be from ours, either way.
pub const WINDOW: SignedDuration = SignedDuration::from_secs(300);
/// How far the clocks of our own servers may be apart.
pub const CLOCK_SKEW_MOST: SignedDuration = SignedDuration::from_secs(60);
/// How long a nonce is remembered: an attempt that was signed at the window's far end stays believable for two windows.
pub const NONCE_KEPT: SignedDuration = SignedDuration::from_secs(660);
const _: () = assert!(NONCE_KEPT.as_secs() >= 2 * WINDOW.as_secs() + CLOCK_SKEW_MOST.as_secs());

/// Characters of a delivery's id.
pub const ID_MOST: usize = 128;
/// Characters of a nonce: fewer would repeat by chance.
pub const NONCE_LEAST: usize = 16;
/// Characters of a nonce.
pub const NONCE_MOST: usize = 128;
/// Signatures in one header; more than two are never needed to change a key.
const SIGNATURES_MOST: usize = 8;
/// Bytes of a key, as Standard Webhooks has it.
const KEY_LEAST: usize = 24;
/// In front of a key that is written in base64.
const KEY_PREFIX: &str = "whsec_";

/// A key of the hop. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct HopKey(Vec<u8>);

impl std::fmt::Debug for HopKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HopKey")
    }
}

/// The text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HopKeyError {
    /// After `whsec_` comes no base64.
    #[error("what follows whsec_ is not base64")]
    NotBase64,
    /// It could be guessed.
    #[error("the key has fewer than {KEY_LEAST} bytes")]
    TooShort,
}

impl HopKey {
    /// Reads a key: `whsec_` and base64, as Standard Webhooks writes it, or any other text, which is taken as it is.
    ///
    /// # Errors
    /// When it is not base64, or shorter than 24 bytes.
    pub fn parse(text: &str) -> Result<Self, HopKeyError> {
        let bytes = match text.strip_prefix(KEY_PREFIX) {
            Some(encoded) => BASE64.decode(encoded).map_err(|_| HopKeyError::NotBase64)?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < KEY_LEAST {
            return Err(HopKeyError::TooShort);
        }
        Ok(Self(bytes))
    }
}

/// The four headers of an attempt, as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct HopHeaders<'a> {
    /// `webhook-id`: the delivery, the same in each attempt.
    pub id: Option<&'a str>,
    /// `webhook-timestamp`: when this attempt was made, in seconds since 1970.
    pub timestamp: Option<&'a str>,
    /// `webhook-nonce`: this attempt and no other.
    pub nonce: Option<&'a str>,
    /// `webhook-signature`: `v1,` and base64, several separated by spaces while a key is rotated.
    pub signature: Option<&'a str>,
}

/// An attempt that is signed and fresh. Its nonce must still be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop<'a> {
    /// The delivery's id.
    pub id: &'a str,
    /// The attempt's nonce.
    pub nonce: &'a str,
}

/// Why an attempt is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HopError {
    /// A header is not there.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// A header is not of its form.
    #[error("the header {0} is malformed")]
    Malformed(&'static str),
    /// No key of ours gives any of the signatures.
    #[error("no signature matches; sign id.timestamp.nonce.body with the key of the relay")]
    Mismatch,
    /// The attempt was made at another time.
    #[error("the attempt is {seconds_off} s off, 300 at most; set the clock, and sign each attempt anew")]
    Stale {
        /// How far; negative for an attempt from the future.
        seconds_off: i64,
    },
}

/// Checks an attempt: its headers, its signature under any of the keys (in constant time for each), then its time.
///
/// # Errors
/// When a header is missing or malformed, no signature matches, or the attempt is out of the window.
pub fn verify_hop<'a>(
    keys: &[HopKey],
    headers: HopHeaders<'a>,
    body: &[u8],
    now: Timestamp,
) -> Result<Hop<'a>, HopError> {
    let id = given(headers.id, "webhook-id", is_id)?;
    let written_at = given(headers.timestamp, "webhook-timestamp", is_seconds)?;
    let nonce = given(headers.nonce, "webhook-nonce", is_nonce)?;
    let signatures = given(headers.signature, "webhook-signature", |_| true)?;
    let seconds: i64 = written_at
        .parse()
        .map_err(|_| HopError::Malformed("webhook-timestamp"))?;
    let claimed = claimed(signatures).ok_or(HopError::Malformed("webhook-signature"))?;
    let matches = keys
        .iter()
        .flat_map(|key| claimed.iter().map(move |signature| (key, signature)))
        .filter(|(key, signature)| {
            keyed(key, id, written_at, nonce, body)
                .verify_slice(signature.as_slice())
                .is_ok()
        })
        .count();
    if matches == 0 {
        return Err(HopError::Mismatch);
    }
    let seconds_off = now.as_second().saturating_sub(seconds);
    if seconds_off.saturating_abs() > WINDOW.as_secs() {
        return Err(HopError::Stale { seconds_off });
    }
    Ok(Hop { id, nonce })
}

/// Signs an attempt: what `webhook-signature` must say. `id` and `nonce` hold no full stop.
pub fn sign_hop(key: &HopKey, id: &str, at: Timestamp, nonce: &str, body: &[u8]) -> String {
    let written_at = at.as_second().to_string();
    let mac = keyed(key, id, &written_at, nonce, body).finalize().into_bytes();
    format!("v1,{}", BASE64.encode(mac))
}

/// The signed content is `id.timestamp.nonce.body`. No part before the body can hold a full stop, so it can be read in one way only.
fn keyed(key: &HopKey, id: &str, written_at: &str, nonce: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key.0)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    for part in [id, written_at, nonce] {
        mac.update(part.as_bytes());
        mac.update(b".");
    }
    mac.update(body);
    mac
}

fn given<'a>(
    header: Option<&'a str>,
    name: &'static str,
    is_well_formed: impl Fn(&str) -> bool,
) -> Result<&'a str, HopError> {
    let text = header.ok_or(HopError::Missing(name))?;
    if is_well_formed(text) {
        Ok(text)
    } else {
        Err(HopError::Malformed(name))
    }
}

fn is_id(text: &str) -> bool {
    (1..=ID_MOST).contains(&text.len()) && text.bytes().all(is_of_word)
}

fn is_nonce(text: &str) -> bool {
    (NONCE_LEAST..=NONCE_MOST).contains(&text.len()) && text.bytes().all(is_of_word)
}

fn is_seconds(text: &str) -> bool {
    (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// The signatures of version 1; others are for whoever understands them.
fn claimed(header: &str) -> Option<Vec<Vec<u8>>> {
    let mut signatures = Vec::new();
    for signature in header.split_ascii_whitespace() {
        if let Some(encoded) = signature.strip_prefix("v1,") {
            signatures.push(BASE64.decode(encoded).ok()?);
        }
    }
    (1..=SIGNATURES_MOST)
        .contains(&signatures.len())
        .then_some(signatures)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_764_000_000;
    const NONCE: &str = "n0nce-of-this-attempt";
    const BODY: &[u8] = br#"{"object":"whatsapp_business_account"}"#;

    fn key(text: &str) -> HopKey {
        HopKey::parse(text).unwrap()
    }

    fn current() -> HopKey {
        key("the current key of the relay")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    struct Attempt {
        id: Option<&'static str>,
        timestamp: Option<String>,
        nonce: Option<&'static str>,
        signature: Option<String>,
    }

    fn attempt() -> Attempt {
        Attempt {
            id: Some("msg_1"),
            timestamp: Some(NOW.to_string()),
            nonce: Some(NONCE),
            signature: Some(sign_hop(&current(), "msg_1", at(NOW), NONCE, BODY)),
        }
    }

    fn verify(attempt: &Attempt, body: &[u8], now: i64) -> Result<(), HopError> {
        let headers = HopHeaders {
            id: attempt.id,
            timestamp: attempt.timestamp.as_deref(),
            nonce: attempt.nonce,
            signature: attempt.signature.as_deref(),
        };
        let keys = [current(), key("the previous key of the relay")];
        verify_hop(&keys, headers, body, at(now)).map(|hop| {
            assert_eq!(hop.id, "msg_1");
            assert_eq!(hop.nonce, NONCE);
        })
    }

    fn check(change: impl FnOnce(&mut Attempt), expected: Result<(), HopError>) {
        let mut changed = attempt();
        change(&mut changed);
        assert_eq!(verify(&changed, BODY, NOW), expected);
    }

    #[test]
    fn the_table_of_headers() {
        check(|_| {}, Ok(()));
        check(|a| a.id = None, Err(HopError::Missing("webhook-id")));
        check(
            |a| a.timestamp = None,
            Err(HopError::Missing("webhook-timestamp")),
        );
        check(|a| a.nonce = None, Err(HopError::Missing("webhook-nonce")));
        check(
            |a| a.signature = None,
            Err(HopError::Missing("webhook-signature")),
        );
        for id in ["", "msg.1", "msg 1", "é"] {
            check(|a| a.id = Some(id), Err(HopError::Malformed("webhook-id")));
        }
        for timestamp in ["", "-1", "+1", "1.5", "now", "9999999999999"] {
            check(
                |a| a.timestamp = Some(timestamp.to_owned()),
                Err(HopError::Malformed("webhook-timestamp")),
            );
        }
        for nonce in ["", "too-short", "with.a.full.stop.in.it", "with a space in it.."] {
            check(
                |a| a.nonce = Some(nonce),
                Err(HopError::Malformed("webhook-nonce")),
            );
        }
        for signature in ["", "v1", "v1,***", "v2,AAAA", "sha256=00"] {
            check(
                |a| a.signature = Some(signature.to_owned()),
                Err(HopError::Malformed("webhook-signature")),
            );
        }
        check(
            |a| a.signature = Some("v1,AAAA ".repeat(SIGNATURES_MOST + 1)),
            Err(HopError::Malformed("webhook-signature")),
        );
    }

    #[test]
    fn every_signed_part_is_signed() {
        check(|a| a.id = Some("msg_2"), Err(HopError::Mismatch));
        check(
            |a| a.timestamp = Some((NOW + 1).to_string()),
            Err(HopError::Mismatch),
        );
        check(|a| a.nonce = Some("another-nonce-of-it"), Err(HopError::Mismatch));
        assert_eq!(verify(&attempt(), b"{}", NOW), Err(HopError::Mismatch));
        check(
            |a| a.signature = Some("v1,AAAA".to_owned()),
            Err(HopError::Mismatch),
        );
    }

    #[test]
    fn the_window_is_five_minutes_either_way_and_counts_after_the_signature() {
        for (seconds_off, expected) in [
            (0, Ok(())),
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(HopError::Stale { seconds_off: 301 })),
            (-301, Err(HopError::Stale { seconds_off: -301 })),
        ] {
            assert_eq!(verify(&attempt(), BODY, NOW + seconds_off), expected);
        }
        let mut unsigned = attempt();
        unsigned.signature = Some("v1,AAAA".to_owned());
        assert_eq!(verify(&unsigned, BODY, NOW + 3_600), Err(HopError::Mismatch));
    }

    #[test]
    fn while_a_key_is_rotated_either_side_may_be_ahead() {
        let previous = key("the previous key of the relay");
        let unknown = key("a key that we never heard of");
        let signed = |key: &HopKey| sign_hop(key, "msg_1", at(NOW), NONCE, BODY);
        check(|a| a.signature = Some(signed(&previous)), Ok(()));
        check(|a| a.signature = Some(signed(&unknown)), Err(HopError::Mismatch));
        check(
            |a| a.signature = Some(format!("v1a,AAAA {} {}", signed(&unknown), signed(&current()))),
            Ok(()),
        );
    }

    #[test]
    fn without_a_nonce_it_is_the_signature_of_standard_webhooks() {
        // The example of the specification's reference libraries: with our content in the place of the payload, any of them signs a hop.
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key.0).unwrap();
        let stock = mac.chain_update(b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}");
        assert_eq!(
            BASE64.encode(stock.finalize().into_bytes()),
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let ours = sign_hop(&key, "msg_1", at(1_614_265_330), NONCE, b"{}");
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key.0).unwrap();
        let stock = mac.chain_update(format!("msg_1.1614265330.{NONCE}.{{}}"));
        assert_eq!(
            ours,
            format!("v1,{}", BASE64.encode(stock.finalize().into_bytes()))
        );
    }

    #[test]
    fn keys_that_could_be_guessed_are_refused_and_none_is_shown() {
        assert_eq!(HopKey::parse("short").unwrap_err(), HopKeyError::TooShort);
        assert_eq!(HopKey::parse("whsec_AAAA").unwrap_err(), HopKeyError::TooShort);
        assert_eq!(HopKey::parse("whsec_*").unwrap_err(), HopKeyError::NotBase64);
        assert_eq!(format!("{:?}", current()), "HopKey");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(body in proptest::collection::vec(any::<u8>(), 1..200), place in any::<usize>(), bit in 0_u8..8) {
            let signature = sign_hop(&current(), "msg_1", at(NOW), NONCE, &body);
            let headers = HopHeaders { id: Some("msg_1"), timestamp: Some("1764000000"), nonce: Some(NONCE), signature: Some(&signature) };
            prop_assert!(verify_hop(&[current()], headers, &body, at(NOW)).is_ok());
            let mut changed = body.clone();
            let place = place % changed.len();
            changed[place] ^= 1 << bit;
            prop_assert_eq!(verify_hop(&[current()], headers, &changed, at(NOW)), Err(HopError::Mismatch));
        }

        #[test]
        fn no_header_makes_it_panic(id in ".{0,40}", timestamp in ".{0,20}", nonce in ".{0,40}", signature in ".{0,80}") {
            let headers = HopHeaders { id: Some(&id), timestamp: Some(&timestamp), nonce: Some(&nonce), signature: Some(&signature) };
            prop_assert!(verify_hop(&[current()], headers, BODY, at(NOW)).is_err());
        }
    }
}
