//! What consumers count: epochs, handovers, rebalances.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// How partitions come and go on this node. Clones count together.
#[derive(Clone)]
pub struct Metrics {
    registered: Gauge,
    epochs: Counter,
    superseded: Counter,
    rebalances: Counter,
    lapses: Counter,
    takeover: Histogram,
    handover: Histogram,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let metrics = Self {
            registered: Gauge::default(),
            epochs: Counter::default(),
            superseded: Counter::default(),
            rebalances: Counter::default(),
            lapses: Counter::default(),
            takeover: seconds(),
            handover: seconds(),
        };
        registry.register(
            "malote_partitions_registered",
            "Partitions that this node owns or stands in line for",
            metrics.registered.clone(),
        );
        registry.register(
            "malote_partition_epochs",
            "Epochs of partitions that this node took: each is a change of owner",
            metrics.epochs.clone(),
        );
        registry.register(
            "malote_partitions_superseded",
            "Partitions that a later owner had before this node knew",
            metrics.superseded.clone(),
        );
        registry.register(
            "malote_partition_rebalances",
            "Partitions that this node handed over to the node that should have them",
            metrics.rebalances.clone(),
        );
        registry.register(
            "malote_node_lease_lapses",
            "Times that this node was not heard of for too long to call Meta",
            metrics.lapses.clone(),
        );
        registry.register(
            "malote_partition_takeover_seconds",
            "Time from a partition's first delivery to its grant",
            metrics.takeover.clone(),
        );
        registry.register(
            "malote_partition_handover_seconds",
            "Time from the last delivery that is taken to the closed channel",
            metrics.handover.clone(),
        );
        metrics
    }

    pub(super) fn in_line(&self, change: i64) {
        self.registered.inc_by(change);
    }

    pub(super) fn owned(&self, after: Duration) {
        self.epochs.inc();
        self.takeover.observe(after.as_secs_f64());
    }

    pub(super) fn superseded(&self) {
        self.superseded.inc();
    }

    pub(super) fn rebalanced(&self) {
        self.rebalances.inc();
    }

    pub(super) fn handed_over(&self, after: Duration) {
        self.handover.observe(after.as_secs_f64());
    }

    pub(super) fn lapsed(&self) {
        self.lapses.inc();
    }
}
