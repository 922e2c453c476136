//! `POST /webhooks/relay`: deliveries from a relay, each attempt signed, timed and used once.

use std::time::Instant;

use bytes::Bytes;
use domain::hop::{HopHeaders, verify_hop};
use futures_util::Stream;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter as _, Reply as _};

use super::Webhooks;
use super::metrics::Door;
use super::refusal::Refusal;
use crate::api::error::{ApiError, Code};

/// What became of a delivery of a relay.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It is stored, and something of it was new.
    Stored,
    /// All of it was known already; nothing was done.
    Duplicate,
}

/// The answer to a relay.
#[derive(Serialize, ToSchema)]
pub(crate) struct Taken {
    /// What became of the delivery. In both cases it is safe, and the relay may forget it.
    outcome: Outcome,
}

/// The headers of one attempt, as they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    id: Option<String>,
    timestamp: Option<String>,
    nonce: Option<String>,
    signature: Option<String>,
}

/// The route that a relay calls.
pub(super) fn routes(webhooks: Webhooks) -> BoxedFilter<(Response,)> {
    let with = warp::any().map(move || webhooks.clone());
    let attempt = warp::header::optional("webhook-id")
        .and(warp::header::optional("webhook-timestamp"))
        .and(warp::header::optional("webhook-nonce"))
        .and(warp::header::optional("webhook-signature"))
        .map(|id, timestamp, nonce, signature| Attempt {
            id,
            timestamp,
            nonce,
            signature,
        });
    warp::path!("webhooks" / "relay")
        .and(warp::post())
        .and(warp::header::optional::<u64>("content-length"))
        .and(attempt)
        .and(warp::body::stream())
        .and(with)
        .then(deliver_stream)
        .boxed()
}

/// Takes a delivery of a relay. 200 means stored or known; after anything else the relay tries again, with a new nonce and timestamp.
#[utoipa::path(post, path = "/webhooks/relay", tag = "webhooks", request_body(content = Object),
    params(("webhook-id" = String, Header, description = "The delivery: the same in each attempt"),
        ("webhook-timestamp" = String, Header, description = "When this attempt was made, in seconds since 1970"),
        ("webhook-nonce" = String, Header, description = "This attempt and no other: 16 to 128 letters, digits, `_`, `-`"),
        ("webhook-signature" = String, Header,
            description = "`v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.nonce.body`; several, separated by spaces")),
    responses((status = 200, body = Taken, description = "Stored, or known already"),
        (status = 401, description = "Not signed by the relay, or more than 300 s off"),
        (status = 404, description = "No relay's key is set here"),
        (status = 408, description = "The body came in too slowly"),
        (status = 409, description = "The nonce was used before (`replay_detected`); nothing was done"),
        (status = 413, description = "More than 3 MB, or more than 1,000 updates"),
        (status = 503, description = "Not stored, or nonces cannot be checked")))]
pub(crate) async fn deliver(attempt: Attempt, body: Bytes, webhooks: Webhooks) -> Response {
    match webhooks.take_from_relay(&attempt, &body).await {
        Ok(outcome) => warp::reply::json(&Taken { outcome }).into_response(),
        Err(refusal) => webhooks.refuse(Door::Relay, refusal),
    }
}

async fn deliver_stream<B: warp::Buf>(
    length: Option<u64>,
    attempt: Attempt,
    body: impl Stream<Item = Result<B, warp::Error>>,
    webhooks: Webhooks,
) -> Response {
    if webhooks.hop_keys().is_empty() {
        let detail = "no relay is expected here; webhooks.relay_key_file names its key";
        return ApiError::new(Code::NotFound, detail).into_response();
    }
    let (begun, metrics) = (Instant::now(), webhooks.metrics.clone());
    let response = match webhooks.room.take(length, body).await {
        Ok(body) => deliver(attempt, body.bytes.clone(), webhooks).await,
        Err(refusal) => webhooks.refuse(Door::Relay, refusal),
    };
    if response.status() == StatusCode::OK {
        metrics.acknowledged(Door::Relay, begun.elapsed());
    }
    response
}

impl Webhooks {
    /// Signature, then time, then nonce: only whoever knows a key can use up a nonce, or learn that one was used.
    async fn take_from_relay(&self, attempt: &Attempt, body: &[u8]) -> Result<Outcome, Refusal> {
        let headers = HopHeaders {
            id: attempt.id.as_deref(),
            timestamp: attempt.timestamp.as_deref(),
            nonce: attempt.nonce.as_deref(),
            signature: attempt.signature.as_deref(),
        };
        let hop = verify_hop(&self.hop_keys(), headers, body, Timestamp::now()).map_err(Refusal::Hop)?;
        match self.nonces.claim(hop.nonce).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(
                    webhook.id = hop.id,
                    "an attempt of the relay was replayed; nothing was done"
                );
                return Err(Refusal::Replay);
            }
            Err(error) => {
                tracing::warn!(%error, "nonces cannot be checked; the relay keeps its deliveries");
                return Err(Refusal::NoncesAway);
            }
        }
        let was_new = self.receive(Door::Relay, body).await?;
        Ok(if was_new {
            Outcome::Stored
        } else {
            Outcome::Duplicate
        })
    }
}
