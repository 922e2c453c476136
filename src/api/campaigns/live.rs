//! Live progress: one query a second reads all campaigns that somebody watches, whatever their number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use domain::campaign::CampaignState;
use domain::ids::CampaignId;
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::storage::campaigns::{self, Campaign, Progress};
use crate::storage::{Database, StorageError};

/// How often progress is read.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How many campaigns one process watches at once.
const MOST_CAMPAIGNS: usize = 10_000;

type Watched = Mutex<HashMap<CampaignId, watch::Sender<Progress>>>;

/// The campaigns that this process's viewers watch. Clones share them; when the last is dropped, reading ends.
#[derive(Clone)]
pub struct LiveProgress {
    watched: Arc<Watched>,
}

impl LiveProgress {
    /// Starts reading. `database` is `app_system`'s: one query crosses tenants, whose viewers were let in one by one.
    pub fn start(database: Database) -> Self {
        let watched: Arc<Watched> = Arc::default();
        tokio::spawn(read_all(database, Arc::downgrade(&watched)));
        Self { watched }
    }

    /// Watches a campaign that was just read; its owner was checked with it. Gives what is known now, each change, and
    /// an end when the campaign is over. None when too many are watched already.
    pub fn watch(&self, campaign: &Campaign) -> Option<impl Stream<Item = Progress> + use<>> {
        let now = Progress {
            campaign: campaign.id,
            standing: campaign.standing,
            counts: campaign.counts,
        };
        let receiver = {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            if watched.len() >= MOST_CAMPAIGNS && !watched.contains_key(&campaign.id) {
                return None;
            }
            watched
                .entry(campaign.id)
                .or_insert_with(|| watch::Sender::new(now))
                .subscribe()
        };
        Some(changes(now, receiver))
    }
}

/// Gives the first reading, then each later one that differs, until the campaign is over.
fn changes(now: Progress, receiver: watch::Receiver<Progress>) -> impl Stream<Item = Progress> {
    let first = stream::once(async move { now });
    let later = stream::unfold((now, receiver), |(last, mut receiver)| async move {
        if is_over(&last) {
            return None;
        }
        loop {
            receiver.changed().await.ok()?;
            let next = *receiver.borrow_and_update();
            if next != last {
                return Some((next, (next, receiver)));
            }
        }
    });
    stream::StreamExt::chain(first, later)
}

/// Tells whether nothing more is to be watched: late statuses may still arrive, but nothing is left to send.
fn is_over(progress: &Progress) -> bool {
    let ended = matches!(
        progress.standing.state,
        CampaignState::Finished | CampaignState::Cancelled
    );
    ended && progress.counts.nothing_to_send()
}

async fn read_all(database: Database, watched: Weak<Watched>) {
    let mut ticks = tokio::time::interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(watched) = watched.upgrade() else { return };
        if let Err(error) = read_once(&database, &watched).await {
            tracing::warn!(%error, "the progress of watched campaigns was not read; trying again");
        }
    }
}

async fn read_once(database: &Database, watched: &Watched) -> Result<(), StorageError> {
    let campaigns: Vec<CampaignId> = {
        let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, sender| sender.receiver_count() > 0);
        watched.keys().copied().collect()
    };
    if campaigns.is_empty() {
        return Ok(());
    }
    let read = campaigns::progress(&mut database.get().await?, &campaigns).await?;
    let watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
    for progress in read {
        if let Some(sender) = watched.get(&progress.campaign) {
            sender.send_replace(progress);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::campaign::Standing;
    use domain::counts::Counts;
    use domain::message::MessageState;
    use futures_util::StreamExt as _;
    use uuid::Uuid;

    use super::*;

    fn progress(state: CampaignState, planned: i64) -> Progress {
        let mut counts = Counts::default();
        counts[MessageState::Planned] = planned;
        Progress {
            campaign: CampaignId(Uuid::nil()),
            standing: Standing { state, reason: None },
            counts,
        }
    }

    #[tokio::test]
    async fn viewers_see_changes_and_the_end() {
        let running = progress(CampaignState::Running, 2);
        let sender = watch::Sender::new(running);
        let mut seen = Box::pin(changes(running, sender.subscribe()));
        assert_eq!(seen.next().await, Some(running));
        sender.send_replace(running);
        let finished = progress(CampaignState::Finished, 0);
        sender.send_replace(finished);
        assert_eq!(seen.next().await, Some(finished));
        assert_eq!(seen.next().await, None);
    }

    #[tokio::test]
    async fn a_cancelled_campaign_is_watched_until_its_rows_moved() {
        let moving = progress(CampaignState::Cancelled, 2);
        let sender = watch::Sender::new(moving);
        let mut seen = Box::pin(changes(moving, sender.subscribe()));
        assert_eq!(seen.next().await, Some(moving));
        let moved = progress(CampaignState::Cancelled, 0);
        sender.send_replace(moved);
        assert_eq!(seen.next().await, Some(moved));
        assert_eq!(seen.next().await, None);
    }
}
