//! Watches the threads on which actors run. A handler that blocks its arbiter stops all actors there, and keeps the broker
//! from noticing: so a thread that is silent for long makes the process not ready, and at last ends it, so that another
//! node takes its partitions over.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use actix_rt::ArbiterHandle;
use tokio::runtime::Handle;

use crate::limits::{HEARTBEAT_EVERY, SILENT_ENDS_PROCESS};

/// How long the most silent thread has been silent, in looks. Clones look at the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Silence(Arc<AtomicU32>);

impl Silence {
    /// Gives how long nothing was heard of the most silent thread.
    pub(crate) fn lasts(&self) -> Duration {
        HEARTBEAT_EVERY * self.0.load(Ordering::Relaxed)
    }
}

/// Watches until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Watchdog(Arc<Over>);

/// Whether the watch is over, and how the watching thread is told.
#[derive(Debug, Default)]
struct Over {
    is_over: Mutex<bool>,
    told: Condvar,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.0.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.told.notify_all();
    }
}

impl Over {
    /// Waits for a heartbeat's time; tells whether the watch is over.
    fn wait(&self) -> bool {
        let guard = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .told
            .wait_timeout_while(guard, HEARTBEAT_EVERY, |is_over| !*is_over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Watchdog {
    /// Lets each arbiter and the shared runtime beat, and watches from a thread that needs none of them.
    pub(crate) fn start(
        arbiters: &[ArbiterHandle],
        runtime: &Handle,
        silence: &Silence,
    ) -> std::io::Result<Self> {
        let mut beats: Vec<Arc<AtomicU64>> = Vec::new();
        for arbiter in arbiters {
            let beat = Arc::<AtomicU64>::default();
            arbiter.spawn(keep_beating(beat.clone()));
            beats.push(beat);
        }
        let beat = Arc::<AtomicU64>::default();
        drop(runtime.spawn(keep_beating(beat.clone())));
        beats.push(beat);
        let watchdog = Self::default();
        let (over, silence) = (watchdog.0.clone(), silence.clone());
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&beats, &over, &silence))?;
        Ok(watchdog)
    }
}

async fn keep_beating(beat: Arc<AtomicU64>) {
    loop {
        beat.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(HEARTBEAT_EVERY).await;
    }
}

fn watch(beats: &[Arc<AtomicU64>], over: &Over, silence: &Silence) {
    let mut listener = Listener::default();
    while !over.wait() {
        let heard: Vec<_> = beats.iter().map(|beat| beat.load(Ordering::Relaxed)).collect();
        let looks = listener.hear(&heard);
        silence.0.store(looks, Ordering::Relaxed);
        if silence.lasts() > SILENT_ENDS_PROCESS {
            tracing::error!(silent_for = ?silence.lasts(), "a thread of actors is blocked: ending the process");
            std::process::abort();
        }
    }
}

/// Counts looks without news, not time: a process that was frozen as a whole looked once, however long that was.
#[derive(Debug, Default)]
struct Listener {
    heard: Vec<u64>,
    silent: Vec<u32>,
}

impl Listener {
    /// Takes what is heard of each thread and gives for how many looks the most silent one has said nothing new.
    fn hear(&mut self, heard: &[u64]) -> u32 {
        self.silent.resize(heard.len(), 0);
        self.heard.resize(heard.len(), 0);
        for ((silent, last), now) in self.silent.iter_mut().zip(&self.heard).zip(heard) {
            *silent = if last == now { silent.saturating_add(1) } else { 0 };
        }
        self.heard.copy_from_slice(heard);
        self.silent.iter().copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_silent_thread_counts_until_it_speaks_again() {
        let mut listener = Listener::default();
        assert_eq!(listener.hear(&[1, 1]), 0);
        assert_eq!(listener.hear(&[2, 1]), 1);
        assert_eq!(listener.hear(&[3, 1]), 2);
        assert_eq!(listener.hear(&[3, 1]), 3);
        assert_eq!(listener.hear(&[3, 2]), 2);
        assert_eq!(listener.hear(&[4, 3]), 0);
    }

    /// Waits for something for less time than the arbiter is blocked.
    async fn until(holds: impl Fn() -> bool) {
        let waits = async {
            while !holds() {
                tokio::time::sleep(HEARTBEAT_EVERY / 10).await;
            }
        };
        let waited = tokio::time::timeout(HEARTBEAT_EVERY * 10, waits).await;
        assert!(waited.is_ok(), "it is not so after ten heartbeats");
    }

    #[test]
    fn a_blocked_arbiter_is_noticed_and_a_free_one_is_not() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .expect("a runtime");
        let runtime = Arc::new(runtime);
        let shared = runtime.clone();
        actix_rt::System::with_tokio_rt(move || shared).block_on(async {
            let for_arbiter = runtime.clone();
            let arbiter = actix_rt::Arbiter::with_tokio_rt(move || for_arbiter);
            let silence = Silence::default();
            let _watchdog =
                Watchdog::start(&[arbiter.handle()], runtime.handle(), &silence).expect("a thread");
            tokio::time::sleep(HEARTBEAT_EVERY * 3).await;
            until(|| silence.lasts() <= HEARTBEAT_EVERY).await;
            let (free, blocked) = std::sync::mpsc::channel::<()>();
            arbiter.spawn(async move {
                let _ = blocked.recv_timeout(HEARTBEAT_EVERY * 20);
            });
            until(|| silence.lasts() >= HEARTBEAT_EVERY * 2).await;
            drop(free);
            arbiter.stop();
        });
    }
}
