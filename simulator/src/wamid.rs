//! Message ids: Meta's shape on the outside, our message's place on the inside.
//!
//! A real id is base64 of a small record: the recipient, then a hexadecimal tail. The tail here holds a tag of
//! this run and the index of the message, so no map from id to message is needed.

use crate::base64;

const HEAD: &[u8] = &[0x1c, 0x18];
const MIDDLE: &[u8] = &[0x15, 0x02, 0x00, 0x11, 0x18, 0x12];
const TAIL_LENGTH: usize = 18;

/// Writes the id of the message at `index` in the run `run`.
pub(crate) fn write(recipient: &str, run: u32, index: u32) -> String {
    let mut bytes = Vec::with_capacity(recipient.len() + 32);
    bytes.extend_from_slice(HEAD);
    bytes.push(u8::try_from(recipient.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(recipient.as_bytes());
    bytes.extend_from_slice(MIDDLE);
    bytes.extend_from_slice(format!("{run:08X}{index:010X}").as_bytes());
    bytes.push(0);
    let mut id = base64::encode(&bytes);
    id.insert_str(0, "wamid.");
    id
}

/// Reads the index back, or `None` for an id that this run did not write.
pub(crate) fn read(id: &str, run: u32) -> Option<u32> {
    let bytes = base64::decode(id.strip_prefix("wamid.")?)?;
    let end = bytes.len().checked_sub(1)?;
    let tail = std::str::from_utf8(bytes.get(end.checked_sub(TAIL_LENGTH)?..end)?).ok()?;
    let (tag, index) = tail.split_at_checked(8)?;
    let same_run = u32::from_str_radix(tag, 16).ok()? == run;
    same_run.then(|| u32::from_str_radix(index, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_message_in_its_own_run_only() {
        let id = write("16505551234", 0xABCD_0123, 77);
        assert!(id.starts_with("wamid.HBgLMTY1MDU1NTEyMzQVAgARGB"), "{id}");
        assert_eq!(read(&id, 0xABCD_0123), Some(77));
        assert_eq!(read(&id, 1), None);
        assert_eq!(read("wamid.x", 1), None);
    }
}
