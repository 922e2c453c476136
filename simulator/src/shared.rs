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
    /// Until when it is to be down, by its own clock, for as long as its port is closed; `None` when it is up.
    down_until_ms: watch::Sender<Option<u64>>,
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
            down_until_ms: watch::Sender::new(None),
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

    /// Goes down for a while from now, or ends the outage there is if that is no time.
    pub(crate) fn down_for(&self, time: Duration) {
        let until_ms = self.now_ms() + time.as_millis() as u64;
        self.down_until_ms.send_if_modified(|down| {
            let changes = !time.is_zero() || down.is_some();
            if changes {
                *down = Some(until_ms);
            }
            changes
        });
    }

    /// Whether it is down now: until its port is open again, not only until it may be.
    pub(crate) fn is_down(&self) -> bool {
        self.down_until_ms.borrow().is_some()
    }

    /// Resolves as soon as it is down.
    pub(crate) async fn goes_down(&self) {
        // The sender lives as long as this value, so the wait ends only with what was waited for.
        let _ = self.down_until_ms.subscribe().wait_for(Option::is_some).await;
    }

    /// Resolves as soon as the outage is over, which is when the port may open.
    pub(crate) async fn outage_ends(&self) {
        let mut changes = self.down_until_ms.subscribe();
        loop {
            let until_ms = changes.borrow_and_update().unwrap_or(0);
            let left_ms = until_ms.saturating_sub(self.now_ms());
            if left_ms == 0 {
                return;
            }
            // Whichever comes first: the end of the outage, or another end for it.
            let _ = tokio::time::timeout(Duration::from_millis(left_ms), changes.changed()).await;
        }
    }

    /// Says that the port is open, unless it is to be closed again already.
    pub(crate) fn opened(&self) {
        let now_ms = self.now_ms();
        self.down_until_ms.send_if_modified(|down| {
            let over = down.is_some_and(|until_ms| until_ms <= now_ms);
            if over {
                *down = None;
            }
            over
        });
    }

    /// Resolves as soon as it is up.
    pub(crate) async fn comes_up(&self) {
        // As above: nothing but the change ends the wait.
        let _ = self.down_until_ms.subscribe().wait_for(Option::is_none).await;
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
