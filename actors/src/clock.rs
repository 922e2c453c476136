//! The time of this node: one steady clock, from which wall time is derived.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A steady clock that knows when it was started. Under paused time it stands still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    wall: Timestamp,
}

impl Clock {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
            wall: Timestamp::now(),
        }
    }

    /// Gives the nanoseconds since the start.
    pub(crate) fn nanoseconds(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Gives the present wall time.
    pub(crate) fn now(&self) -> Timestamp {
        self.at(self.nanoseconds())
    }

    /// Gives the wall time after a while.
    pub(crate) fn after(&self, wait: Duration) -> Timestamp {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        self.now().checked_add(wait).unwrap_or(Timestamp::MAX)
    }

    /// Gives the wall time of a moment of this clock.
    pub(crate) fn at(&self, nanoseconds: u64) -> Timestamp {
        let since = SignedDuration::from_nanos(i64::try_from(nanoseconds).unwrap_or(i64::MAX));
        self.wall.checked_add(since).unwrap_or(Timestamp::MAX)
    }

    /// Gives the moment of this clock at a wall time; the start for what was before it.
    pub(crate) fn moment_of(&self, wall: Timestamp) -> u64 {
        u64::try_from(wall.duration_since(self.wall).as_nanos()).unwrap_or(0)
    }
}
