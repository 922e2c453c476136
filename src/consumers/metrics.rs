//! What consumers count: epochs, handovers, rebalances.

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Edges of the buckets of the time to settlement; a minute is the objective's.
const SETTLED_SECONDS: [f64; 10] = [1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 150.0, 300.0, 900.0, 3_600.0];

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
    settled: Histogram,
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
            settled: Histogram::new(SETTLED_SECONDS),
        };
        registry.register(
            "malote_event_to_settled_seconds",
            "Time from a status by Meta's clock until it was applied to its message and the ledger",
            metrics.settled.clone(),
        );
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

    /// Notes that events are settled which happened at these times. Meta's clock has whole seconds, and may be ahead.
    pub(super) fn settled(&self, happened: &[Timestamp]) {
        let now = Timestamp::now();
        for at in happened {
            let seconds = now.duration_since(*at).as_secs_f64().max(0.0);
            self.settled.observe(seconds);
        }
    }

    pub(super) fn lapsed(&self) {
        self.lapses.inc();
    }
}
