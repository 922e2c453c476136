//! Whether Meta is there: one breaker for all tenants of the node.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::breaker::{Breaker, Sign};

use crate::clock::Clock;
use crate::delays::jitter;
use crate::sending_metrics::SendingMetrics;

/// How long those wait at least who find the breaker open or its probes taken.
const WAIT_LEAST: Duration = Duration::from_millis(200);

/// Meta's health as this node sees it.
#[derive(Debug)]
pub(crate) struct Health {
    breaker: Mutex<Breaker>,
    clock: Clock,
    metrics: SendingMetrics,
}

impl Health {
    /// Starts with a Meta that is well.
    pub(crate) fn new(clock: Clock, metrics: SendingMetrics) -> Self {
        Self {
            breaker: Mutex::new(Breaker::new(clock.nanoseconds())),
            clock,
            metrics,
        }
    }

    /// Gives how many of the wanted calls may go out now.
    pub(crate) fn let_out(&self, wanted: usize) -> usize {
        let mut breaker = self.breaker();
        let out = breaker.let_out(
            self.clock.nanoseconds(),
            u64::try_from(wanted).unwrap_or(u64::MAX),
        );
        self.metrics.breaker_now(breaker.phase());
        usize::try_from(out).unwrap_or(wanted).min(wanted)
    }

    /// Takes back calls that will not go out.
    pub(crate) fn give_back(&self, calls: usize) {
        if calls > 0 {
            self.breaker().give_back(u64::try_from(calls).unwrap_or(u64::MAX));
        }
    }

    /// Records what the outcome of a call says of Meta.
    pub(crate) fn record(&self, sign: Sign) {
        let mut breaker = self.breaker();
        let opened = breaker.record(self.clock.nanoseconds(), sign, jitter());
        self.metrics.breaker_now(breaker.phase());
        if opened {
            self.metrics.breaker_opened();
            tracing::error!("Meta does not answer as it should: all tenants wait");
        }
    }

    /// Tells how long to leave Meta alone, while it is down.
    pub(crate) fn outage(&self) -> Option<Duration> {
        let wait = self.breaker().wait(self.clock.nanoseconds());
        wait.map(|wait| Duration::from_nanos(wait).max(WAIT_LEAST))
    }

    /// Tells whether nobody may send now, not even to find out.
    pub(crate) fn is_shut(&self) -> bool {
        self.breaker()
            .wait(self.clock.nanoseconds())
            .is_some_and(|wait| wait > 0)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
