//! What happened at the edge, as metrics. Labels come from closed sets.

use std::time::Duration;

use domain::webhook::{Field, Quarantine};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::refusal::Refusal;

/// Edges of the buckets of an acknowledgement's time; a quarter of a second and a second are the objectives'.
const ACKNOWLEDGEMENT_SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// By which door a delivery came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// From Meta itself: `/webhooks/meta`.
    Native,
    /// From a relay: `/webhooks/relay`.
    Relay,
}

impl Door {
    const ALL: [Self; 2] = [Self::Native, Self::Relay];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Relay => "relay",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabel {
    door: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    door: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FieldLabel {
    field: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// What happened at the edge. Clones share the counters.
#[derive(Clone)]
pub struct Metrics {
    acknowledged: Family<DoorLabel, Histogram, fn() -> Histogram>,
    accepted: Family<DoorLabel, Counter>,
    repeated: Family<DoorLabel, Counter>,
    refused: Family<RefusalLabels, Counter>,
    replays: Counter,
    updates: Family<FieldLabel, Counter>,
    unknown_messages: Counter,
    quarantined: Family<ReasonLabel, Counter>,
    security_events: Family<ReasonLabel, Counter>,
    late: Counter,
    statuses: Counter,
}

impl Metrics {
    /// Registers the metrics and gives each label its zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            acknowledged: Family::new_with_constructor(|| Histogram::new(ACKNOWLEDGEMENT_SECONDS)),
            accepted: Family::default(),
            repeated: Family::default(),
            refused: Family::default(),
            replays: Counter::default(),
            updates: Family::default(),
            unknown_messages: Counter::default(),
            quarantined: Family::default(),
            security_events: Family::default(),
            late: Counter::default(),
            statuses: Counter::default(),
        };
        metrics.register_deliveries(registry);
        metrics.register_updates(registry);
        for door in Door::ALL.map(Door::as_str) {
            drop(metrics.acknowledged.get_or_create(&DoorLabel { door }));
            drop(metrics.accepted.get_or_create(&DoorLabel { door }));
            drop(metrics.repeated.get_or_create(&DoorLabel { door }));
            for reason in Refusal::REASONS {
                drop(metrics.refused.get_or_create(&RefusalLabels { door, reason }));
            }
        }
        for field in Field::ALL.iter().map(|field| field.as_str()) {
            drop(metrics.updates.get_or_create(&FieldLabel { field }));
        }
        for quarantine in Quarantine::ALL {
            let reason = quarantine.as_str();
            drop(metrics.quarantined.get_or_create(&ReasonLabel { reason }));
            if quarantine.is_security_event() {
                drop(metrics.security_events.get_or_create(&ReasonLabel { reason }));
            }
        }
        metrics
    }

    fn register_deliveries(&self, registry: &mut Registry) {
        registry.register(
            "malote_webhook_acknowledgement_seconds",
            "Time from a delivery's head to its answer 200, by door",
            self.acknowledged.clone(),
        );
        registry.register(
            "malote_webhook_deliveries_accepted",
            "Deliveries that were stored and answered 200, by door",
            self.accepted.clone(),
        );
        registry.register(
            "malote_webhook_deliveries_repeated",
            "Deliveries of which every part was known already, by door",
            self.repeated.clone(),
        );
        registry.register(
            "malote_webhook_deliveries_refused",
            "Deliveries that were not believed or not taken, by door and reason",
            self.refused.clone(),
        );
        registry.register(
            "malote_webhook_replays",
            "Attempts of a relay whose nonce had been seen",
            self.replays.clone(),
        );
    }

    fn register_updates(&self, registry: &mut Registry) {
        registry.register(
            "malote_webhook_updates",
            "Changes that Meta reported, by field",
            self.updates.clone(),
        );
        registry.register(
            "malote_webhook_unknown_messages",
            "Messages of users of a type that nobody here has heard of",
            self.unknown_messages.clone(),
        );
        registry.register(
            "malote_webhook_quarantined",
            "Updates that are kept and not acted on, by reason",
            self.quarantined.clone(),
        );
        registry.register(
            "malote_webhook_security_events",
            "Updates about a number or an account that is not the tenant's, by reason",
            self.security_events.clone(),
        );
        registry.register(
            "malote_webhook_late_updates",
            "Updates that came more than five minutes after they happened",
            self.late.clone(),
        );
        registry.register(
            "malote_webhook_statuses",
            "Statuses that were stored for the first time",
            self.statuses.clone(),
        );
    }

    pub(super) fn count_accepted(&self, door: Door, was_new: bool) {
        let door = door.as_str();
        self.accepted.get_or_create(&DoorLabel { door }).inc();
        if !was_new {
            self.repeated.get_or_create(&DoorLabel { door }).inc();
        }
    }

    /// Notes how long a delivery took that was answered 200.
    pub(super) fn acknowledged(&self, door: Door, took: Duration) {
        let door = door.as_str();
        let seconds = self.acknowledged.get_or_create(&DoorLabel { door });
        seconds.observe(took.as_secs_f64());
    }

    pub(super) fn count_refused(&self, door: Door, refusal: &Refusal) {
        let (door, reason) = (door.as_str(), refusal.reason());
        self.refused.get_or_create(&RefusalLabels { door, reason }).inc();
        if *refusal == Refusal::Replay {
            self.replays.inc();
        }
    }

    pub(super) fn count_updates(&self, field: Field, updates: usize, unknown_messages: usize) {
        let field = field.as_str();
        let counter = self.updates.get_or_create(&FieldLabel { field });
        counter.inc_by(updates as u64);
        drop(counter);
        self.unknown_messages.inc_by(unknown_messages as u64);
    }

    pub(super) fn count_quarantined(&self, quarantine: Quarantine) {
        let reason = quarantine.as_str();
        self.quarantined.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn count_security_event(&self, kind: Quarantine) {
        let reason = kind.as_str();
        self.security_events.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn count_late(&self, updates: usize) {
        self.late.inc_by(updates as u64);
    }

    pub(super) fn count_new_statuses(&self, new: usize) {
        self.statuses.inc_by(new as u64);
    }
}
