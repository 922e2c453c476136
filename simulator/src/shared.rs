//! What every connection and the dispatcher share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};

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
    /// Until when it is down, by its own clock; 0 when it is not.
    down_until_ms: watch::Sender<u64>,
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
            down_until_ms: watch::Sender::new(0),
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

    /// Goes down for a while from now, or comes up at once if that is no time.
    pub(crate) fn down_for(&self, time: Duration) {
        let until_ms = self.now_ms() + time.as_millis() as u64;
        self.down_until_ms.send_replace(until_ms);
    }

    /// Whether it is down now.
    pub(crate) fn is_down(&self) -> bool {
        *self.down_until_ms.borrow() > self.now_ms()
    }

    /// Resolves as soon as it is down.
    pub(crate) async fn goes_down(&self) {
        let mut until_ms = self.down_until_ms.subscribe();
        // The sender lives as long as this value, so the wait ends only with what was waited for.
        let _ = until_ms.wait_for(|&until_ms| until_ms > self.now_ms()).await;
    }

    /// Resolves as soon as it is up.
    pub(crate) async fn comes_up(&self) {
        let mut changes = self.down_until_ms.subscribe();
        loop {
            let left_ms = changes.borrow_and_update().saturating_sub(self.now_ms());
            if left_ms == 0 {
                return;
            }
            // Whichever comes first: the end of the outage, or another end for it.
            let _ = tokio::time::timeout(Duration::from_millis(left_ms), changes.changed()).await;
        }
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
