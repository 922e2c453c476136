//! What the relay does, as metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::hop::{Failed, Forwarded};
use super::spool::{SpoolError, Stats};
use crate::webhooks::refusal::Refusal;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// What the relay does. Clones share the counters.
#[derive(Clone, Default)]
pub(super) struct Metrics {
    accepted: Counter,
    refused: Family<ReasonLabel, Counter>,
    forwarded: Family<OutcomeLabel, Counter>,
    failed: Family<ReasonLabel, Counter>,
    pending: Gauge,
    pending_bytes: Gauge,
    oldest_seconds: Gauge,
    kept_bytes: Gauge,
    damaged: Gauge,
}

/// Reasons of the log not to take a delivery.
const FULL: &str = "full";
const DISK: &str = "disk";

impl Metrics {
    /// Registers the metrics and gives each label its zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for reason in Refusal::REASONS.into_iter().chain([FULL, DISK]) {
            drop(metrics.refused.get_or_create(&ReasonLabel { reason }));
        }
        for outcome in Forwarded::ALL.map(Forwarded::as_str) {
            drop(metrics.forwarded.get_or_create(&OutcomeLabel { outcome }));
        }
        for reason in Failed::REASONS {
            drop(metrics.failed.get_or_create(&ReasonLabel { reason }));
        }
        registry.register(
            "malote_relay_deliveries_accepted",
            "Deliveries of Meta that are on the disk",
            metrics.accepted.clone(),
        );
        registry.register(
            "malote_relay_deliveries_refused",
            "Deliveries that were not believed or not taken, by reason",
            metrics.refused.clone(),
        );
        registry.register(
            "malote_relay_deliveries_forwarded",
            "Deliveries that the core has, by what it said",
            metrics.forwarded.clone(),
        );
        registry.register(
            "malote_relay_attempts_failed",
            "Attempts to forward that will be made again, by reason",
            metrics.failed.clone(),
        );
        metrics.register_log(registry);
        metrics
    }

    fn register_log(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, gauge: &Gauge| registry.register(name, help, gauge.clone());
        add(
            "malote_relay_pending",
            "Deliveries that are not forwarded yet",
            &self.pending,
        );
        add("malote_relay_pending_bytes", "Their bytes", &self.pending_bytes);
        add(
            "malote_relay_oldest_pending_seconds",
            "How long the oldest of them has waited",
            &self.oldest_seconds,
        );
        add(
            "malote_relay_kept_bytes",
            "Bytes that were forwarded and are kept",
            &self.kept_bytes,
        );
        add(
            "malote_relay_damaged",
            "Deliveries on the disk that were found damaged and are lost",
            &self.damaged,
        );
    }

    /// Notes how the log fares.
    pub(super) fn found(&self, stats: &Stats) {
        let gauge = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.pending, stats.pending as u64);
        gauge(&self.pending_bytes, stats.pending_bytes);
        gauge(&self.kept_bytes, stats.kept_bytes);
        gauge(&self.damaged, stats.damaged);
        let age = stats
            .oldest
            .map(|oldest| jiff::Timestamp::now().duration_since(oldest).as_secs());
        self.oldest_seconds.set(age.unwrap_or_default().max(0));
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.inc();
    }

    pub(super) fn count_refused(&self, refusal: &Refusal) {
        let reason = refusal.reason();
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn count_not_kept(&self, error: &SpoolError) {
        let reason = match error {
            SpoolError::Full => FULL,
            SpoolError::Disk(_) => DISK,
        };
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn count_forwarded(&self, forwarded: Forwarded) {
        let outcome = forwarded.as_str();
        self.forwarded.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(super) fn count_failed(&self, failed: &Failed) {
        let reason = failed.reason();
        self.failed.get_or_create(&ReasonLabel { reason }).inc();
    }
}
