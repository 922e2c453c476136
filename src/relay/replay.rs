//! `malote relay replay`: posts again what was received since a time, for a core that was restored from a backup.

use std::path::Path;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::hop::{Failed, Forwarded, Hop};
use super::spool::{Record, read_since};
use crate::config::Config;

/// Records that are read ahead.
const AHEAD: usize = 16;
/// Attempts of one delivery while the core is away.
const ATTEMPTS_MOST: u32 = 5;
/// The wait between them.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Deliveries of which the core had not everything.
    pub stored: u64,
    /// Deliveries that the core had.
    pub duplicate: u64,
    /// Deliveries that the core refused.
    pub refused: u64,
}

/// Posts again what was received since then. Only reads the log: it may run beside the relay.
///
/// # Errors
/// When the settings or the disk do not allow it, or the core is away.
pub async fn replay(config: &Config, since: Timestamp) -> anyhow::Result<Replayed> {
    let hop = super::hop(config)?;
    let directory = Path::new(&config.relay.directory).to_owned();
    let (records, mut arriving) = mpsc::channel::<Record>(AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        let gone = |_| std::io::Error::other("the replay was given up");
        read_since(&directory, since, |record| {
            records.blocking_send(record).map_err(gone)
        })
    });
    let mut replayed = Replayed::default();
    while let Some(record) = arriving.recv().await {
        match post(&hop, &record).await {
            Ok(Forwarded::Stored) => replayed.stored += 1,
            Ok(Forwarded::Duplicate) => replayed.duplicate += 1,
            Err(failed @ Failed::Refused(_)) => {
                tracing::error!(%failed, webhook.id = %record.id.simple(), "it stays in the log");
                replayed.refused += 1;
            }
            Err(failed) => anyhow::bail!("{failed}; {replayed:?} until then; replaying again is safe"),
        }
    }
    reading.await??;
    Ok(replayed)
}

async fn post(hop: &Hop, record: &Record) -> Result<Forwarded, Failed> {
    let mut attempts = 1;
    loop {
        match hop.attempt(record).await {
            Err(Failed::Away(_)) if attempts < ATTEMPTS_MOST => {
                attempts += 1;
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            answered => return answered,
        }
    }
}
