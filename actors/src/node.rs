//! The root of the tree: arbiters, the tenants on them, and an end within a time.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::Arbiter;
use domain::refusal_streak::FORGIVEN_FOR;
use domain::retry::FIRST_DELAY;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::unbounded_channel;

use crate::clock::Clock;
use crate::health::Health;
use crate::limits::RECOVERIES_MOST;
use crate::metrics::Metrics;
use crate::ports::{Ledger, LimiterStore, Messages, Meta, Quarantine};
use crate::tenant::Shared;
use crate::tenants::Tenants;
use crate::watchdog::{Silence, Watchdog};

/// The world as actors know it.
#[derive(Clone)]
pub struct Ports {
    /// Tenants' ledgers.
    pub ledger: Arc<dyn Ledger>,
    /// Tenants' message rows.
    pub messages: Arc<dyn Messages>,
    /// Meta.
    pub meta: Arc<dyn Meta>,
    /// Where limiters keep their state.
    pub limiter: Arc<dyn LimiterStore>,
    /// Where quarantines are kept.
    pub quarantine: Arc<dyn Quarantine>,
}

/// What an installation may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a claimed message may wait for its call; then it becomes `unknown`.
    pub claim_deadline: Duration,
    /// The wait before the second attempt.
    pub retry_first_delay: Duration,
    /// How long refusals in a row, for which Meta is to blame, use up no attempt.
    pub refusals_forgiven_for: Duration,
    /// How long a tenant without work keeps its actors.
    pub passivate_after: Duration,
    /// Threads for actors; none runs them on the caller's arbiter.
    pub arbiters: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            claim_deadline: Duration::from_secs(30),
            retry_first_delay: FIRST_DELAY,
            refusals_forgiven_for: FORGIVEN_FOR,
            passivate_after: Duration::from_secs(600),
            arbiters: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Attempts whose outcome was not stored in time; they become `unknown` at their deadline.
    pub in_flight_left: usize,
}

/// The root of the supervision tree.
pub struct Node {
    tenants: Tenants,
    arbiters: Vec<Arbiter>,
    watchdog: Option<Watchdog>,
}

impl Node {
    /// Starts the arbiters. Must be called inside a running actix System whose runtime is the shared one.
    pub fn start(ports: Ports, settings: Settings, runtime: Arc<Runtime>, metrics: Metrics) -> Self {
        let arbiters: Vec<_> = (0..settings.arbiters)
            .map(|_| {
                let runtime = runtime.clone();
                Arbiter::with_tokio_rt(move || runtime)
            })
            .collect();
        let mut handles: Vec<_> = arbiters.iter().map(Arbiter::handle).collect();
        let silence = Silence::default();
        let watchdog = (!handles.is_empty())
            .then(|| Watchdog::start(&handles, runtime.handle(), &silence))
            .transpose()
            .inspect_err(|error| tracing::error!(%error, "nobody watches the actors' threads"))
            .unwrap_or_default();
        if handles.is_empty() {
            handles.push(Arbiter::current());
        }
        let (notices, noticed) = unbounded_channel();
        let clock = Clock::start();
        let health = Health::new(clock, metrics.sending().clone());
        let shared = Arc::new(Shared {
            ports,
            settings,
            metrics,
            runtime: runtime.handle().clone(),
            recoveries: Arc::new(Semaphore::new(RECOVERIES_MOST)),
            clock,
            health: Arc::new(health),
            notices,
            silence,
            #[cfg(feature = "fault-injection")]
            faults: crate::faults::Faults::default(),
        });
        let tenants = Tenants::new(shared, handles);
        drop(runtime.spawn(tenants.attend(noticed)));
        Self {
            tenants,
            arbiters,
            watchdog,
        }
    }

    /// Gives the handle to this node's tenants.
    pub fn tenants(&self) -> Tenants {
        self.tenants.clone()
    }

    /// Lets nothing in any more, waits for what is in flight and stops all actors.
    pub async fn shutdown(self, within: Duration) -> Drained {
        let in_flight_left = self.tenants.stop(within).await;
        // Whoever is stopped is silent.
        drop(self.watchdog);
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        Drained { in_flight_left }
    }
}
