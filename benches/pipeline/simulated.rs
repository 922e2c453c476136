//! The simulated Meta of both sides, and what is said to it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use simulator::config::{Config, WebhookLatency};

use crate::rows::Claim;

/// Statuses of one message: sent and delivered.
pub(crate) const STATUSES: usize = 2;
/// Requests to the callback at a time.
const WEBHOOKS_AT_ONCE: usize = 128;
/// The rate of the bare loop's number, in messages per second: more than there will be.
const NO_LIMIT: u32 = 1_000_000;

/// A client over kept connections.
pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

/// Makes a client over kept connections.
pub(crate) fn http() -> Http {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(tcp)
}

/// A perfect Meta that reports quickly, one status a request, and never that a message was read.
pub(crate) fn settings() -> Config {
    Config {
        number_rate: NO_LIMIT,
        read_share: 0.0,
        webhook_batch: 1,
        webhook_concurrency: WEBHOOKS_AT_ONCE,
        webhook_latency: WebhookLatency {
            sent: Duration::from_millis(20),
            delivered: Duration::from_millis(60),
            read: Duration::from_secs(1),
            jitter: 0.5,
        },
        ..Config::for_tests()
    }
}

#[derive(Deserialize)]
struct Accepted {
    messages: Vec<AcceptedMessage>,
}

#[derive(Deserialize)]
struct AcceptedMessage {
    id: String,
}

/// Posts one message as Malote would write it and gives Meta's id of it, and when it came.
pub(crate) async fn post(http: &Http, url: &str, claim: &Claim) -> anyhow::Result<(String, Instant)> {
    let body = format!(
        concat!(
            r#"{{"messaging_product":"whatsapp","recipient_type":"individual","to":"{}","#,
            r#""biz_opaque_callback_data":"{}","type":"template","template":{{"name":"order_update","#,
            r#""language":{{"code":"en_US"}},"components":[{{"type":"body","parameters":["#,
            r#"{{"type":"text","text":"Contact {}"}}]}}]}}}}"#
        ),
        claim.recipient,
        claim.attempt,
        &claim.recipient[5..]
    );
    let request = Request::post(url)
        .header("authorization", "Bearer a-token-of-the-trial")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = http.request(request).await?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    anyhow::ensure!(
        status.is_success(),
        "{status}: {}",
        String::from_utf8_lossy(&answer)
    );
    let accepted: Accepted = serde_json::from_slice(&answer)?;
    let message = accepted.messages.into_iter().next();
    Ok((message.context("an answer without a message")?.id, Instant::now()))
}
