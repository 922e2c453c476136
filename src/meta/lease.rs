//! This node's licence to call Meta: it lapses when the node has not been heard of for a while, and what was claimed before it lapsed is
//! never sent.
//!
//! A process that was frozen, or cut off from the database, may have been replaced meanwhile. Its clock went on (Linux stops neither
//! `CLOCK_MONOTONIC` nor the timers of a process that got SIGSTOP; only a suspended machine stops both), so the first look at the lease
//! after the thaw finds it old. RabbitMQ gives a silent connection up after two heartbeats at the earliest, and the lease is shorter
//! than that: whoever is replaced has lost it before there is a successor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long a node may call Meta without having been heard of. Shorter than the time after which the broker gives a silent node up.
const LASTS: Duration = Duration::from_secs(6);

const _: () = assert!(LASTS.as_secs() < 2 * crate::broker::HEARTBEAT_SECONDS as u64);

/// The licence. Clones share it.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    /// When the node was last heard of, in milliseconds since the beginning.
    heard_ms: AtomicU64,
    /// What was claimed before this moment is void.
    void_before_ms: AtomicU64,
}

/// Why a call must not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lapsed {
    /// Nobody has heard of this node for too long: somebody else may own its tenants by now.
    #[error("this node has not been heard of for {0:?}, so it may have been replaced")]
    Silent(Duration),
    /// The message was claimed before this node was silent for too long.
    #[error("this node was silent for too long after it claimed the message")]
    Void,
}

impl Lease {
    /// Makes a lease that begins now.
    pub fn begin() -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            heard_ms: AtomicU64::new(0),
            void_before_ms: AtomicU64::new(0),
        }))
    }

    /// Renews it: the node was heard of by what it said at `said_at`. Tells for how long it had lapsed, if it had: then what was claimed
    /// before now is void. To be called after partitions that were lost are let go.
    pub fn renew(&self, said_at: Instant, now: Instant) -> Option<Duration> {
        let silent = self.silent(now);
        let lapsed = (silent >= LASTS).then_some(silent);
        if lapsed.is_some() {
            // First, so that no call sees the lease renewed and the old claims still good.
            self.0
                .void_before_ms
                .store(self.milliseconds(now), Ordering::SeqCst);
        }
        self.0
            .heard_ms
            .store(self.milliseconds(said_at), Ordering::SeqCst);
        lapsed
    }

    /// Tells whether a message that was claimed at `claimed_at` may be sent now.
    ///
    /// # Errors
    /// When the lease has lapsed, or had lapsed since the claim.
    pub fn allows(&self, claimed_at: Instant, now: Instant) -> Result<(), Lapsed> {
        let silent = self.silent(now);
        if silent >= LASTS {
            return Err(Lapsed::Silent(silent));
        }
        if self.milliseconds(claimed_at) < self.0.void_before_ms.load(Ordering::SeqCst) {
            return Err(Lapsed::Void);
        }
        Ok(())
    }

    fn silent(&self, now: Instant) -> Duration {
        let heard = Duration::from_millis(self.0.heard_ms.load(Ordering::SeqCst));
        now.saturating_duration_since(self.0.began).saturating_sub(heard)
    }

    fn milliseconds(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.0.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_node_sends_nothing_and_what_it_had_claimed_stays_void() {
        let (lease, claimed_at) = (Lease::begin(), Instant::now());
        assert_eq!(lease.allows(claimed_at, claimed_at + SECOND), Ok(()));
        let thawed_at = claimed_at + LASTS + SECOND;
        assert!(matches!(
            lease.allows(claimed_at, thawed_at),
            Err(Lapsed::Silent(_))
        ));
        assert!(lease.renew(thawed_at, thawed_at).is_some());
        assert_eq!(lease.allows(claimed_at, thawed_at), Err(Lapsed::Void));
        assert_eq!(lease.allows(thawed_at, thawed_at + SECOND), Ok(()));
    }

    #[test]
    fn a_node_that_is_heard_of_in_time_goes_on() {
        let (lease, claimed_at) = (Lease::begin(), Instant::now());
        for round in 1..10 {
            let now = claimed_at + LASTS / 2 * round;
            assert_eq!(lease.renew(now, now), None);
            assert_eq!(lease.allows(claimed_at, now), Ok(()));
        }
    }

    #[test]
    fn an_answer_that_took_long_renews_from_when_it_was_asked() {
        let (lease, said_at) = (Lease::begin(), Instant::now());
        assert_eq!(lease.renew(said_at, said_at + LASTS - SECOND), None);
        let now = said_at + LASTS + SECOND;
        assert!(matches!(lease.allows(now, now), Err(Lapsed::Silent(_))));
    }
}
