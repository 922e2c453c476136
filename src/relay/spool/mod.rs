//! The log of deliveries on the relay's disk: appended by group commit, read by the forwarder, kept for a while afterwards.
//!
//! Everything here blocks; callers give it a thread. What is answered is on the disk; what is not forwarded is bounded.

mod kept;
mod record;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

pub use kept::read_since;
pub use record::Record;
use segment::{Segment, list};
use writer::Waiting;

/// Deliveries that may wait to be written.
const WAITING_MOST: usize = 4_096;

/// How much the log may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that are not forwarded yet.
    pub pending_most: u64,
    /// Bytes that were forwarded and are kept.
    pub kept_most: u64,
    /// How long what was forwarded is kept.
    pub kept_for: Duration,
}

/// Why a delivery was not taken. Nobody may be answered 200.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// Too much waits to be forwarded.
    #[error("the log is full: the core has been away for long; relay.spool_most_mb is the bound")]
    Full,
    /// The disk did not take it.
    #[error("the log cannot be written: {0}")]
    Disk(String),
}

/// Which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    segment: u64,
    index: u32,
}

/// How the log fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Deliveries that are not forwarded yet.
    pub pending: usize,
    /// Their bytes.
    pub pending_bytes: u64,
    /// When the oldest of them was received.
    pub oldest: Option<Timestamp>,
    /// Bytes that were forwarded and are kept.
    pub kept_bytes: u64,
    /// Records that were found damaged and are lost.
    pub damaged: u64,
}

/// The log. One process has it at a time.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    limits: Limits,
    state: Mutex<State>,
    waiting: mpsc::Sender<Waiting>,
    filled: Notify,
    _lock: File,
}

#[derive(Debug, Default)]
struct State {
    segments: BTreeMap<u64, Segment>,
    /// What waits to be forwarded, the oldest first.
    ready: VecDeque<Key>,
    /// Bytes of deliveries that are on their way to the disk.
    arriving: u64,
    kept_bytes: u64,
    damaged: u64,
}

impl State {
    fn pending_bytes(&self) -> u64 {
        self.segments.values().map(Segment::pending_bytes).sum::<u64>() + self.arriving
    }
}

impl Spool {
    /// Opens the log of a directory: reads what an earlier process left, and starts the thread that writes.
    ///
    /// # Errors
    /// When another process has it, or the disk does not give it.
    pub fn open(directory: &Path, limits: Limits) -> io::Result<Arc<Self>> {
        std::fs::create_dir_all(directory)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))?;
        lock.try_lock()
            .map_err(|_| io::Error::other("another relay has this directory"))?;
        let mut state = State {
            kept_bytes: kept::bytes(directory)?,
            ..State::default()
        };
        for number in list(directory, "log")? {
            let (segment, damage) = Segment::load(directory, number)?;
            state.damaged += damage.records;
            if !segment.retire()? {
                let pending = segment.pending_records().map(|index| Key {
                    segment: number,
                    index,
                });
                state.ready.extend(pending);
                state.segments.insert(number, segment);
            }
        }
        let newest = list(directory, "kept")?
            .last()
            .copied()
            .max(state.segments.keys().last().copied());
        let (waiting, arriving) = mpsc::channel(WAITING_MOST);
        let spool = Arc::new(Self {
            directory: directory.to_owned(),
            limits,
            state: Mutex::new(state),
            waiting,
            filled: Notify::new(),
            _lock: lock,
        });
        writer::start(&spool, arriving, newest.map_or(1, |newest| newest + 1))?;
        Ok(spool)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the largest delivery would be taken.
    pub fn has_room(&self) -> bool {
        let largest = Record::size(domain::webhook::BYTES_MOST);
        self.state().pending_bytes() + largest <= self.limits.pending_most
    }

    /// Takes a delivery; when this answers, it is on the disk.
    ///
    /// # Errors
    /// When there is no room, or the disk does not take it.
    pub async fn append(&self, body: Bytes) -> Result<(), SpoolError> {
        let size = Record::size(body.len());
        {
            let mut state = self.state();
            if state.pending_bytes() + size > self.limits.pending_most {
                return Err(SpoolError::Full);
            }
            state.arriving += size;
        }
        let record = Record {
            id: Uuid::now_v7(),
            received_at: Timestamp::now(),
            body,
        };
        let (answer, answered) = oneshot::channel();
        if self.waiting.try_send(Waiting { record, answer }).is_err() {
            self.state().arriving -= size;
            return Err(SpoolError::Full);
        }
        let gone = |_| Err(SpoolError::Disk("the writer has ended".to_owned()));
        answered.await.unwrap_or_else(gone)
    }

    /// Takes the next record that waits to be forwarded.
    pub fn take(&self) -> Option<Key> {
        self.state().ready.pop_front()
    }

    /// Waits until there may be something to take.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Reads a record that was taken. `None` if it is damaged: then it is counted, and waits no more.
    ///
    /// # Errors
    /// What the disk says.
    pub fn read(&self, key: Key) -> io::Result<Option<Record>> {
        let reader = self
            .state()
            .segments
            .get(&key.segment)
            .and_then(|segment| segment.reader(key.index));
        let found = reader.map(|reader| reader.read()).transpose()?.flatten();
        if found.is_none() {
            self.state().damaged += 1;
            self.sent(key)?;
        }
        Ok(found)
    }

    /// Lets a record that was taken wait again, before all others.
    pub fn give_back(&self, key: Key) {
        self.state().ready.push_front(key);
        self.filled.notify_one();
    }

    /// Notes that a record was forwarded.
    ///
    /// # Errors
    /// When the disk does not take the note; then it is forwarded again after a restart.
    pub fn sent(&self, key: Key) -> io::Result<()> {
        let mut state = self.state();
        let Some(segment) = state.segments.get_mut(&key.segment) else {
            return Ok(());
        };
        segment.sent(key.index)?;
        self.retire(&mut state, key.segment)
    }

    fn retire(&self, state: &mut State, number: u64) -> io::Result<()> {
        let Some(segment) = state.segments.get(&number) else {
            return Ok(());
        };
        if segment.retire()? {
            state.kept_bytes += segment.size();
            state.segments.remove(&number);
        }
        Ok(())
    }

    /// Removes what was kept long enough, or beyond its bound, the oldest first.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sweep(&self) -> io::Result<()> {
        let left = kept::sweep(&self.directory, self.limits, std::time::SystemTime::now())?;
        self.state().kept_bytes = left;
        Ok(())
    }

    /// Tells how the log fares.
    pub fn stats(&self) -> Stats {
        let state = self.state();
        Stats {
            pending: state.segments.values().map(Segment::pending).sum(),
            pending_bytes: state.pending_bytes(),
            oldest: state.segments.values().find_map(Segment::oldest_pending),
            kept_bytes: state.kept_bytes,
            damaged: state.damaged,
        }
    }
}
