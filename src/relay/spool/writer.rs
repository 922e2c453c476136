//! The thread that writes: while one sync is under way, the next deliveries gather.

use std::io::{self, Write as _};
use std::sync::{Arc, Weak};

use tokio::sync::{mpsc, oneshot};

use super::record::Record;
use super::segment::Segment;
use super::{Key, Spool, SpoolError};

/// Bytes after which a new segment is begun.
pub(super) const SEGMENT_MOST: u64 = 64 * 1024 * 1024;
/// Deliveries of one sync.
const ROUND_MOST: usize = 512;

/// A delivery that waits to be on the disk.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) record: Record,
    pub(super) answer: oneshot::Sender<Result<(), SpoolError>>,
}

/// Starts the thread. It ends when the spool does.
pub(super) fn start(spool: &Arc<Spool>, arriving: mpsc::Receiver<Waiting>, number: u64) -> io::Result<()> {
    let writer = Writer {
        spool: Arc::downgrade(spool),
        next: number,
        present: None,
    };
    std::thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || writer.run(arriving))?;
    Ok(())
}

struct Writer {
    spool: Weak<Spool>,
    /// The number of the next segment.
    next: u64,
    /// The segment that is being written.
    present: Option<u64>,
}

impl Writer {
    fn run(mut self, mut arriving: mpsc::Receiver<Waiting>) {
        let mut gathered = Vec::new();
        while arriving.blocking_recv_many(&mut gathered, ROUND_MOST) > 0 {
            let Some(spool) = self.spool.upgrade() else {
                return;
            };
            let (records, answers): (Vec<Record>, Vec<_>) = gathered
                .drain(..)
                .map(|waiting| (waiting.record, waiting.answer))
                .unzip();
            let written = self.write(&spool, &records);
            let sizes = records.iter().map(|record| Record::size(record.body.len()));
            spool.state().arriving -= sizes.sum::<u64>();
            if let Err(error) = &written {
                tracing::error!(%error, "deliveries could not be written; Meta is told to come again");
                self.leave(&spool);
            }
            let written = written.map_err(|error| SpoolError::Disk(error.to_string()));
            for answer in answers {
                // Meta may have hung up; it will come again.
                let _ = answer.send(written.clone());
            }
            spool.filled.notify_one();
        }
    }

    fn write(&mut self, spool: &Spool, records: &[Record]) -> io::Result<()> {
        let number = self.segment(spool)?;
        let log = spool.state().segments.get(&number).map(Segment::log);
        let mut log = &*log.ok_or_else(|| io::Error::other("the segment is gone"))?;
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.write(&mut bytes));
        log.write_all(&bytes)?;
        log.sync_data()?;
        let mut state = spool.state();
        if let Some(segment) = state.segments.get_mut(&number) {
            let new = segment.written(records);
            let is_full = segment.size() >= SEGMENT_MOST;
            state.ready.extend(new.map(|index| Key {
                segment: number,
                index,
            }));
            drop(state);
            if is_full {
                self.leave(spool);
            }
        }
        Ok(())
    }

    fn segment(&mut self, spool: &Spool) -> io::Result<u64> {
        if let Some(number) = self.present {
            return Ok(number);
        }
        let number = self.next;
        self.next += 1;
        let segment = Segment::create(&spool.directory, number)?;
        spool.state().segments.insert(number, segment);
        self.present = Some(number);
        Ok(number)
    }

    /// Ends the segment: it is full, or nobody knows what of the last write is in it.
    fn leave(&mut self, spool: &Spool) {
        let Some(number) = self.present.take() else {
            return;
        };
        let mut state = spool.state();
        if let Some(segment) = state.segments.get_mut(&number) {
            segment.close();
        }
        if let Err(error) = spool.retire(&mut state, number) {
            tracing::warn!(%error, "a segment could not be put aside");
        }
    }
}
