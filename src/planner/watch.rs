//! What waits and what was paused, as metrics read from the rows: whoever wrote them, and whichever process died since.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::campaign::PauseReason;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::storage::waiting::{Waits, paused, waits};
use crate::storage::{Database, StorageError};

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// How far pauses are counted behind the clock: a row shows when its transaction began and is seen when that has ended.
const BEHIND: Duration = Duration::from_secs(10);
/// The age of an unapplied event from which the ledger is not fresh: twice the time after which it is published again, and a little.
const FRESH_SECONDS: f64 = 150.0;

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FreshLabel {
    fresh: &'static str,
}

/// What waits. Every process with the planner's role shows the same figures: take the largest, not the sum.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    unapplied: Gauge,
    oldest_event: Seconds,
    oldest_queued: Seconds,
    looks: Family<FreshLabel, Counter>,
    paused_now: Family<ReasonLabel, Gauge>,
    paused: Family<ReasonLabel, Counter>,
}

impl Metrics {
    /// Registers the metrics and gives each reason its zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "malote_events_unapplied",
            "Stored events of tenants out of quarantine that are not applied to messages and the ledger yet",
            metrics.unapplied.clone(),
        );
        registry.register(
            "malote_events_oldest_unapplied_seconds",
            "How long the oldest unapplied event has waited since it was stored; 0 when there is none",
            metrics.oldest_event.clone(),
        );
        registry.register(
            "malote_messages_oldest_queued_seconds",
            "How long the oldest message has waited in an inbox to be claimed; 0 when there is none",
            metrics.oldest_queued.clone(),
        );
        registry.register(
            "malote_billing_freshness_looks",
            "Looks at the ledger, by whether every event that came was applied within 150 seconds",
            metrics.looks.clone(),
        );
        registry.register(
            "malote_campaigns_paused_now",
            "Campaigns that are paused, by reason",
            metrics.paused_now.clone(),
        );
        registry.register(
            "malote_campaigns_paused_automatically",
            "Campaigns that were paused while this process watched, and not by hand, by reason",
            metrics.paused.clone(),
        );
        for fresh in ["yes", "no"] {
            drop(metrics.looks.get_or_create(&FreshLabel { fresh }));
        }
        for &reason in PauseReason::ALL {
            metrics.show_paused(reason, 0, 0);
        }
        metrics
    }

    fn show(&self, waits: Waits) {
        self.unapplied.set(waits.unapplied);
        self.oldest_event.set(waits.oldest_event);
        self.oldest_queued.set(waits.oldest_queued);
        let fresh = if waits.oldest_event <= FRESH_SECONDS {
            "yes"
        } else {
            "no"
        };
        self.looks.get_or_create(&FreshLabel { fresh }).inc();
    }

    fn show_paused(&self, reason: PauseReason, now: i64, new: u64) {
        let label = || ReasonLabel {
            reason: reason.as_str(),
        };
        self.paused_now.get_or_create(&label()).set(now);
        if reason != PauseReason::Manual {
            self.paused.get_or_create(&label()).inc_by(new);
        }
    }
}

/// Looks at the rows again and again, until `stop`.
pub async fn watch(database: Database, metrics: Metrics, stop: CancellationToken) {
    let mut seen_until = Timestamp::now();
    while !stop.is_cancelled() {
        if let Err(error) = look(&database, &metrics, &mut seen_until).await {
            tracing::debug!(%error, "what waits was not counted; the next look will");
        }
        stop.run_until_cancelled(tokio::time::sleep(LOOK)).await;
    }
}

async fn look(
    database: &Database,
    metrics: &Metrics,
    seen_until: &mut Timestamp,
) -> Result<(), StorageError> {
    metrics.show(waits(database).await?);
    let until = (Timestamp::now() - BEHIND).max(*seen_until);
    let found = paused(database, *seen_until, until).await?;
    for &reason in PauseReason::ALL {
        let paused = found.iter().find(|paused| paused.reason == reason);
        let (now, new) = paused.map_or((0, 0), |paused| (paused.count, paused.new));
        metrics.show_paused(reason, now, u64::try_from(new).unwrap_or(0));
    }
    *seen_until = until;
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn an_old_event_is_a_look_that_was_not_fresh_and_nobody_pauses_by_hand_automatically() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let waits = |oldest_event| Waits {
            unapplied: 3,
            oldest_event,
            oldest_queued: 1.5,
        };
        metrics.show(waits(150.0));
        metrics.show(waits(150.5));
        metrics.show_paused(PauseReason::PlanBlocked, 4, 2);
        metrics.show_paused(PauseReason::Manual, 7, 7);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for line in [
            "malote_events_unapplied 3",
            "malote_events_oldest_unapplied_seconds 150.5",
            "malote_messages_oldest_queued_seconds 1.5",
            "malote_billing_freshness_looks_total{fresh=\"yes\"} 1",
            "malote_billing_freshness_looks_total{fresh=\"no\"} 1",
            "malote_campaigns_paused_now{reason=\"manual\"} 7",
            "malote_campaigns_paused_automatically_total{reason=\"plan_blocked\"} 2",
            "malote_campaigns_paused_automatically_total{reason=\"quarantined\"} 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in:\n{text}");
        }
        assert!(!text.contains("automatically_total{reason=\"manual\"}"), "{text}");
    }
}
