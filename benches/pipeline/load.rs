//! Load on a webhook endpoint: a closed loop over kept connections, with the time that each acknowledgement took.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::signature::sign_meta;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;

use crate::simulated::{self, Http};

/// Deliveries under way at a time.
const AT_ONCE: usize = 64;

/// A delivery of Meta, signed.
pub(crate) struct Delivery {
    body: Bytes,
    signature: String,
}

/// How a server took its load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Acknowledgements.
    pub(crate) deliveries: usize,
    /// From the first delivery to the last acknowledgement.
    pub(crate) elapsed: Duration,
    /// The time that half of the acknowledgements took at most.
    pub(crate) p50: Duration,
    /// The time that 99 of 100 acknowledgements took at most.
    pub(crate) p99: Duration,
}

impl Delivery {
    /// Signs a body as Meta does.
    pub(crate) fn sign(secret: &str, body: Bytes) -> Self {
        Self {
            signature: sign_meta(secret.as_bytes(), &body),
            body,
        }
    }

    async fn post(&self, http: &Http, url: &str) -> anyhow::Result<()> {
        let request = Request::post(url)
            .header("content-type", "application/json")
            .header("x-hub-signature-256", &self.signature)
            .body(Full::new(self.body.clone()))?;
        let response = http.request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        anyhow::ensure!(
            status == hyper::StatusCode::OK,
            "a delivery was answered {status}"
        );
        Ok(())
    }
}

/// Posts all deliveries as quickly as they are acknowledged.
pub(crate) async fn run(url: &str, deliveries: &Arc<[Delivery]>) -> anyhow::Result<Taken> {
    let (http, next) = (simulated::http(), Arc::new(AtomicUsize::new(0)));
    let started = Instant::now();
    let posters = (0..AT_ONCE).map(|_| {
        tokio::spawn(post_next(
            http.clone(),
            url.to_owned(),
            Arc::clone(deliveries),
            Arc::clone(&next),
        ))
    });
    let mut times = Vec::with_capacity(deliveries.len());
    for poster in futures_util::future::try_join_all(posters).await? {
        times.extend(poster?);
    }
    let elapsed = started.elapsed();
    anyhow::ensure!(!times.is_empty(), "there was nothing to deliver");
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    Ok(Taken {
        deliveries: times.len(),
        elapsed,
        p50: at(50),
        p99: at(99),
    })
}

async fn post_next(
    http: Http,
    url: String,
    deliveries: Arc<[Delivery]>,
    next: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while let Some(delivery) = deliveries.get(next.fetch_add(1, Ordering::Relaxed)) {
        let from = Instant::now();
        delivery.post(&http, &url).await?;
        times.push(from.elapsed());
    }
    Ok(times)
}
