//! Pools of connections as metrics: how many there are, how many are in use, who waits for one and who gave up.

use std::fmt;
use std::sync::Arc;

use bb8::{ManageConnection, Pool, State};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// How a pool is at this moment.
type Look = Arc<dyn Fn() -> State + Send + Sync>;

/// A pool that somebody may look at.
#[derive(Clone)]
pub struct Watched {
    name: &'static str,
    most: u32,
    look: Look,
}

impl Watched {
    /// Lets a pool of `most` connections be looked at.
    pub(super) fn new<M: ManageConnection>(name: &'static str, most: u32, pool: &Pool<M>) -> Self {
        let pool = pool.clone();
        Self {
            name,
            most,
            look: Arc::new(move || pool.state()),
        }
    }
}

/// The pools of this process.
#[derive(Clone)]
pub struct Pools(Arc<[Watched]>);

impl fmt::Debug for Pools {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|watched| watched.name);
        formatter.debug_list().entries(names).finish()
    }
}

impl Pools {
    /// Shows these pools.
    pub fn new(watched: impl IntoIterator<Item = Watched>) -> Self {
        Self(watched.into_iter().collect())
    }
}

impl Collector for Pools {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let looks: Vec<_> = self
            .0
            .iter()
            .map(|watched| (watched.name, watched.most, (watched.look)()))
            .collect();
        let help = "Connections of a pool: in use, idle, and the most that it may have";
        let mut sizes =
            encoder.encode_descriptor("malote_pool_connections", help, None, MetricType::Gauge)?;
        for (pool, most, state) in &looks {
            let used = state.connections.saturating_sub(state.idle_connections);
            for (name, number) in [("used", used), ("idle", state.idle_connections), ("most", *most)] {
                let labels = [("pool", *pool), ("state", name)];
                ConstGauge::new(i64::from(number)).encode(sizes.encode_family(&labels)?)?;
            }
        }
        let help = "Callers that wait for a connection of a pool now";
        let mut waiting = encoder.encode_descriptor("malote_pool_waiting", help, None, MetricType::Gauge)?;
        for (pool, _, state) in &looks {
            let started = state.statistics.get_started;
            let pending = started.saturating_sub(state.statistics.completed_gets());
            let pending = i64::try_from(pending).unwrap_or(i64::MAX);
            ConstGauge::new(pending).encode(waiting.encode_family(&[("pool", *pool)])?)?;
        }
        let help = "Connections that were asked for: given at once, after a wait, or not in time";
        let mut gets = encoder.encode_descriptor("malote_pool_gets", help, None, MetricType::Counter)?;
        for (pool, _, state) in &looks {
            let outcomes = [
                ("direct", state.statistics.get_direct),
                ("waited", state.statistics.get_waited),
                ("timed_out", state.statistics.get_timed_out),
            ];
            for (outcome, number) in outcomes {
                let labels = [("pool", *pool), ("outcome", outcome)];
                ConstCounter::new(number).encode(gets.encode_family(&labels)?)?;
            }
        }
        let help = "Time that all callers together have waited for connections of a pool";
        let mut waited =
            encoder.encode_descriptor("malote_pool_wait_seconds", help, None, MetricType::Counter)?;
        for (pool, _, state) in &looks {
            let seconds = state.statistics.get_wait_time.as_secs_f64();
            ConstCounter::new(seconds).encode(waited.encode_family(&[("pool", *pool)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    /// Makes connections that are nothing.
    struct Nothing;

    impl ManageConnection for Nothing {
        type Connection = ();
        type Error = std::convert::Infallible;

        async fn connect(&self) -> Result<(), Self::Error> {
            Ok(())
        }

        async fn is_valid(&self, (): &mut ()) -> Result<(), Self::Error> {
            Ok(())
        }

        fn has_broken(&self, (): &mut ()) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn a_used_up_pool_shows_who_gave_up() {
        let short = Duration::from_millis(20);
        let pool = Pool::builder().max_size(2).connection_timeout(short);
        let pool = pool.build(Nothing).await.expect("a pool");
        let (one, _two) = (pool.get().await.expect("one"), pool.get().await.expect("two"));
        assert!(pool.get().await.is_err(), "there is no third");
        drop(one);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Pools::new([Watched::new("app_rw", 2, &pool)])));
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for line in [
            "malote_pool_connections{pool=\"app_rw\",state=\"used\"} 1",
            "malote_pool_connections{pool=\"app_rw\",state=\"idle\"} 1",
            "malote_pool_connections{pool=\"app_rw\",state=\"most\"} 2",
            "malote_pool_waiting{pool=\"app_rw\"} 0",
            "malote_pool_gets_total{pool=\"app_rw\",outcome=\"timed_out\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in:\n{text}");
        }
    }
}
