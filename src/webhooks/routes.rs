//! `GET` and `POST /webhooks/meta`: Meta's handshake and its deliveries, straight from Meta.

use std::time::Instant;

use bytes::Bytes;
use futures_util::Stream;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter as _, Reply as _};

use super::Webhooks;
use super::handshake::Handshake;
use super::metrics::Door;
use super::refusal::Refusal;
use super::relay_door;

/// The routes that Meta and the relay call, as the settings open them.
pub fn routes(webhooks: Webhooks) -> BoxedFilter<(Response,)> {
    let from_relay = relay_door::routes(webhooks.clone());
    if webhooks.is_native {
        from_meta(webhooks).or(from_relay).unify().boxed()
    } else {
        from_relay
    }
}

fn from_meta(webhooks: Webhooks) -> BoxedFilter<(Response,)> {
    let with = warp::any().map(move || webhooks.clone());
    let shaking = warp::path!("webhooks" / "meta")
        .and(warp::get())
        .and(warp::query::<Handshake>())
        .and(with.clone())
        .map(handshake)
        .boxed();
    let delivering = warp::path!("webhooks" / "meta")
        .and(warp::post())
        .and(warp::header::optional::<u64>("content-length"))
        .and(warp::header::optional::<String>("x-hub-signature-256"))
        .and(warp::body::stream())
        .and(with)
        .then(deliver_stream)
        .boxed();
    shaking.or(delivering).unify().boxed()
}

/// Answers Meta's handshake when the webhook is set up.
#[utoipa::path(get, path = "/webhooks/meta", tag = "webhooks", params(Handshake),
    responses((status = 200, body = String, content_type = "text/plain", description = "The challenge"),
        (status = 403, description = "The verify token is not ours")))]
pub(crate) fn handshake(asked: Handshake, webhooks: Webhooks) -> Response {
    webhooks.credentials.shake_hands(&asked)
}

/// Takes a delivery of Meta. 200 means stored: whatever else is answered, Meta repeats it.
#[utoipa::path(post, path = "/webhooks/meta", tag = "webhooks", request_body(content = Object),
    params(("X-Hub-Signature-256" = String, Header, description = "HMAC-SHA-256 of the bytes under the app secret")),
    responses((status = 200, description = "Stored, or known already"),
        (status = 401, description = "Not signed by Meta"),
        (status = 408, description = "The body came in too slowly"),
        (status = 413, description = "More than 3 MB, or more than 1,000 updates"),
        (status = 503, description = "Not stored")))]
pub(crate) async fn deliver(signature: Option<String>, body: Bytes, webhooks: Webhooks) -> Response {
    let believed = webhooks.credentials.check_signature(signature.as_deref(), &body);
    let kept = match believed {
        Ok(()) => webhooks.receive(Door::Native, &body).await,
        Err(refusal) => Err(refusal),
    };
    match kept {
        Ok(_) => StatusCode::OK.into_response(),
        Err(refusal) => webhooks.refuse(Door::Native, refusal),
    }
}

async fn deliver_stream<B: warp::Buf>(
    length: Option<u64>,
    signature: Option<String>,
    body: impl Stream<Item = Result<B, warp::Error>>,
    webhooks: Webhooks,
) -> Response {
    let (begun, metrics) = (Instant::now(), webhooks.metrics.clone());
    let response = match webhooks.room.take(length, body).await {
        Ok(body) => deliver(signature, body.bytes.clone(), webhooks).await,
        Err(refusal) => webhooks.refuse(Door::Native, refusal),
    };
    if response.status() == StatusCode::OK {
        metrics.acknowledged(Door::Native, begun.elapsed());
    }
    response
}

impl Webhooks {
    pub(super) fn refuse(&self, door: Door, refusal: Refusal) -> Response {
        self.metrics.count_refused(door, &refusal);
        refusal.into_response()
    }
}
