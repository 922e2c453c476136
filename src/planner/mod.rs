//! The planner: moves due messages into the inboxes, a window ahead of each number's rate, and keeps campaigns turning.
//!
//! Any number of planners may run; rows are taken with `SKIP LOCKED`. Between rounds only times are remembered, and how far the walk
//! through late events has come: a planner that starts anew begins it anew.

mod bookkeeping;
mod history;
mod news;
mod shares;
mod sweep;
mod watch;

pub use bookkeeping::Bookkeeping;
pub use history::{History, Metrics as HistoryMetrics};
pub use watch::{Metrics as WaitMetrics, watch};

use std::time::{Duration, Instant};

use domain::ids::MessageId;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::broker::{EVENTS_MOST, Envelope, Note, Publisher, SENDS_MOST};
use crate::config;
use crate::storage::late_events::{self, LateEvents};
use crate::storage::planning::{self, Taken};
use crate::storage::{
    Database, StorageError, canaries, malformed, message_rows, number_holds, paces, revivals, taking, unknown,
};

use sweep::Sweep;

/// The time between two looks at what is due.
const ROUND: Duration = Duration::from_millis(50);
/// The time between two looks at what has been forgotten, has begun or has ended.
const UPKEEP: Duration = Duration::from_millis(250);
/// When messages are due again whose ids the broker did not take.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(1);
/// Late events that one look publishes again.
const LATE_MOST: u32 = 10_000;
/// The time between two ticks of each partition.
const TICK: Duration = Duration::from_secs(1);

/// What the planner did.
#[derive(Clone, Default)]
pub struct Metrics {
    queued: Counter,
    given_back: Counter,
    republished: Counter,
    failures: Counter,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut add =
            |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        add(
            "malote_planner_queued_messages",
            "Messages moved to queued",
            &metrics.queued,
        );
        add(
            "malote_planner_given_back_messages",
            "Messages queued for too long and moved back",
            &metrics.given_back,
        );
        add(
            "malote_planner_republished_events",
            "Stored events published again",
            &metrics.republished,
        );
        add(
            "malote_planner_failures",
            "Rounds that a dependency failed",
            &metrics.failures,
        );
        metrics
    }
}

/// What the next rounds do, and when.
struct Next {
    tick: Instant,
    upkeep: Instant,
    sweep: Sweep,
}

impl Next {
    fn new(now: Instant) -> Self {
        Self {
            tick: now,
            upkeep: now,
            sweep: Sweep::new(now),
        }
    }
}

/// The planner of this process.
pub struct Planner {
    /// Sees all tenants.
    pub database: Database,
    /// The way to the inboxes.
    pub publisher: Publisher,
    /// Windows and time limits.
    pub settings: config::Pipeline,
    /// What it did.
    pub metrics: Metrics,
}

impl Planner {
    /// Plans until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut next = Next::new(Instant::now());
        while !stop.is_cancelled() {
            if let Err(error) = self.round(&mut next).await {
                self.metrics.failures.inc();
                tracing::warn!(%error, "a round of the planner failed; the next one goes on");
            }
            stop.run_until_cancelled(tokio::time::sleep(ROUND)).await;
        }
    }

    async fn round(&self, next: &mut Next) -> anyhow::Result<()> {
        if next.tick <= Instant::now() {
            next.tick = Instant::now() + TICK;
            // Lets owners run their timers.
            self.publisher.tick_soon();
            let looked_at = [
                canaries::advance(&self.database).await,
                malformed::pause_campaigns(&self.database).await,
                paces::sample(&self.database).await,
                self.wake().await,
            ];
            looked_at.into_iter().collect::<Result<(), _>>()?;
        }
        if next.upkeep <= Instant::now() {
            next.upkeep = Instant::now() + UPKEEP;
            self.keep_up().await?;
            self.publish_late_events(&mut next.sweep).await?;
        }
        self.queue_due().await
    }

    async fn queue_due(&self) -> anyhow::Result<()> {
        let sources = planning::sources(&self.database).await?;
        let wanted = shares::divide(&sources, self.settings.window_ms, self.settings.window_most);
        if wanted.is_empty() {
            return Ok(());
        }
        let taken = taking::take(&self.database, &wanted).await?;
        let published = taken.into_iter().map(|taken| self.publish_or_give_back(taken));
        futures_util::future::join_all(published)
            .await
            .into_iter()
            .collect()
    }

    /// Gives queued messages back at once when the broker does not take their ids, so that they are not missing from their number's
    /// window when it returns. It may have taken some: those deliveries will be stale. If this process dies here, any planner gives
    /// them back after a while.
    async fn publish_or_give_back(&self, taken: Taken) -> anyhow::Result<()> {
        let published = self.publish(&taken).await;
        if published.is_err() {
            let due_at = Timestamp::now() + AGAIN_AFTER;
            message_rows::give_back(&self.database, taken.tenant, &taken.messages, due_at).await?;
        }
        published
    }

    async fn publish(&self, taken: &Taken) -> anyhow::Result<()> {
        self.metrics.queued.inc_by(taken.messages.len() as u64);
        let deliveries = taken.messages.chunks(SENDS_MOST).map(|messages| {
            messages.iter().for_each(|message| follow(taken, *message));
            let envelope = Envelope::Send {
                tenant: taken.tenant,
                sender: taken.sender,
                lane: taken.lane,
                campaign: taken.campaign,
                messages: messages.to_vec(),
            };
            let mut note = Note::of(&envelope);
            note.since.extend(taken.due_at);
            self.publisher.publish_with(envelope, note)
        });
        futures_util::future::try_join_all(deliveries).await?;
        Ok(())
    }

    /// Wakes owners who have something to do and may sleep, or have died: a delivery that names nothing starts the tenant's actors.
    async fn wake(&self) -> Result<(), StorageError> {
        for tenant in unknown::to_wake(&self.database).await? {
            let events = Vec::new();
            self.publisher.publish_soon(Envelope::Events { tenant, events });
        }
        Ok(())
    }

    async fn keep_up(&self) -> Result<(), StorageError> {
        // Each is done, whatever becomes of the others.
        let turned = [
            news::apply(&self.database).await.map(drop),
            revivals::plans_with_room(&self.database).await.map(drop),
            revivals::renewed_tokens(&self.database).await.map(drop),
            revivals::rested_templates(&self.database).await.map(drop),
            number_holds::keep(&self.database).await.map(drop),
            planning::turn_campaigns(&self.database).await,
        ];
        turned.into_iter().collect::<Result<(), _>>()?;
        planning::sweep_cancelled(&self.database).await?;
        let queued_for = Duration::from_millis(self.settings.queued_for_most_ms);
        let given_back = planning::give_back_forgotten(&self.database, queued_for).await?;
        self.metrics.given_back.inc_by(given_back as u64);
        Ok(())
    }

    /// Publishes a part of the events again that nobody applied.
    async fn publish_late_events(&self, sweep: &mut Sweep) -> Result<(), StorageError> {
        let Some(place) = sweep.place(Instant::now()) else {
            return Ok(());
        };
        let unapplied_for = Duration::from_millis(self.settings.unapplied_for_most_ms);
        let part = late_events::part(&self.database, unapplied_for, place, LATE_MOST).await?;
        part.late.into_iter().for_each(|late| self.publish_again(late));
        sweep.found(part.next, unapplied_for, Instant::now());
        Ok(())
    }

    fn publish_again(&self, late: LateEvents) {
        self.metrics.republished.inc_by(late.events.len() as u64);
        let mut happened = late.happened.chunks(EVENTS_MOST);
        for events in late.events.chunks(EVENTS_MOST) {
            let envelope = Envelope::Events {
                tenant: late.tenant,
                events: events.to_vec(),
            };
            let note = Note {
                trace: None,
                since: happened.next().unwrap_or_default().to_vec(),
            };
            self.publisher.publish_soon_with(envelope, note);
        }
    }
}

/// Says that a message is queued, to whoever follows it: docs/logging.md.
fn follow(taken: &Taken, message: MessageId) {
    tracing::debug!(target: "journey", { trace.id = %message.trace(), tenant.id = %taken.tenant, message.id = %message,
        campaign.id = taken.campaign.map(tracing::field::display) }, "a message is queued");
}
