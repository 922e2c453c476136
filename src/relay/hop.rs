//! One attempt of the hop to the core: signed anew each time, and what the core's answer means.

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
use uuid::Uuid;

use super::spool::Record;
use crate::causes::causes;
use crate::config::{SecretName, Secrets};

/// How long one attempt may take in all.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(15);
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
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
    pub(super) const fn concerns_all(&self) -> bool {
        matches!(self, Self::Away(_) | Self::NotBelieved(_))
    }
}

/// The hop to the core. Clones share connections.
#[derive(Clone)]
pub(super) struct Hop {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    target: Uri,
    secrets: Secrets,
}

impl Hop {
    /// Makes a hop to the core's door for relays. The key is asked for at each attempt, because it may be renewed while we run.
    pub(super) fn to(target: &str, secrets: Secrets) -> anyhow::Result<Self> {
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
        Ok(Self {
            http,
            target,
            secrets,
        })
    }

    /// Makes one attempt.
    pub(super) async fn attempt(&self, record: &Record) -> Result<Forwarded, Failed> {
        let away = |error: &dyn std::fmt::Display| Failed::Away(error.to_string());
        let exchange = async {
            let answer = self
                .http
                .request(self.sign(record)?)
                .await
                .map_err(|error| away(&causes(&error)))?;
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

    /// The key that signs now.
    fn key(&self) -> Result<HopKey, Failed> {
        let unusable = |problem: String| Failed::NotBelieved(format!("the key cannot be used: {problem}"));
        let secret = self.secrets.get(SecretName::EdgeKey);
        let secret = secret.map_err(|error| unusable(error.to_string()))?;
        HopKey::parse(secret.expose()).map_err(|error| unusable(error.to_string()))
    }

    fn sign(&self, record: &Record) -> Result<Request<Full<Bytes>>, Failed> {
        let (id, now) = (record.id.simple().to_string(), Timestamp::now());
        let nonce = Uuid::now_v7().simple().to_string();
        let signature = sign_hop(&self.key()?, &id, now, &nonce, &record.body);
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
        let key = || Secrets::fixed(&[(SecretName::EdgeKey, "the key of the relay in this test")]);
        for target in ["", "core", "ftp://core/webhooks/relay", "/webhooks/relay"] {
            assert!(Hop::to(target, key()).is_err(), "{target}");
        }
        assert!(Hop::to("https://core.internal/webhooks/relay", key()).is_ok());
    }

    #[test]
    fn each_attempt_is_signed_anew() {
        let key = Secrets::fixed(&[(SecretName::EdgeKey, "the key of the relay in this test")]);
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
