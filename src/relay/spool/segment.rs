//! One file of the log, and the list beside it of the records that were forwarded.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::record::{NoRecord, Record};

/// Where a record lies in its segment.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    size: u32,
    received_at: Timestamp,
    is_sent: bool,
}

/// A segment with records that are not forwarded yet, or that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    directory: PathBuf,
    number: u64,
    log: Arc<File>,
    sent: File,
    places: Vec<Place>,
    pending: usize,
    pending_bytes: u64,
    size: u64,
    /// Nothing is added any more.
    is_closed: bool,
}

/// What was wrong with a segment when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Records that are lost.
    pub(super) records: u64,
}

impl Segment {
    /// Begins a segment.
    pub(super) fn create(directory: &Path, number: u64) -> io::Result<Self> {
        let log = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .open(path(directory, number, "log"))?;
        let segment = Self::with(directory, number, log)?;
        // The names of new files are safe only when their directory is.
        File::open(directory)?.sync_all()?;
        Ok(segment)
    }

    /// Reads a segment that an earlier process left. A torn end is nobody's: it was never answered.
    pub(super) fn load(directory: &Path, number: u64) -> io::Result<(Self, Damage)> {
        let file = path(directory, number, "log");
        let (bytes, mut damage) = (std::fs::read(&file)?, Damage::default());
        let mut segment = Self::with(directory, number, File::open(&file)?)?;
        segment.is_closed = true;
        for (offset, found) in Records::of(&bytes) {
            match found {
                Ok((record, size)) => segment.add(offset as u64, size, record.received_at),
                Err(_) => damage.records += 1,
            }
        }
        let sent = std::fs::read(path(directory, number, "sent"))?;
        for index in sent.chunks_exact(4) {
            segment.mark(u32::from_le_bytes([index[0], index[1], index[2], index[3]]));
        }
        Ok((segment, damage))
    }

    fn with(directory: &Path, number: u64, log: File) -> io::Result<Self> {
        let sent = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path(directory, number, "sent"))?;
        Ok(Self {
            directory: directory.to_owned(),
            number,
            log: Arc::new(log),
            sent,
            places: Vec::new(),
            pending: 0,
            pending_bytes: 0,
            size: 0,
            is_closed: false,
        })
    }

    fn add(&mut self, offset: u64, size: usize, received_at: Timestamp) {
        self.places.push(Place {
            offset,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            received_at,
            is_sent: false,
        });
        self.pending += 1;
        self.pending_bytes += size as u64;
        self.size = offset + size as u64;
    }

    /// Notes records that were written and synced, and gives their numbers.
    pub(super) fn written(&mut self, records: &[Record]) -> std::ops::Range<u32> {
        let from = self.places.len() as u32;
        for record in records {
            let size = Record::size(record.body.len()) as usize;
            self.add(self.size, size, record.received_at);
        }
        from..self.places.len() as u32
    }

    fn mark(&mut self, index: u32) -> bool {
        let Some(place) = self.places.get_mut(index as usize) else {
            return false;
        };
        if place.is_sent {
            return false;
        }
        place.is_sent = true;
        self.pending -= 1;
        self.pending_bytes -= u64::from(place.size);
        true
    }

    /// Notes that a record was forwarded. The note may be lost with the machine: then it is forwarded again.
    pub(super) fn sent(&mut self, index: u32) -> io::Result<u64> {
        let before = self.pending_bytes;
        if self.mark(index) {
            self.sent.write_all(&index.to_le_bytes())?;
        }
        Ok(before - self.pending_bytes)
    }

    /// Says that nothing is added any more.
    pub(super) const fn close(&mut self) {
        self.is_closed = true;
    }

    /// Turns a closed segment whose records were all forwarded into one that is only kept.
    pub(super) fn retire(&self) -> io::Result<bool> {
        if !self.is_closed || self.pending > 0 {
            return Ok(false);
        }
        let log = path(&self.directory, self.number, "log");
        if self.places.is_empty() {
            std::fs::remove_file(log)?;
        } else {
            std::fs::rename(log, path(&self.directory, self.number, "kept"))?;
        }
        std::fs::remove_file(path(&self.directory, self.number, "sent"))?;
        Ok(true)
    }

    /// The numbers of the records that are not forwarded yet.
    pub(super) fn pending_records(&self) -> impl Iterator<Item = u32> {
        let places = self.places.iter().zip(0_u32..);
        places.filter(|(place, _)| !place.is_sent).map(|(_, index)| index)
    }

    /// When the oldest record that is not forwarded yet was received.
    pub(super) fn oldest_pending(&self) -> Option<Timestamp> {
        self.places
            .iter()
            .find(|place| !place.is_sent)
            .map(|place| place.received_at)
    }

    pub(super) const fn pending(&self) -> usize {
        self.pending
    }

    pub(super) const fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// The file, to be written to.
    pub(super) fn log(&self) -> Arc<File> {
        Arc::clone(&self.log)
    }

    /// Where a record can be read.
    pub(super) fn reader(&self, index: u32) -> Option<Reader> {
        let place = self.places.get(index as usize)?;
        Some(Reader {
            log: Arc::clone(&self.log),
            offset: place.offset,
            size: place.size,
        })
    }
}

/// Reads one record, whatever happens to the segment meanwhile.
pub(super) struct Reader {
    log: Arc<File>,
    offset: u64,
    size: u32,
}

impl Reader {
    /// Reads the record; `None` if it is damaged.
    pub(super) fn read(&self) -> io::Result<Option<Record>> {
        let mut bytes = vec![0; self.size as usize];
        self.log.read_exact_at(&mut bytes, self.offset)?;
        Ok(Record::read(&bytes).ok().map(|(record, _)| record))
    }
}

/// The records of a segment's bytes, one after the other, with their places. Ends at a torn end.
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Iterator for Records<'_> {
    type Item = (usize, Result<(Record, usize), NoRecord>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (at, found) = (self.at, Record::read(rest));
        match &found {
            Ok((_, size)) | Err(NoRecord::Damaged(size)) => self.at += size,
            Err(NoRecord::Lost) => self.at = self.bytes.len(),
            Err(NoRecord::Torn) => return None,
        }
        Some((at, found))
    }
}

/// The file of a segment.
pub(super) fn path(directory: &Path, number: u64, ending: &str) -> PathBuf {
    directory.join(format!("{number:020}.{ending}"))
}

/// The segments of a directory with an ending, in the order in which they were written.
pub(super) fn list(directory: &Path, ending: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == ending) {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}
