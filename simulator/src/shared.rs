//! What every connection and the dispatcher share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::config::Config;
use crate::state::State;
use crate::templates::Templates;
use crate::webhooks::Poster;

/// The simulator behind its sockets. One lock, held for moments only and never across an await.
#[derive(Debug)]
pub(crate) struct Shared {
    /// As it was started.
    pub(crate) config: Config,
    /// The templates of every account.
    pub(crate) templates: Templates,
    /// Sends webhooks.
    pub(crate) poster: Poster,
    /// Wakes the dispatcher when an earlier event came.
    pub(crate) wake: Notify,
    state: Mutex<State>,
    started: Instant,
    started_unix_ms: u64,
}

impl Shared {
    /// A simulator with nothing sent yet.
    pub(crate) fn new(config: Config, state: State) -> Arc<Self> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Arc::new(Self {
            templates: Templates::new(&config),
            poster: Poster::new(config.app_secret.clone(), config.webhook_timeout),
            wake: Notify::new(),
            state: Mutex::new(state),
            started: Instant::now(),
            started_unix_ms: since_epoch.as_millis() as u64,
            config,
        })
    }

    /// The state, for a moment.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The moment that times are counted from.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Nanoseconds since the start.
    pub(crate) fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// The wall clock's time at `ms` after the start.
    pub(crate) fn unix_ms(&self, ms: u64) -> u64 {
        self.started_unix_ms + ms
    }
}
