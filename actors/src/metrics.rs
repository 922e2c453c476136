//! The metrics of this crate. They are touched through the methods here only, so that labels cannot drift.

use std::sync::{Arc, Weak};
use std::time::Duration;

use domain::ids::TenantId;
use domain::message::Lane;
use domain::meta_error::ErrorClass;
use jiff::SignedDuration;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::sending_metrics::SendingMetrics;
use crate::sights::{Sights, Watched};

/// Which child of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Grants leases of permits.
    RateLimiter,
    /// Keeps ids until there are permits.
    SendQueue,
    /// Writes the ledger.
    BillingCounter,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::RateLimiter, Self::SendQueue, Self::BillingCounter];

    /// Gives the name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimiter => "rate_limiter",
            Self::SendQueue => "send_queue",
            Self::BillingCounter => "billing_counter",
        }
    }
}

/// Why a child started anew, or gave up a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A handler or the recovery panicked.
    Panic,
    /// A handler or the recovery answered with a fault of the tenant.
    Fault,
    /// A message failed too often and was buried.
    Poison,
    /// A sibling failed too often, so all three start anew.
    Escalation,
    /// The actor was gone without a word.
    Vanished,
}

impl Cause {
    const ALL: [Self; 5] = [
        Self::Panic,
        Self::Fault,
        Self::Poison,
        Self::Escalation,
        Self::Vanished,
    ];

    /// Gives the name used in metrics and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Fault => "fault",
            Self::Poison => "poison",
            Self::Escalation => "escalation",
            Self::Vanished => "vanished",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RestartLabels {
    kind: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SettledLabels {
    verdict: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabel {
    lane: &'static str,
}

/// Edges of the buckets of the time to acceptance; one second and ten are the objectives'.
const TO_ACCEPTED_SECONDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The metrics of this crate. Cheap to clone and small, since every actor holds one; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

/// What [`Metrics`] shares.
#[derive(Debug)]
struct Families {
    in_mailbox: Family<KindLabel, Histogram>,
    handler: Family<KindLabel, Histogram>,
    restarts: Family<RestartLabels, Counter>,
    tenants: Family<StateLabel, Gauge>,
    settled: Family<SettledLabels, Counter>,
    meta_call: Histogram,
    to_accepted: Family<LaneLabel, Histogram>,
    in_flight: Gauge,
    partitions: Gauge,
    escalations: Family<KindLabel, Counter>,
    quarantines: Counter,
    sights: Sights,
    sending: SendingMetrics,
}

/// How many tenants are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TenantCounts {
    pub(crate) active: usize,
    pub(crate) restarting: usize,
    pub(crate) parked: usize,
}

impl Metrics {
    /// Registers every metric of this crate and gives the known label sets their zero.
    pub fn register(registry: &mut Registry) -> Self {
        let malote = registry.sub_registry_with_prefix("malote");
        let metrics = Self::new(SendingMetrics::register(malote));
        malote.register_collector(Box::new(metrics.0.sights.clone()));
        malote.register(
            "actor_time_in_mailbox_seconds",
            "Time of a message between being sent and being handled",
            metrics.0.in_mailbox.clone(),
        );
        malote.register(
            "actor_handler_seconds",
            "Time that a handler kept its actor busy",
            metrics.0.handler.clone(),
        );
        malote.register(
            "actor_restarts",
            "Restarts of actors by cause",
            metrics.0.restarts.clone(),
        );
        malote.register(
            "actor_escalations",
            "Actors that failed too often and asked their tenant to decide",
            metrics.0.escalations.clone(),
        );
        malote.register(
            "quarantines",
            "Tenants that this node put into quarantine",
            metrics.0.quarantines.clone(),
        );
        malote.register(
            "tenants",
            "Tenants of this node's partitions that have actors or are in quarantine",
            metrics.0.tenants.clone(),
        );
        malote.register(
            "messages_settled",
            "Attempts that ended, by where their message went",
            metrics.0.settled.clone(),
        );
        malote.register(
            "meta_call_seconds",
            "Time of a call to Meta",
            metrics.0.meta_call.clone(),
        );
        malote.register(
            "message_due_to_accepted_seconds",
            "Time from when a message was due until Meta had accepted it; one of a campaign is due when its number has room for it",
            metrics.0.to_accepted.clone(),
        );
        malote.register(
            "messages_in_flight",
            "Attempts between their proposal and their stored outcome",
            metrics.0.in_flight.clone(),
        );
        malote.register(
            "partitions_owned",
            "Partitions that this node owns",
            metrics.0.partitions.clone(),
        );
        metrics
    }

    fn new(sending: SendingMetrics) -> Self {
        let metrics = Self(Arc::new(Families {
            in_mailbox: Family::new_with_constructor(|| Histogram::new(exponential_buckets(1e-5, 4.0, 11))),
            handler: Family::new_with_constructor(|| Histogram::new(exponential_buckets(1e-6, 4.0, 11))),
            restarts: Family::default(),
            tenants: Family::default(),
            settled: Family::default(),
            meta_call: Histogram::new(exponential_buckets(0.005, 2.0, 13)),
            to_accepted: Family::new_with_constructor(|| Histogram::new(TO_ACCEPTED_SECONDS)),
            in_flight: Gauge::default(),
            partitions: Gauge::default(),
            escalations: Family::default(),
            quarantines: Counter::default(),
            sights: Sights::default(),
            sending,
        }));
        metrics.show_zeros();
        metrics
    }

    fn show_zeros(&self) {
        for kind in Kind::ALL.map(Kind::as_str) {
            drop(self.0.escalations.get_or_create(&KindLabel { kind }));
            drop(self.0.in_mailbox.get_or_create(&KindLabel { kind }));
            drop(self.0.handler.get_or_create(&KindLabel { kind }));
            for cause in Cause::ALL.map(Cause::as_str) {
                drop(self.0.restarts.get_or_create(&RestartLabels { kind, cause }));
            }
        }
        for lane in Lane::ALL.iter().map(|lane| lane.as_str()) {
            drop(self.0.to_accepted.get_or_create(&LaneLabel { lane }));
        }
        self.tenants_now(TenantCounts::default(), Vec::new());
    }

    /// Gives the metrics of sending.
    pub(crate) fn sending(&self) -> &SendingMetrics {
        &self.0.sending
    }

    /// Looks at a tenant's actors for as long as they live.
    pub(crate) fn watch(&self, watched: Weak<dyn Watched>) {
        self.0.sights.watch(watched);
    }

    /// Records that a message was handled.
    pub(crate) fn handled(&self, kind: Kind, waited: Duration, took: Duration) {
        let label = KindLabel { kind: kind.as_str() };
        self.0
            .in_mailbox
            .get_or_create(&label)
            .observe(waited.as_secs_f64());
        self.0.handler.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// Counts a restart, or a message given up.
    pub(crate) fn restarted(&self, kind: Kind, cause: Cause) {
        let (kind, cause) = (kind.as_str(), cause.as_str());
        self.0
            .restarts
            .get_or_create(&RestartLabels { kind, cause })
            .inc();
    }

    /// Counts an actor that asked its tenant to decide.
    pub(crate) fn escalated(&self, kind: Kind) {
        let kind = kind.as_str();
        self.0.escalations.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts a tenant that was put into quarantine.
    pub(crate) fn quarantined(&self) {
        self.0.quarantines.inc();
    }

    /// Shows how many tenants are in which state, and who is in quarantine.
    pub(crate) fn tenants_now(&self, counts: TenantCounts, quarantined: Vec<TenantId>) {
        let states = [
            ("active", counts.active),
            ("restarting", counts.restarting),
            ("parked", counts.parked),
            ("quarantined", quarantined.len()),
        ];
        self.0.sights.quarantined_now(quarantined);
        for (state, count) in states {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.0.tenants.get_or_create(&StateLabel { state }).set(count);
        }
    }

    /// Shows how many partitions this node owns.
    pub(crate) fn partitions_now(&self, owned: usize) {
        self.0.partitions.set(i64::try_from(owned).unwrap_or(i64::MAX));
    }

    /// Counts an attempt that ended.
    pub(crate) fn settled(&self, verdict: &'static str, class: Option<ErrorClass>) {
        let class = class.map_or("none", ErrorClass::as_str);
        self.0
            .settled
            .get_or_create(&SettledLabels { verdict, class })
            .inc();
    }

    /// Records a call to Meta.
    pub(crate) fn called(&self, took: Duration) {
        self.0.meta_call.observe(took.as_secs_f64());
    }

    /// Records that Meta accepted a message, a while after it was due. Clocks of two nodes may differ a little.
    pub(crate) fn accepted(&self, lane: Lane, after: SignedDuration) {
        let label = LaneLabel { lane: lane.as_str() };
        let seconds = after.as_secs_f64().max(0.0);
        self.0.to_accepted.get_or_create(&label).observe(seconds);
    }

    /// Counts attempts that begin.
    pub(crate) fn begun(&self, attempts: i64) {
        self.0.in_flight.inc_by(attempts);
    }

    /// Counts an attempt that is over.
    pub(crate) fn ended(&self) {
        self.0.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_shown_with_its_prefix() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.settled("accepted", None);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        for name in [
            "malote_actor_queue_depth{kind=\"send_queue\",stat=\"max\"} 0",
            "malote_actor_time_in_mailbox_seconds_count",
            "malote_actor_handler_seconds_count",
            "malote_actor_restarts_total{kind=\"rate_limiter\",cause=\"panic\"} 0",
            "malote_tenants{state=\"quarantined\"} 0",
            "malote_tenants{state=\"parked\"} 0",
            "malote_actor_oldest_waiting_seconds{kind=\"send_queue\"} 0.0",
            "malote_actor_gate_waiters{kind=\"billing_counter\"} 0",
            "malote_actor_escalations_total{kind=\"send_queue\"} 0",
            "malote_quarantines_total 0",
            "malote_messages_settled_total{verdict=\"accepted\",class=\"none\"} 1",
            "malote_meta_call_seconds_count 0",
            "malote_message_due_to_accepted_seconds_bucket{le=\"10.0\",lane=\"bulk\"} 0",
            "malote_messages_in_flight 0",
            "malote_partitions_owned 0",
            "malote_meta_breaker{state=\"closed\"} 1",
            "malote_meta_breaker_openings_total 0",
            "malote_messages_unknown_total{cause=\"no_answer\"} 0",
            "malote_messages_unknown_settled_total{by=\"webhook\"} 0",
            "malote_messages_held_back_total{scope=\"pair\"} 0",
        ] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
    }
}
