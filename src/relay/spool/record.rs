//! One delivery on the disk: what was received, when, under which id, and a checksum over all of it.

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// In front of every record.
const MARK: [u8; 4] = *b"mlt1";
/// Mark, length of the body, time, id.
const HEAD: usize = 4 + 4 + 8 + 16;
/// Bytes of the SHA-256 that are written.
const CHECKSUM: usize = 16;
/// Bytes of a record beside its body.
pub(super) const AROUND: usize = HEAD + CHECKSUM;

/// A delivery as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id: the same in each attempt to forward it.
    pub id: Uuid,
    /// When Meta brought it.
    pub received_at: Timestamp,
    /// Its bytes.
    pub body: Bytes,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRecord {
    /// They end before it does: the process died while it wrote, and nobody was answered.
    Torn,
    /// A record of this many bytes is damaged; the next one begins behind it.
    Damaged(usize),
    /// It cannot be told where the next one begins.
    Lost,
}

impl Record {
    /// Writes the record behind `bytes`.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let from = bytes.len();
        let length = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&MARK);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.received_at.as_millisecond().to_le_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.body);
        let checksum = checksum(&bytes[from..]);
        bytes.extend_from_slice(&checksum);
    }

    /// Reads the record at the beginning of `bytes`, and how many bytes it takes.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize), NoRecord> {
        let head = bytes.get(..HEAD).ok_or(NoRecord::Torn)?;
        if head[..4] != MARK {
            return Err(NoRecord::Lost);
        }
        let (mut length, mut millisecond, mut id) = ([0; 4], [0; 8], [0; 16]);
        length.copy_from_slice(&head[4..8]);
        millisecond.copy_from_slice(&head[8..16]);
        id.copy_from_slice(&head[16..]);
        let length = u32::from_le_bytes(length) as usize;
        if length > domain::webhook::BYTES_MOST {
            return Err(NoRecord::Lost);
        }
        let end = HEAD + length;
        let written = bytes.get(end..end + CHECKSUM).ok_or(NoRecord::Torn)?;
        let received_at = Timestamp::from_millisecond(i64::from_le_bytes(millisecond));
        match received_at {
            Ok(received_at) if checksum(&bytes[..end]) == written => Ok((
                Self {
                    id: Uuid::from_bytes(id),
                    received_at,
                    body: Bytes::copy_from_slice(&bytes[HEAD..end]),
                },
                end + CHECKSUM,
            )),
            _ => Err(NoRecord::Damaged(end + CHECKSUM)),
        }
    }

    /// Bytes of the record on the disk.
    pub(super) const fn size(body: usize) -> u64 {
        (body + AROUND) as u64
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut short = [0; CHECKSUM];
    short.copy_from_slice(&Sha256::digest(bytes)[..CHECKSUM]);
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(body: &[u8]) -> Record {
        Record {
            id: Uuid::from_u128(7),
            received_at: Timestamp::from_millisecond(1_764_000_000_123).unwrap(),
            body: Bytes::copy_from_slice(body),
        }
    }

    fn written(body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        record(body).write(&mut bytes);
        bytes
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for body in [&b""[..], b"{}", &[0; 100_000]] {
            let bytes = written(body);
            assert_eq!(bytes.len() as u64, Record::size(body.len()));
            assert_eq!(Record::read(&bytes), Ok((record(body), bytes.len())));
        }
    }

    #[test]
    fn whatever_is_cut_off_is_torn() {
        let bytes = written(b"a delivery");
        for end in 0..bytes.len() {
            assert_eq!(Record::read(&bytes[..end]), Err(NoRecord::Torn), "{end}");
        }
    }

    #[test]
    fn what_is_no_record_at_all_has_no_end() {
        assert_eq!(Record::read(&[0; 100]), Err(NoRecord::Lost));
        let mut huge = written(b"x");
        huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Record::read(&huge), Err(NoRecord::Lost));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_found(body in proptest::collection::vec(any::<u8>(), 0..100), place in any::<usize>(), bit in 0_u8..8) {
            let mut bytes = written(&body);
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
            prop_assert!(Record::read(&bytes).is_err());
        }
    }
}
