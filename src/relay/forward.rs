//! Forwarding: each delivery until the core has it, signed anew in each attempt. A core that is away is asked by one attempt at a time,
//! less and less often; one delivery that it refuses holds up no other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use domain::hop::{HopKey, sign_hop};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::metrics::Metrics;
use super::spool::{Key, Record, Spool};

/// How long one attempt may take in all.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(15);
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// The wait after the first attempt that found the core away; it doubles.
const AWAY_FIRST: Duration = Duration::from_millis(100);
/// The longest wait while the core is away.
const AWAY_LONGEST: Duration = Duration::from_secs(10);
/// The wait before a delivery that the core refused is tried again.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const ANSWER_MOST: usize = 64 * 1024;

/// What the core said of a delivery that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarded {
    /// Something of it was new.
    Stored,
    /// It had all of it.
    Duplicate,
}

impl Forwarded {
    /// Every value.
    pub(super) const ALL: [Self; 2] = [Self::Stored, Self::Duplicate];

    /// Its name in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Why an attempt did not succeed. The delivery is safe on our disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failed {
    /// There was no answer, or one that says that the core cannot work now.
    #[error("the core is away: {0}")]
    Away(String),
    /// The core does not believe us: the key, or a clock.
    #[error(
        "the core does not believe this relay (relay.key_file, webhooks.relay_key_file, the clocks): {0}"
    )]
    NotBelieved(String),
    /// The core does not take this delivery.
    #[error("the core refused a delivery: {0}")]
    Refused(String),
}

impl Failed {
    /// Every reason, as metrics name it.
    pub(super) const REASONS: [&'static str; 3] = ["away", "not_believed", "refused"];

    /// The reason, as metrics name it.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::NotBelieved(_) => "not_believed",
            Self::Refused(_) => "refused",
        }
    }

    /// Tells whether every other delivery would fare the same.
    const fn concerns_all(&self) -> bool {
        matches!(self, Self::Away(_) | Self::NotBelieved(_))
    }
}

/// The hop to the core. Clones share connections.
#[derive(Clone)]
pub(super) struct Hop {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    target: Uri,
    key: HopKey,
}

impl Hop {
    /// Makes a hop to the core's door for relays.
    pub(super) fn to(target: &str, key: HopKey) -> anyhow::Result<Self> {
        let target: Uri = target.parse().with_context(|| target.to_owned())?;
        let is_whole = matches!(target.scheme_str(), Some("http" | "https")) && target.authority().is_some();
        anyhow::ensure!(
            is_whole,
            "{target:?} is no address such as https://core.internal/webhooks/relay"
        );
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        // Never repeated below us: an attempt counts once.
        let http = Client::builder(TokioExecutor::new())
            .retry_canceled_requests(false)
            .build(connector);
        Ok(Self { http, target, key })
    }

    /// Makes one attempt.
    pub(super) async fn attempt(&self, record: &Record) -> Result<Forwarded, Failed> {
        let away = |error: &dyn std::fmt::Display| Failed::Away(error.to_string());
        let exchange = async {
            let answer = self
                .http
                .request(self.sign(record)?)
                .await
                .map_err(|error| away(&describe(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_MOST).collect().await;
            let body = body.map_err(|error| away(&error))?.to_bytes();
            read_answer(status, &body)
        };
        match tokio::time::timeout(ATTEMPT_WITHIN, exchange).await {
            Ok(answered) => answered,
            Err(_) => Err(Failed::Away(format!("no answer within {ATTEMPT_WITHIN:?}"))),
        }
    }

    fn sign(&self, record: &Record) -> Result<Request<Full<Bytes>>, Failed> {
        let (id, now) = (record.id.simple().to_string(), Timestamp::now());
        let nonce = Uuid::now_v7().simple().to_string();
        let signature = sign_hop(&self.key, &id, now, &nonce, &record.body);
        Request::post(self.target.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now.as_second())
            .header("webhook-nonce", nonce)
            .header("webhook-signature", signature)
            .body(Full::new(record.body.clone()))
            .map_err(|error| Failed::Refused(error.to_string()))
    }
}

fn read_answer(status: StatusCode, body: &[u8]) -> Result<Forwarded, Failed> {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = || format!("{status} {}", json["detail"].as_str().unwrap_or_default());
    match status.as_u16() {
        200 if json["outcome"] == "duplicate" => Ok(Forwarded::Duplicate),
        200 => Ok(Forwarded::Stored),
        401 => Err(Failed::NotBelieved(said())),
        404 | 408 | 429 | 501.. => Err(Failed::Away(said())),
        // 500 too: it may be a fault that this delivery alone brings about, and must not hold up the others.
        _ => Err(Failed::Refused(said())),
    }
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// How an attempt of the forwarder ended; `None` for a record that is damaged.
type Ended = (Key, Option<Result<Forwarded, Failed>>);

/// Forwards what the log holds.
pub(super) struct Forwarder {
    spool: Arc<Spool>,
    hop: Hop,
    metrics: Metrics,
    most_at_once: usize,
    /// How many attempts may be under way now: one while the core is away.
    at_once: usize,
    /// Attempts in a row that found the core away.
    in_vain: u32,
    not_before: Instant,
    refused: BinaryHeap<Reverse<(Instant, Key)>>,
}

impl Forwarder {
    pub(super) fn new(spool: Arc<Spool>, hop: Hop, metrics: Metrics, most_at_once: usize) -> Self {
        Self {
            spool,
            hop,
            metrics,
            most_at_once,
            at_once: 1,
            in_vain: 0,
            not_before: Instant::now(),
            refused: BinaryHeap::new(),
        }
    }

    /// Forwards until `stop`; then waits for the attempts under way, for `drain` at most.
    pub(super) async fn run(mut self, stop: CancellationToken, drain: Duration) {
        let mut attempts = JoinSet::new();
        while !stop.is_cancelled() {
            let may_start = Instant::now() >= self.not_before;
            while may_start && attempts.len() < self.at_once {
                let Some(key) = self.next() else { break };
                attempts.spawn(attempt(self.hop.clone(), Arc::clone(&self.spool), key));
            }
            let wake_at = self.wake_at(Instant::now());
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = attempts.join_next() => self.note(ended),
                () = self.spool.filled(), if may_start && attempts.len() < self.at_once => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
        let finishing = async {
            while let Some(ended) = attempts.join_next().await {
                self.note(ended);
            }
        };
        if tokio::time::timeout(drain, finishing).await.is_err() {
            tracing::warn!(?drain, "attempts were still under way and will be made again");
        }
    }

    /// The next delivery: one that was refused and is due again, or the oldest.
    fn next(&mut self) -> Option<Key> {
        let is_due = |Reverse((due, _)): &Reverse<(Instant, Key)>| *due <= Instant::now();
        if self.refused.peek().is_some_and(is_due) {
            return self.refused.pop().map(|Reverse((_, key))| key);
        }
        self.spool.take()
    }

    fn wake_at(&self, now: Instant) -> Instant {
        let due = self.refused.peek().map(|Reverse((due, _))| *due);
        let waits = now < self.not_before;
        let idle = now + REFUSED_AGAIN_AFTER;
        if waits {
            self.not_before
        } else {
            due.map_or(idle, |due| due.max(now + AWAY_FIRST))
        }
    }

    fn note(&mut self, ended: Result<std::io::Result<Ended>, tokio::task::JoinError>) {
        let (key, outcome) = match ended {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => {
                tracing::error!(%error, "the log cannot be read");
                return;
            }
            Err(error) => {
                tracing::error!(%error, "an attempt failed for a fault of ours");
                return;
            }
        };
        match outcome {
            None => tracing::error!("a delivery on the disk is damaged and lost; `malote relay` counts it"),
            Some(Ok(forwarded)) => {
                self.metrics.count_forwarded(forwarded);
                (self.in_vain, self.at_once) = (0, (self.at_once * 2).min(self.most_at_once));
                self.not_before = Instant::now();
                if let Err(error) = self.spool.sent(key) {
                    tracing::warn!(%error, "a delivery that was forwarded may be forwarded again");
                }
            }
            Some(Err(failed)) => self.note_failed(key, &failed),
        }
    }

    fn note_failed(&mut self, key: Key, failed: &Failed) {
        self.metrics.count_failed(failed);
        if failed.concerns_all() {
            self.spool.give_back(key);
            self.at_once = 1;
            // Those that were under way together count as one.
            if Instant::now() >= self.not_before {
                self.wait_longer(failed);
            }
        } else {
            tracing::error!(%failed, "it is kept and tried again in a minute");
            self.refused
                .push(Reverse((Instant::now() + REFUSED_AGAIN_AFTER, key)));
        }
    }
}

impl Forwarder {
    fn wait_longer(&mut self, failed: &Failed) {
        if self.in_vain == 0 {
            tracing::warn!(%failed, "deliveries wait on this disk");
        }
        let wait = AWAY_FIRST
            .saturating_mul(1 << self.in_vain.min(10))
            .min(AWAY_LONGEST);
        self.in_vain = self.in_vain.saturating_add(1);
        self.not_before = Instant::now() + wait.mul_f64(rand::random_range(0.5..1.0));
    }
}

async fn attempt(hop: Hop, spool: Arc<Spool>, key: Key) -> std::io::Result<Ended> {
    let at_work = Arc::clone(&spool);
    let read = tokio::task::spawn_blocking(move || at_work.read(key)).await;
    match read.map_err(std::io::Error::other)? {
        Ok(Some(record)) => Ok((key, Some(hop.attempt(&record).await))),
        Ok(None) => Ok((key, None)),
        Err(error) => {
            let failed = Failed::Refused(format!("the disk: {error}"));
            Ok((key, Some(Err(failed))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_core_say_what_to_do() {
        let stored = br#"{"outcome":"stored"}"#;
        let duplicate = br#"{"outcome":"duplicate"}"#;
        assert_eq!(read_answer(StatusCode::OK, stored), Ok(Forwarded::Stored));
        assert_eq!(read_answer(StatusCode::OK, duplicate), Ok(Forwarded::Duplicate));
        for (status, reason) in [
            (401, "not_believed"),
            (404, "away"),
            (408, "away"),
            (429, "away"),
            (502, "away"),
            (503, "away"),
            (500, "refused"),
            (301, "refused"),
            (400, "refused"),
            (409, "refused"),
            (413, "refused"),
        ] {
            let failed = read_answer(StatusCode::from_u16(status).unwrap(), b"{}").unwrap_err();
            assert_eq!(failed.reason(), reason, "{status}");
            assert!(Failed::REASONS.contains(&failed.reason()));
            assert_eq!(failed.concerns_all(), reason != "refused");
        }
    }

    #[test]
    fn an_address_that_cannot_be_called_is_refused_at_the_start() {
        let key = || HopKey::parse("the key of the relay in this test").unwrap();
        for target in ["", "core", "ftp://core/webhooks/relay", "/webhooks/relay"] {
            assert!(Hop::to(target, key()).is_err(), "{target}");
        }
        assert!(Hop::to("https://core.internal/webhooks/relay", key()).is_ok());
    }

    #[test]
    fn each_attempt_is_signed_anew() {
        let key = HopKey::parse("the key of the relay in this test").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let hop = Hop::to("http://core/webhooks/relay", key).unwrap();
            let record = Record {
                id: Uuid::now_v7(),
                received_at: Timestamp::now(),
                body: Bytes::from_static(b"{}"),
            };
            let (one, other) = (hop.sign(&record).unwrap(), hop.sign(&record).unwrap());
            assert_eq!(one.headers()["webhook-id"], other.headers()["webhook-id"]);
            for header in ["webhook-nonce", "webhook-signature"] {
                assert_ne!(one.headers()[header], other.headers()[header]);
            }
        });
    }
}
