//! What stands in front of every handler: how much is let in at once, how often a key may call, how often an address may show a
//! wrong key.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;
use warp::http::HeaderMap;

use super::call;
use super::error::{ApiError, Code};
use super::route_table::RouteTable;
use crate::config;
use crate::storage::Redis;
use crate::storage::request_limits::{Allowance, RequestLimits, Taken};

/// Counts of what was turned away.
#[derive(Clone, Debug, Default)]
struct Metrics {
    shed: Counter,
    limited: Counter,
    wrong_keys: Counter,
    undocumented: Counter,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let counters = [
            (
                "malote_api_requests_shed",
                "API requests answered 503 because too many were in flight",
                &metrics.shed,
            ),
            (
                "malote_api_requests_limited",
                "API requests answered 429 because their key called too often",
                &metrics.limited,
            ),
            (
                "malote_api_wrong_keys",
                "Requests that showed a key which is unknown, expired or revoked",
                &metrics.wrong_keys,
            ),
            (
                "malote_api_undocumented_answers",
                "Answers with a status that the API's document does not name; a fault of ours",
                &metrics.undocumented,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        metrics
    }
}

/// The guard of one process. Clones share it.
#[derive(Clone)]
pub struct Guard {
    limits: RequestLimits,
    per_key: Allowance,
    wrong_keys: Allowance,
    in_flight: Arc<Semaphore>,
    trusted_proxies: Arc<[IpAddr]>,
    metrics: Metrics,
    pub(super) routes: Arc<RouteTable>,
}

impl Guard {
    /// Makes the guard that the settings describe.
    pub fn new(settings: &config::Api, redis: Redis, registry: &mut Registry) -> Self {
        Self {
            limits: RequestLimits::new(redis),
            per_key: Allowance::per_second(settings.requests_per_second, settings.requests_at_once),
            wrong_keys: Allowance {
                interval_ns: settings.wrong_key_every_ms.max(1) * 1_000_000,
                burst: settings.wrong_keys_at_once,
            },
            in_flight: Arc::new(Semaphore::new(settings.in_flight_most)),
            trusted_proxies: settings.trusted_proxies.as_slice().into(),
            metrics: Metrics::register(registry),
            routes: Arc::new(RouteTable::read()),
        }
    }

    /// Lets a request in until the permit is dropped, or refuses it because too many are in flight.
    pub(super) fn let_in(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.in_flight).try_acquire_owned().map_err(|_| {
            self.metrics.shed.inc();
            ApiError::new(
                Code::Overloaded,
                "too many requests are in flight here; nothing was done; try again",
            )
        })
    }

    /// Counts a request of a key, and tells the call under way what is left.
    pub(super) async fn count(&self, key: Uuid) -> Result<(), ApiError> {
        let taken = self.limits.take(&format!("key:{key}"), self.per_key).await;
        if let Some(call) = call::current() {
            let _ = call.allowance.set((self.per_key, taken));
        }
        if taken.fits {
            return Ok(());
        }
        self.metrics.limited.inc();
        let detail = format!(
            "this key may call {} times at once and then as fast as its limit refills; wait for Retry-After seconds",
            self.per_key.burst
        );
        Err(ApiError::new(Code::RateLimited, detail).retry_after(seconds(taken)))
    }

    /// Counts a wrong key of the call under way. Past the limit of its address it is told to wait, and nothing is written about it.
    pub(super) async fn count_wrong_key(&self) -> Result<(), ApiError> {
        self.metrics.wrong_keys.inc();
        let Some(call) = call::current() else {
            return Ok(());
        };
        let name = format!("wrong-keys:{}", network(call.from));
        let taken = self.limits.take(&name, self.wrong_keys).await;
        if taken.fits {
            return Ok(());
        }
        let detail = "too many wrong keys came from this address; keys that are right are still let in";
        Err(ApiError::new(Code::TooManyWrongKeys, detail).retry_after(seconds(taken)))
    }

    /// Counts an answer that the document does not name.
    pub(super) fn count_undocumented(&self, operation: &str, status: u16) {
        self.metrics.undocumented.inc();
        tracing::error!(
            operation,
            status,
            "an answer that the API's document does not name"
        );
    }

    /// Tells where a request comes from: the peer, or what the proxies that we trust say of it.
    pub(super) fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let named = headers.get_all("x-forwarded-for").iter();
        let named = named.filter_map(|value| value.to_str().ok());
        origin(&self.trusted_proxies, peer, named)
    }
}

fn origin<'a>(trusted: &[IpAddr], peer: IpAddr, named: impl Iterator<Item = &'a str>) -> IpAddr {
    let peer = peer.to_canonical();
    let named: Vec<&str> = named.flat_map(|value| value.split(',')).collect();
    // From the right: what stands left of the first stranger is hearsay.
    let named = named.iter().rev().map_while(|text| text.trim().parse().ok());
    let mut known = std::iter::once(peer).chain(named.map(|address: IpAddr| address.to_canonical()));
    let stranger = known.find(|address| !trusted.contains(address));
    stranger.unwrap_or(peer)
}

/// What counts as one address: of IPv6 its /64, of which anybody has as many addresses as they like.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

fn seconds(taken: Taken) -> u64 {
    taken.retry_after.as_secs_f64().ceil().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_proxies_that_are_trusted_say_where_a_request_comes_from() {
        let trusted = [address("10.0.0.1"), address("10.0.0.2")];
        let told = |peer, named: &[&str]| origin(&trusted, address(peer), named.iter().copied()).to_string();
        assert_eq!(told("203.0.113.9", &["198.51.100.7"]), "203.0.113.9");
        assert_eq!(told("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(told("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        // What the caller wrote itself stands left of what our proxies added.
        assert_eq!(
            told("10.0.0.1", &["127.0.0.1, 198.51.100.7", "10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(told("10.0.0.1", &["198.51.100.7, nonsense"]), "10.0.0.1");
        assert_eq!(told("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        assert_eq!(
            network(address("2001:db8::1")),
            network(address("2001:db8::ffff:2"))
        );
        assert_ne!(
            network(address("2001:db8::1")),
            network(address("2001:db8:0:1::1"))
        );
        assert_ne!(network(address("192.0.2.1")), network(address("192.0.2.2")));
    }
}
