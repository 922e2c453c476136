//! What is seen of the actors when somebody asks: how much is inside, how old it is, who waits outside. The only place where
//! metrics name tenants: the few deepest, and those in quarantine, both bounded.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use domain::ids::TenantId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::time::Instant;

use crate::gate::Sight;
use crate::limits::{DEEPEST_NAMED_MOST, QUARANTINED_NAMED_MOST};
use crate::metrics::Kind;

/// Something with actors to look at.
pub(crate) trait Watched: Send + Sync {
    /// Looks at each of them.
    fn look(&self) -> [Sight; 3];
}

/// Whom to look at. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Sights(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    watched: Vec<Weak<dyn Watched>>,
    quarantined: Vec<TenantId>,
}

/// What is told of one kind of actor.
#[derive(Clone, Debug, Default, PartialEq)]
struct Summary {
    alive: usize,
    sum: usize,
    most: usize,
    outside: usize,
    oldest_seconds: f64,
    deepest: Vec<(TenantId, usize)>,
}

impl fmt::Debug for Sights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        f.debug_struct("Sights")
            .field("watched", &inner.watched.len())
            .finish()
    }
}

impl Sights {
    /// Looks at it for as long as it lives.
    pub(crate) fn watch(&self, watched: Weak<dyn Watched>) {
        let mut inner = self.inner();
        if inner.watched.len() == inner.watched.capacity() {
            inner.forget();
        }
        inner.watched.push(watched);
    }

    /// These are in quarantine.
    pub(crate) fn quarantined_now(&self, mut tenants: Vec<TenantId>) {
        tenants.truncate(QUARANTINED_NAMED_MOST);
        self.inner().quarantined = tenants;
    }

    fn all(&self) -> (Vec<Sight>, Vec<TenantId>) {
        let mut inner = self.inner();
        inner.forget();
        let living = inner.watched.iter().filter_map(Weak::upgrade);
        let living: Vec<_> = living.collect();
        let quarantined = inner.quarantined.clone();
        // Looking takes the locks of inboxes, and whoever is dropped here may ask for ours.
        drop(inner);
        (living.iter().flat_map(|one| one.look()).collect(), quarantined)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Forgets whoever is gone: a weak reference keeps the memory.
    fn forget(&mut self) {
        self.watched.retain(|watched| watched.strong_count() > 0);
        if self.watched.len() < self.watched.capacity() / 4 {
            self.watched.shrink_to_fit();
        }
    }
}

fn summary(kind: Kind, sights: &[Sight], now: Instant) -> Summary {
    let mut found = Summary::default();
    for sight in sights.iter().filter(|sight| sight.kind == kind) {
        found.alive += 1;
        found.sum += sight.depth;
        found.most = found.most.max(sight.depth);
        found.outside += sight.outside;
        let age = sight
            .oldest
            .map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        found.oldest_seconds = found.oldest_seconds.max(age);
        if sight.depth > 0 {
            found.deepest.push((sight.tenant, sight.depth));
        }
    }
    found
        .deepest
        .sort_unstable_by_key(|(tenant, depth)| (std::cmp::Reverse(*depth), *tenant));
    found.deepest.truncate(DEEPEST_NAMED_MOST);
    found
}

impl Collector for Sights {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (sights, quarantined) = self.all();
        let now = Instant::now();
        let kinds = Kind::ALL.map(|kind| (kind.as_str(), summary(kind, &sights, now)));
        let help = "Work inside an actor: in its mailbox or admitted and not finished";
        let mut depths = encoder.encode_descriptor("actor_queue_depth", help, None, MetricType::Gauge)?;
        for (kind, found) in &kinds {
            for (stat, value) in [("sum", found.sum), ("max", found.most)] {
                let labels = [("kind", *kind), ("stat", stat)];
                ConstGauge::new(whole(value)).encode(depths.encode_family(&labels)?)?;
            }
        }
        let help = "Actors that take memory; passivated ones do not";
        let mut alive = encoder.encode_descriptor("actors_alive", help, None, MetricType::Gauge)?;
        for (kind, found) in &kinds {
            ConstGauge::new(whole(found.alive)).encode(alive.encode_family(&[("kind", *kind)])?)?;
        }
        let help = "Work inside the deepest actors of a kind, by their tenants";
        let mut deepest =
            encoder.encode_descriptor("actor_queue_depth_deepest", help, None, MetricType::Gauge)?;
        for (kind, found) in &kinds {
            for (tenant, depth) in &found.deepest {
                let labels = [("kind", (*kind).to_owned()), ("tenant", tenant.to_string())];
                ConstGauge::new(whole(*depth)).encode(deepest.encode_family(&labels)?)?;
            }
        }
        let help = "Age of the oldest work at an actor's gate, inside it or in its mailbox";
        let mut oldest =
            encoder.encode_descriptor("actor_oldest_waiting_seconds", help, None, MetricType::Gauge)?;
        for (kind, found) in &kinds {
            let metric = ConstGauge::new(found.oldest_seconds);
            metric.encode(oldest.encode_family(&[("kind", *kind)])?)?;
        }
        let help = "Deliveries that wait for room inside an actor";
        let mut outside = encoder.encode_descriptor("actor_gate_waiters", help, None, MetricType::Gauge)?;
        for (kind, found) in &kinds {
            let metric = ConstGauge::new(whole(found.outside));
            metric.encode(outside.encode_family(&[("kind", *kind)])?)?;
        }
        let help = "Tenants of this node's partitions that are in quarantine";
        let mut named = encoder.encode_descriptor("tenant_quarantined", help, None, MetricType::Gauge)?;
        for tenant in quarantined {
            ConstGauge::new(1_u64).encode(named.encode_family(&[("tenant", tenant.to_string())])?)?;
        }
        Ok(())
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn sight(tenant: u128, depth: usize, oldest: Option<Instant>) -> Sight {
        Sight {
            kind: Kind::SendQueue,
            tenant: TenantId(Uuid::from_u128(tenant)),
            depth,
            outside: 1,
            oldest,
        }
    }

    #[test]
    fn the_deepest_are_named_and_they_are_few() {
        let now = Instant::now();
        let sights: Vec<_> = (0..100)
            .map(|number| sight(number, usize::try_from(number).unwrap_or(0), None))
            .collect();
        let found = summary(Kind::SendQueue, &sights, now);
        assert_eq!((found.sum, found.most, found.outside), (4_950, 99, 100));
        let named: Vec<_> = found.deepest.iter().map(|(_, depth)| *depth).collect();
        assert_eq!(named, [99, 98, 97, 96, 95]);
        assert_eq!(summary(Kind::RateLimiter, &sights, now), Summary::default());
    }

    #[test]
    fn the_oldest_of_all_counts() {
        let start = Instant::now();
        let now = start + Duration::from_secs(9);
        let young = start + Duration::from_secs(8);
        let sights = [
            sight(1, 1, Some(young)),
            sight(2, 1, Some(start)),
            sight(3, 0, None),
        ];
        let found = summary(Kind::SendQueue, &sights, now);
        assert!((found.oldest_seconds - 9.0).abs() < 1e-9, "{found:?}");
        assert_eq!(found.deepest.len(), 2, "the empty one is not named");
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        struct Nobody;
        impl Watched for Nobody {
            fn look(&self) -> [Sight; 3] {
                [1, 2, 3].map(|tenant| sight(tenant, 1, None))
            }
        }
        let (sights, somebody) = (Sights::default(), Arc::new(Nobody));
        let watched: Weak<dyn Watched> = Arc::downgrade(&(somebody.clone() as Arc<dyn Watched>));
        sights.watch(watched);
        assert_eq!(sights.all().0.len(), 3);
        drop(somebody);
        assert!(sights.all().0.is_empty());
        assert_eq!(sights.inner().watched.len(), 0);
    }
}
