//! Headers of both doors: none makes the check panic, none that we did not sign is believed, each that we signed is.

#![no_main]

use domain::hop::{HopHeaders, HopKey, sign_hop, verify_hop};
use domain::signature::{sign_meta, verify_meta};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const SECRET: &[u8] = b"a secret that the fuzzer does not sign with";

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(6, |&byte| byte == b'\n');
    let mut header = || parts.next().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let (id, timestamp, nonce, signature, hub) = (header(), header(), header(), header(), header());
    let body = parts.next().unwrap_or_default();
    assert!(verify_meta(&[SECRET], hub, body).is_err());
    let signed = sign_meta(SECRET, body);
    assert!(verify_meta(&[b"another", SECRET], Some(&signed), body).is_ok());

    let now = Timestamp::UNIX_EPOCH;
    let Ok(key) = HopKey::parse("a key of the relay that is long enough") else {
        unreachable!("it is long enough")
    };
    if let Some(text) = id {
        let _ = HopKey::parse(text);
    }
    let keys = [key];
    let headers = HopHeaders { id, timestamp, nonce, signature };
    assert!(verify_hop(&keys, headers, body, now).is_err());
    let (Some(id), Some(nonce)) = (id, nonce) else { return };
    let signed = sign_hop(&keys[0], id, now, nonce, body);
    let headers = HopHeaders { id: Some(id), timestamp: Some("0"), nonce: Some(nonce), signature: Some(&signed) };
    if let Ok(hop) = verify_hop(&keys, headers, body, now) {
        assert!(!hop.id.contains('.') && !hop.nonce.contains('.'), "the signed content has one reading");
    }
});
