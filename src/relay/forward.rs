//! Forwarding: each delivery until the core has it, signed anew in each attempt. A core that is away is asked by one attempt at a time,
//! less and less often; one delivery that it refuses holds up no other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hop::{Failed, Forwarded, Hop};
use super::metrics::Metrics;
use super::spool::{Key, Spool};

/// The wait after the first attempt that found the core away; it doubles.
const AWAY_FIRST: Duration = Duration::from_millis(100);
/// The longest wait while the core is away.
const AWAY_LONGEST: Duration = Duration::from_secs(10);
/// The wait before a delivery that the core refused is tried again.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How an attempt of the forwarder ended; `None` for a record that is damaged.
type Ended = (Key, Option<Result<Forwarded, Failed>>);

/// Forwards what the log holds.
pub(super) struct Forwarder {
    spool: Arc<Spool>,
    hop: Hop,
    metrics: Metrics,
    most_at_once: usize,
    /// How many attempts may be under way now: one while the core is away.
    at_once: usize,
    /// Attempts in a row that found the core away.
    in_vain: u32,
    not_before: Instant,
    refused: BinaryHeap<Reverse<(Instant, Key)>>,
}

impl Forwarder {
    pub(super) fn new(spool: Arc<Spool>, hop: Hop, metrics: Metrics, most_at_once: usize) -> Self {
        Self {
            spool,
            hop,
            metrics,
            most_at_once,
            at_once: 1,
            in_vain: 0,
            not_before: Instant::now(),
            refused: BinaryHeap::new(),
        }
    }

    /// Forwards until `stop`; then waits for the attempts under way, for `drain` at most.
    pub(super) async fn run(mut self, stop: CancellationToken, drain: Duration) {
        let mut attempts = JoinSet::new();
        while !stop.is_cancelled() {
            let may_start = Instant::now() >= self.not_before;
            while may_start && attempts.len() < self.at_once {
                let Some(key) = self.next() else { break };
                attempts.spawn(attempt(self.hop.clone(), Arc::clone(&self.spool), key));
            }
            let wake_at = self.wake_at(Instant::now());
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = attempts.join_next() => self.note(ended),
                () = self.spool.filled(), if may_start && attempts.len() < self.at_once => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
        let finishing = async {
            while let Some(ended) = attempts.join_next().await {
                self.note(ended);
            }
        };
        if tokio::time::timeout(drain, finishing).await.is_err() {
            tracing::warn!(?drain, "attempts were still under way and will be made again");
        }
    }

    /// The next delivery: one that was refused and is due again, or the oldest.
    fn next(&mut self) -> Option<Key> {
        let is_due = |Reverse((due, _)): &Reverse<(Instant, Key)>| *due <= Instant::now();
        if self.refused.peek().is_some_and(is_due) {
            return self.refused.pop().map(|Reverse((_, key))| key);
        }
        self.spool.take()
    }

    fn wake_at(&self, now: Instant) -> Instant {
        let due = self.refused.peek().map(|Reverse((due, _))| *due);
        let waits = now < self.not_before;
        let idle = now + REFUSED_AGAIN_AFTER;
        if waits {
            self.not_before
        } else {
            due.map_or(idle, |due| due.max(now + AWAY_FIRST))
        }
    }

    fn note(&mut self, ended: Result<std::io::Result<Ended>, tokio::task::JoinError>) {
        let (key, outcome) = match ended {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => {
                tracing::error!(%error, "the log cannot be read");
                return;
            }
            Err(error) => {
                tracing::error!(%error, "an attempt failed for a fault of ours");
                return;
            }
        };
        match outcome {
            None => tracing::error!("a delivery on the disk is damaged and lost; `malote relay` counts it"),
            Some(Ok(forwarded)) => {
                self.metrics.count_forwarded(forwarded);
                (self.in_vain, self.at_once) = (0, (self.at_once * 2).min(self.most_at_once));
                self.not_before = Instant::now();
                if let Err(error) = self.spool.sent(key) {
                    tracing::warn!(%error, "a delivery that was forwarded may be forwarded again");
                }
            }
            Some(Err(failed)) => self.note_failed(key, &failed),
        }
    }

    fn note_failed(&mut self, key: Key, failed: &Failed) {
        self.metrics.count_failed(failed);
        if failed.concerns_all() {
            self.spool.give_back(key);
            self.at_once = 1;
            // Those that were under way together count as one.
            if Instant::now() >= self.not_before {
                self.wait_longer(failed);
            }
        } else {
            tracing::error!(%failed, "it is kept and tried again in a minute");
            self.refused
                .push(Reverse((Instant::now() + REFUSED_AGAIN_AFTER, key)));
        }
    }
}

impl Forwarder {
    fn wait_longer(&mut self, failed: &Failed) {
        if self.in_vain == 0 {
            tracing::warn!(%failed, "deliveries wait on this disk");
        }
        let wait = AWAY_FIRST
            .saturating_mul(1 << self.in_vain.min(10))
            .min(AWAY_LONGEST);
        self.in_vain = self.in_vain.saturating_add(1);
        self.not_before = Instant::now() + wait.mul_f64(rand::random_range(0.5..1.0));
    }
}

async fn attempt(hop: Hop, spool: Arc<Spool>, key: Key) -> std::io::Result<Ended> {
    let at_work = Arc::clone(&spool);
    let read = tokio::task::spawn_blocking(move || at_work.read(key)).await;
    match read.map_err(std::io::Error::other)? {
        Ok(Some(record)) => Ok((key, Some(hop.attempt(&record).await))),
        Ok(None) => Ok((key, None)),
        Err(error) => {
            let failed = Failed::Refused(format!("the disk: {error}"));
            Ok((key, Some(Err(failed))))
        }
    }
}
