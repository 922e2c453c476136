//! `GET` and `POST /webhooks/meta`: Meta's handshake and its deliveries.

use bytes::Bytes;
use domain::signature::verify_meta;
use jiff::Timestamp;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use utoipa::IntoParams;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};

use super::Webhooks;
use super::payload::{Delivery, Sorted};
use super::store::Rows;
use crate::storage::StorageError;

/// Bytes of one delivery (Meta's own bound is 3 MB).
const DELIVERY_MOST: u64 = 3 * 1024 * 1024;

/// What Meta asks when the webhook is set up.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Handshake {
    /// `subscribe`.
    #[serde(rename = "hub.mode")]
    mode: String,
    /// What was agreed on.
    #[serde(rename = "hub.verify_token")]
    verify_token: String,
    /// What to answer.
    #[serde(rename = "hub.challenge")]
    challenge: String,
}

/// The routes that Meta calls.
pub fn routes(webhooks: Webhooks) -> BoxedFilter<(Response,)> {
    let with = warp::any().map(move || webhooks.clone());
    let handshake = warp::path!("webhooks" / "meta")
        .and(warp::get())
        .and(warp::query::<Handshake>())
        .and(with.clone())
        .map(handshake)
        .boxed();
    let delivery = warp::path!("webhooks" / "meta")
        .and(warp::post())
        .and(warp::body::content_length_limit(DELIVERY_MOST))
        .and(warp::header::optional::<String>("x-hub-signature-256"))
        .and(warp::body::bytes())
        .and(with)
        .then(deliver)
        .boxed();
    handshake.or(delivery).unify().boxed()
}

/// Answers Meta's handshake when the webhook is set up.
#[utoipa::path(get, path = "/webhooks/meta", tag = "webhooks", params(Handshake),
    responses((status = 200, body = String, content_type = "text/plain", description = "The challenge"),
        (status = 403, body = String, content_type = "text/plain", description = "The verify token is not ours")))]
pub(crate) fn handshake(asked: Handshake, webhooks: Webhooks) -> Response {
    webhooks.shake_hands(&asked)
}

/// Takes a delivery of Meta. 200 means stored: whatever else is answered, Meta repeats it.
#[utoipa::path(post, path = "/webhooks/meta", tag = "webhooks", request_body(content = Object),
    params(("X-Hub-Signature-256" = String, Header, description = "HMAC-SHA-256 of the bytes under the app secret")),
    responses((status = 200, description = "Stored"),
        (status = 400, body = String, content_type = "text/plain", description = "Not a delivery of Meta"),
        (status = 401, body = String, content_type = "text/plain", description = "Not signed by Meta"),
        (status = 503, body = String, content_type = "text/plain", description = "Not stored")))]
pub(crate) async fn deliver(signature: Option<String>, body: Bytes, webhooks: Webhooks) -> Response {
    webhooks.receive(signature.as_deref(), &body).await
}

impl Webhooks {
    fn shake_hands(&self, asked: &Handshake) -> Response {
        let knows = asked
            .verify_token
            .as_bytes()
            .ct_eq(self.verify_token.expose().as_bytes());
        if asked.mode == "subscribe" && bool::from(knows) {
            asked.challenge.clone().into_response()
        } else {
            answer(StatusCode::FORBIDDEN, "the verify token is not ours")
        }
    }

    async fn receive(&self, signature: Option<&str>, body: &[u8]) -> Response {
        let secrets: Vec<&[u8]> = self
            .secrets
            .iter()
            .map(|secret| secret.expose().as_bytes())
            .collect();
        if let Err(error) = verify_meta(&secrets, signature, body) {
            self.metrics.refused.inc();
            return answer(StatusCode::UNAUTHORIZED, &error.to_string());
        }
        let delivery: Delivery<'_> = match serde_json::from_slice(body) {
            Ok(delivery) => delivery,
            Err(error) => {
                self.metrics.refused.inc();
                return answer(
                    StatusCode::BAD_REQUEST,
                    &format!("the body is not a delivery of Meta: {error}"),
                );
            }
        };
        match self.keep(&delivery).await {
            Ok(()) => {
                self.metrics.accepted.inc();
                StatusCode::OK.into_response()
            }
            Err(error) => {
                self.metrics.unavailable.inc();
                tracing::warn!(%error, "a delivery of Meta was not stored; Meta will repeat it");
                answer(StatusCode::SERVICE_UNAVAILABLE, "not stored; come again")
            }
        }
    }

    async fn keep(&self, delivery: &Delivery<'_>) -> Result<(), StorageError> {
        let now = Timestamp::now();
        let mut rows = Rows {
            statuses: Vec::new(),
            others: Vec::new(),
        };
        for entry in &delivery.entry {
            for change in &entry.changes {
                let sorted = Sorted::read(change);
                let sender = match &sorted.phone_number_id {
                    Some(number) => self.senders.by_phone_number_id(number).await?,
                    None => None,
                };
                let (statuses, others) = sorted.rows(sender.map(|sender| sender.tenant), entry, change, now);
                rows.statuses.extend(statuses);
                rows.others.extend(others);
            }
        }
        self.store.store(rows).await
    }
}

fn answer(status: StatusCode, text: &str) -> Response {
    warp::reply::with_status(text.to_owned(), status).into_response()
}
