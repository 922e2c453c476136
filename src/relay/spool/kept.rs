//! What was forwarded and is kept for a while: removed by age and by bytes, read again for a replay.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;

use super::Limits;
use super::record::Record;
use super::segment::{Records, list, path};

/// Bytes that are kept.
pub(super) fn bytes(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for number in list(directory, "kept")? {
        bytes += std::fs::metadata(path(directory, number, "kept"))?.len();
    }
    Ok(bytes)
}

/// Removes segments, the oldest first, until none is too old and their bytes are within the bound. Gives the bytes that are left.
pub(super) fn sweep(directory: &Path, limits: Limits, now: SystemTime) -> io::Result<u64> {
    let mut left = bytes(directory)?;
    for number in list(directory, "kept")? {
        let file = path(directory, number, "kept");
        let about = std::fs::metadata(&file)?;
        // Last written when its newest record came; a clock that was set back makes nothing older.
        let age = now.duration_since(about.modified()?).unwrap_or_default();
        if age > limits.kept_for || left > limits.kept_most {
            std::fs::remove_file(&file)?;
            left -= about.len();
        }
    }
    Ok(left)
}

/// Hands on each record that was received since then, forwarded or not, the oldest first. Only reads: a relay may be at work.
///
/// # Errors
/// What the disk says, or `take`.
pub fn read_since(
    directory: &Path,
    since: Timestamp,
    mut take: impl FnMut(Record) -> io::Result<()>,
) -> io::Result<()> {
    let mut numbers = list(directory, "kept")?;
    numbers.extend(list(directory, "log")?);
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let Some(bytes) = read_either(directory, number)? else {
            continue;
        };
        for (_, found) in Records::of(&bytes) {
            match found {
                Ok((record, _)) if record.received_at >= since => take(record)?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Reads a segment, which a relay at work may put aside, or remove, at any moment.
fn read_either(directory: &Path, number: u64) -> io::Result<Option<Vec<u8>>> {
    for ending in ["log", "kept"] {
        match std::fs::read(path(directory, number, ending)) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
