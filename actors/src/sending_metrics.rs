//! What the metrics tell of Meta's health, of limits of our own and of outcomes that are not known.

use domain::breaker::Phase;
use domain::unknown::{SettledBy, UnknownCause};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLabel {
    by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabel {
    scope: &'static str,
}

/// Which limit held messages back before they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Pair,
    Portfolio,
    Outage,
}

impl Scope {
    const ALL: [Self; 3] = [Self::Pair, Self::Portfolio, Self::Outage];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Portfolio => "portfolio",
            Self::Outage => "outage",
        }
    }
}

/// The part of the metrics that is about sending.
#[derive(Clone, Debug, Default)]
pub(crate) struct SendingMetrics {
    breaker: Family<PhaseLabel, Gauge>,
    openings: Counter,
    unknown: Family<CauseLabel, Counter>,
    settled: Family<ByLabel, Counter>,
    held_back: Family<ScopeLabel, Counter>,
}

impl SendingMetrics {
    /// Registers the metrics under the registry's prefix and gives each label set its zero.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "meta_breaker",
            "1 for the state in which the breaker for Meta is: closed, open or half_open",
            metrics.breaker.clone(),
        );
        registry.register(
            "meta_breaker_openings",
            "How often Meta counted as down, so that all tenants waited",
            metrics.openings.clone(),
        );
        registry.register(
            "messages_unknown",
            "Attempts whose outcome is not known, by why",
            metrics.unknown.clone(),
        );
        registry.register(
            "messages_unknown_settled",
            "Messages that were unknown and are no more, by what settled them",
            metrics.settled.clone(),
        );
        registry.register(
            "messages_held_back",
            "Messages planned again before their call, by the limit that held them back",
            metrics.held_back.clone(),
        );
        metrics.breaker_now(Phase::Closed);
        UnknownCause::ALL
            .iter()
            .for_each(|cause| metrics.became_unknown(*cause, 0));
        SettledBy::ALL
            .iter()
            .for_each(|by| metrics.unknown_settled(*by, 0));
        Scope::ALL.iter().for_each(|scope| metrics.held_back(*scope, 0));
        metrics
    }

    /// Shows where the breaker is.
    pub(crate) fn breaker_now(&self, present: Phase) {
        for phase in Phase::ALL {
            let state = phase.as_str();
            let shown = i64::from(phase == present);
            self.breaker.get_or_create(&PhaseLabel { state }).set(shown);
        }
    }

    /// Counts an opening of the breaker.
    pub(crate) fn breaker_opened(&self) {
        self.openings.inc();
    }

    /// Counts attempts whose outcome is not known.
    pub(crate) fn became_unknown(&self, cause: UnknownCause, attempts: usize) {
        let label = CauseLabel {
            cause: cause.as_str(),
        };
        self.unknown.get_or_create(&label).inc_by(count(attempts));
    }

    /// Counts messages that are unknown no more.
    pub(crate) fn unknown_settled(&self, by: SettledBy, messages: usize) {
        let label = ByLabel { by: by.as_str() };
        self.settled.get_or_create(&label).inc_by(count(messages));
    }

    /// Counts messages that a limit held back before their call.
    pub(crate) fn held_back(&self, scope: Scope, messages: usize) {
        let label = ScopeLabel {
            scope: scope.as_str(),
        };
        self.held_back.get_or_create(&label).inc_by(count(messages));
    }
}

fn count(many: usize) -> u64 {
    u64::try_from(many).unwrap_or(u64::MAX)
}
