//! The log, torn apart and put together again.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use super::segment::path;
use super::*;

/// A directory of a test's own, removed when it passes.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("malote_spool_{}", Uuid::now_v7().simple()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> Arc<Spool> {
        self.open_with(LIMITS)
    }

    fn open_with(&self, limits: Limits) -> Arc<Spool> {
        let end = std::time::Instant::now() + Duration::from_secs(5);
        loop {
            // The thread of the spool before may still be at its end, and have the lock.
            match Spool::open(&self.0, limits) {
                Ok(spool) => return spool,
                Err(error) if std::time::Instant::now() > end => panic!("{error}"),
                Err(_) => std::thread::yield_now(),
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

const LIMITS: Limits = Limits {
    pending_most: 16 * 1024 * 1024,
    kept_most: 16 * 1024 * 1024,
    kept_for: Duration::from_secs(3_600),
};

async fn fill(spool: &Spool, bodies: std::ops::Range<u32>) {
    let appended = bodies.map(|number| spool.append(Bytes::from(number.to_string())));
    for answer in futures_util::future::join_all(appended).await {
        answer.unwrap();
    }
}

/// Takes and forwards everything; gives what it was, as numbers.
fn drain(spool: &Spool) -> Vec<u32> {
    let mut found = Vec::new();
    while let Some(key) = spool.take() {
        let record = spool.read(key).unwrap();
        found.extend(record.map(|record| String::from_utf8_lossy(&record.body).parse::<u32>().unwrap()));
        spool.sent(key).unwrap();
    }
    found.sort_unstable();
    found
}

fn all(numbers: std::ops::Range<u32>) -> Vec<u32> {
    numbers.collect()
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let directory = Directory::new();
    let spool = directory.open();
    fill(&spool, 0..1_000).await;
    assert_eq!(spool.stats().pending, 1_000);
    assert!(spool.stats().oldest.is_some());
    drop(spool);
    let spool = directory.open();
    assert_eq!(spool.stats().pending, 1_000);
    assert_eq!(drain(&spool), all(0..1_000));
    assert_eq!(spool.stats().pending, 0);
    assert_eq!(spool.stats().pending_bytes, 0);
    assert!(spool.take().is_none());
}

#[tokio::test]
async fn what_was_forwarded_is_not_forwarded_again() {
    let directory = Directory::new();
    let spool = directory.open();
    fill(&spool, 0..10).await;
    let forwarded: Vec<Key> = (0..4).map(|_| spool.take().unwrap()).collect();
    forwarded.iter().for_each(|key| spool.sent(*key).unwrap());
    spool.sent(forwarded[0]).unwrap(); // Twice is once.
    let under_way = spool.take().unwrap();
    drop(spool);
    let spool = directory.open();
    assert_eq!(spool.stats().pending, 6);
    let next = spool.take().unwrap();
    assert_eq!(next, under_way, "what was under way is made again");
    spool.give_back(next);
    assert_eq!(drain(&spool).len(), 6);
    drop(spool);
    let spool = directory.open();
    assert_eq!(spool.stats().pending, 0);
    assert!(spool.stats().kept_bytes > 0);
}

#[tokio::test]
async fn a_torn_end_is_cut_off_and_the_log_goes_on() {
    let directory = Directory::new();
    let spool = directory.open();
    fill(&spool, 0..3).await;
    drop(spool);
    let file = path(&directory.0, 1, "log");
    let whole = std::fs::read(&file).unwrap();
    for cut in 1..40 {
        std::fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let spool = directory.open();
        assert_eq!((spool.stats().pending, spool.stats().damaged), (2, 0), "{cut}");
        drop(spool);
    }
    let spool = directory.open();
    fill(&spool, 3..5).await;
    assert_eq!(drain(&spool), [0, 1, 3, 4]);
}

#[tokio::test]
async fn a_damaged_record_is_counted_and_costs_no_other() {
    let directory = Directory::new();
    let spool = directory.open();
    fill(&spool, 10..13).await;
    drop(spool);
    let file = path(&directory.0, 1, "log");
    let mut bytes = std::fs::read(&file).unwrap();
    let one = bytes.len() / 3;
    bytes[one + 40] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let spool = directory.open();
    assert_eq!((spool.stats().pending, spool.stats().damaged), (2, 1));
    assert_eq!(drain(&spool).len(), 2);
}

#[tokio::test]
async fn a_record_that_is_damaged_while_it_waits_is_counted_and_put_aside() {
    let directory = Directory::new();
    let spool = directory.open();
    fill(&spool, 0..2).await;
    let file = path(&directory.0, 1, "log");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[33] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(drain(&spool).len(), 1);
    assert_eq!((spool.stats().pending, spool.stats().damaged), (0, 1));
}

#[tokio::test]
async fn a_full_log_takes_no_more_until_something_is_forwarded() {
    let directory = Directory::new();
    let spool = directory.open_with(Limits {
        pending_most: 4 * Record::size(1_000),
        ..LIMITS
    });
    let body = || Bytes::from(vec![b'7'; 1_000]);
    for _ in 0..4 {
        spool.append(body()).await.unwrap();
    }
    assert_eq!(spool.append(body()).await, Err(SpoolError::Full));
    assert!(!spool.has_room());
    let key = spool.take().unwrap();
    spool.sent(key).unwrap();
    assert_eq!(spool.append(body()).await, Ok(()));
}

#[tokio::test]
async fn two_relays_cannot_have_the_same_log() {
    let directory = Directory::new();
    let _spool = directory.open();
    let second = Spool::open(&directory.0, LIMITS).unwrap_err();
    assert!(second.to_string().contains("another relay"), "{second}");
}

#[tokio::test]
async fn what_was_forwarded_can_be_read_again_until_it_is_swept() {
    let directory = Directory::new();
    // Records tell their time in whole milliseconds.
    let before = Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap();
    let spool = directory.open();
    fill(&spool, 0..5).await;
    drain(&spool);
    drop(spool);
    let spool = directory.open(); // Puts the segment aside.
    fill(&spool, 5..7).await;
    let read = |since: Timestamp| {
        let mut found = 0;
        read_since(&directory.0, since, |_| {
            found += 1;
            Ok(())
        })
        .unwrap();
        found
    };
    assert_eq!(read(before), 7);
    assert_eq!(read(Timestamp::now() + jiff::SignedDuration::from_secs(1)), 0);
    let stopped = read_since(&directory.0, before, |_| Err(io::Error::other("enough")));
    assert!(stopped.is_err());
    spool.sweep().unwrap();
    assert!(spool.stats().kept_bytes > 0, "it is young and there is room");
    let later = SystemTime::now() + Duration::from_secs(3_601);
    assert_eq!(kept::sweep(&directory.0, LIMITS, later).unwrap(), 0);
    assert_eq!(
        read(before - jiff::SignedDuration::from_secs(1)),
        2,
        "what waits is never swept"
    );
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
    let directory = Directory::new();
    for round in 0..3 {
        let spool = directory.open();
        fill(&spool, round * 10..round * 10 + 10).await;
        drain(&spool);
    }
    drop(directory.open());
    let kept = list(&directory.0, "kept").unwrap();
    assert_eq!(kept.len(), 3, "{kept:?}");
    let one = std::fs::metadata(path(&directory.0, kept[2], "kept"))
        .unwrap()
        .len();
    let limits = Limits {
        kept_most: one,
        ..LIMITS
    };
    assert_eq!(kept::sweep(&directory.0, limits, SystemTime::now()).unwrap(), one);
    assert_eq!(list(&directory.0, "kept").unwrap(), [kept[2]]);
}

#[tokio::test]
async fn a_full_segment_is_followed_by_another() {
    let directory = Directory::new();
    let spool = directory.open_with(Limits {
        pending_most: 200 * 1024 * 1024,
        ..LIMITS
    });
    let large = Bytes::from(vec![b' '; 3_000_000]);
    for _ in 0..25 {
        spool.append(large.clone()).await.unwrap();
    }
    assert_eq!(list(&directory.0, "log").unwrap(), [1, 2]);
    for _ in 0..25 {
        let key = spool.take().unwrap();
        assert_eq!(spool.read(key).unwrap().unwrap().body, large);
        spool.sent(key).unwrap();
    }
    assert_eq!(list(&directory.0, "kept").unwrap(), [1]);
    assert!(spool.stats().kept_bytes > writer::SEGMENT_MOST);
}

#[tokio::test]
async fn a_disk_that_refuses_is_no_answer_of_200() {
    let directory = Directory::new();
    let spool = directory.open();
    // What the next segment would be called is taken.
    std::fs::File::create(path(&directory.0, 1, "log"))
        .unwrap()
        .write_all(b"x")
        .unwrap();
    let refused = spool.append(Bytes::from_static(b"1")).await;
    assert!(matches!(refused, Err(SpoolError::Disk(_))), "{refused:?}");
    assert_eq!(spool.stats().pending_bytes, 0);
    fill(&spool, 2..3).await; // The one after it is free.
    assert_eq!(drain(&spool), [2]);
}
