//! Dead letters as metrics, read from the rows: whoever wrote them, and whichever process died since. Labels are kinds alone.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::dead_letter::LetterKind;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::storage::dead_letters::{arrivals, open_letters};
use crate::storage::{Database, StorageError};

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// How far arrivals are counted behind the clock: a row shows when its transaction began and is seen when that has ended.
const BEHIND: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// How many dead letters there are. Every process with the planner's role shows the same figures: take the largest, not the sum.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    open: Family<KindLabel, Gauge>,
    oldest: Family<KindLabel, Seconds>,
    arrived: Family<KindLabel, Counter>,
}

impl Metrics {
    /// Registers the metrics and gives each kind its zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for &kind in LetterKind::ALL {
            metrics.show(kind, 0, 0.0);
            metrics.arrive(kind, 0);
        }
        registry.register(
            "malote_dead_letters_open",
            "Dead letters that nobody has replayed or purged",
            metrics.open.clone(),
        );
        registry.register(
            "malote_dead_letters_oldest_seconds",
            "How long the oldest open dead letter has waited; 0 when there is none",
            metrics.oldest.clone(),
        );
        registry.register(
            "malote_dead_letters_arrived",
            "Dead letters that came while this process watched",
            metrics.arrived.clone(),
        );
        metrics
    }

    fn show(&self, kind: LetterKind, open: i64, oldest_seconds: f64) {
        let label = || KindLabel { kind: kind.as_str() };
        self.open.get_or_create(&label()).set(open);
        self.oldest.get_or_create(&label()).set(oldest_seconds);
    }

    fn arrive(&self, kind: LetterKind, many: u64) {
        let label = KindLabel { kind: kind.as_str() };
        self.arrived.get_or_create(&label).inc_by(many);
    }
}

/// Looks at the letters again and again, until `stop`.
pub async fn watch(database: Database, metrics: Metrics, stop: CancellationToken) {
    let mut seen_until = Timestamp::now();
    while !stop.is_cancelled() {
        if let Err(error) = look(&database, &metrics, &mut seen_until).await {
            tracing::debug!(%error, "dead letters were not counted; the next look will");
        }
        stop.run_until_cancelled(tokio::time::sleep(LOOK)).await;
    }
}

async fn look(
    database: &Database,
    metrics: &Metrics,
    seen_until: &mut Timestamp,
) -> Result<(), StorageError> {
    let open = open_letters(database).await?;
    for &kind in LetterKind::ALL {
        let found = open.iter().find(|letters| letters.kind == kind);
        metrics.show(
            kind,
            found.map_or(0, |letters| letters.count),
            found.map_or(0.0, |letters| letters.oldest_seconds),
        );
    }
    let until = Timestamp::now() - BEHIND;
    if until > *seen_until {
        for arrived in arrivals(database, *seen_until, until).await? {
            metrics.arrive(arrived.kind, u64::try_from(arrived.count).unwrap_or(0));
        }
        *seen_until = until;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn every_kind_has_its_zero_and_no_other_label() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.show(LetterKind::Poison, 3, 1.5);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for line in [
            "malote_dead_letters_open{kind=\"poison\"} 3",
            "malote_dead_letters_oldest_seconds{kind=\"poison\"} 1.5",
            "malote_dead_letters_open{kind=\"undecodable\"} 0",
            "malote_dead_letters_arrived_total{kind=\"attempts_exhausted\"} 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in:\n{text}");
        }
    }
}
