//! Signatures of Meta's webhooks: HMAC-SHA256 over the raw bytes with the app's secret, in `X-Hub-Signature-256`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Why a delivery is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature header.
    #[error("the X-Hub-Signature-256 header is missing")]
    Missing,
    /// The header is not `sha256=` and 64 hexadecimal digits.
    #[error("the X-Hub-Signature-256 header is malformed")]
    Malformed,
    /// No secret of ours gives this signature.
    #[error("the signature does not match")]
    Mismatch,
}

/// Checks a delivery against each secret (the current one, and the previous one while it is being rotated), in
/// constant time for each.
///
/// # Errors
/// When the header is missing or malformed, or no secret matches.
pub fn verify_meta(secrets: &[&[u8]], header: Option<&str>, body: &[u8]) -> Result<(), SignatureError> {
    let header = header.ok_or(SignatureError::Missing)?;
    let digits = header.strip_prefix("sha256=").ok_or(SignatureError::Malformed)?;
    let claimed = from_hex(digits).ok_or(SignatureError::Malformed)?;
    let matches = secrets
        .iter()
        .filter(|secret| keyed(secret, body).verify_slice(&claimed).is_ok())
        .count();
    if matches == 0 {
        Err(SignatureError::Mismatch)
    } else {
        Ok(())
    }
}

/// Signs a body as Meta does.
pub fn sign_meta(secret: &[u8], body: &[u8]) -> String {
    let mut header = String::from("sha256=");
    for byte in keyed(secret, body).finalize().into_bytes() {
        header.push(char::from(HEX[usize::from(byte >> 4)]));
        header.push(char::from(HEX[usize::from(byte & 15)]));
    }
    header
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn keyed(secret: &[u8], body: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(body);
    mac
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_known_vector_verifies() {
        // RFC 4231, test case 2.
        let header = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let body = b"what do ya want for nothing?";
        assert_eq!(verify_meta(&[b"Jefe"], Some(header), body), Ok(()));
        assert_eq!(sign_meta(b"Jefe", body), header);
    }

    #[test]
    fn the_previous_secret_still_counts_while_it_is_rotated() {
        let header = sign_meta(b"old", b"{}");
        assert_eq!(verify_meta(&[b"new", b"old"], Some(&header), b"{}"), Ok(()));
        assert_eq!(
            verify_meta(&[b"new"], Some(&header), b"{}"),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn sha1_and_rubbish_are_refused() {
        for header in ["sha1=abc", "", "sha256=", "sha256=zz", "sha256=é"] {
            assert_eq!(
                verify_meta(&[b"k"], Some(header), b""),
                Err(SignatureError::Malformed)
            );
        }
        assert_eq!(verify_meta(&[b"k"], None, b""), Err(SignatureError::Missing));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(body in proptest::collection::vec(any::<u8>(), 1..200), at in any::<usize>(), bit in 0_u8..8) {
            let header = sign_meta(b"secret", &body);
            let mut changed = body.clone();
            let at = at % changed.len();
            changed[at] ^= 1 << bit;
            prop_assert_eq!(verify_meta(&[b"secret"], Some(&header), &changed), Err(SignatureError::Mismatch));
        }
    }
}
