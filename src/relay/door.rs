//! What the relay serves: Meta's handshake and deliveries to the world, metrics and health to the inside.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter as _, Reply as _};

use super::metrics::Metrics;
use super::spool::{Spool, SpoolError};
use crate::api::error::{ApiError, Code};
use crate::api::serve_routes;
use crate::telemetry::Metrics as Page;
use crate::webhooks::Credentials;
use crate::webhooks::body::{Room, check_updates};
use crate::webhooks::handshake::Handshake;
use crate::webhooks::refusal::Refusal;

/// What the door needs. Clones share it.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) credentials: Credentials,
    pub(super) spool: Arc<Spool>,
    pub(super) metrics: Metrics,
    pub(super) page: Page,
    pub(super) room: Room,
}

impl Door {
    /// Serves both listeners until `stop`; then finishes the requests under way, for `drain` at most.
    pub(super) async fn serve(
        self,
        public: TcpListener,
        internal: TcpListener,
        stop: CancellationToken,
        drain: Duration,
    ) {
        let (outside, inside) = (self.clone().outside(), self.inside());
        tokio::join!(
            serve_routes(outside, public, stop.clone(), drain),
            serve_routes(inside, internal, stop, drain)
        );
    }

    /// What the world may ask.
    pub(super) fn outside(self) -> BoxedFilter<(Response,)> {
        let with = warp::any().map(move || self.clone());
        let shaking = warp::path!("webhooks" / "meta")
            .and(warp::get())
            .and(warp::query::<Handshake>())
            .and(with.clone())
            .map(|asked: Handshake, door: Self| door.credentials.shake_hands(&asked))
            .boxed();
        let delivering = warp::path!("webhooks" / "meta")
            .and(warp::post())
            .and(warp::header::optional::<u64>("content-length"))
            .and(warp::header::optional::<String>("x-hub-signature-256"))
            .and(warp::body::stream())
            .and(with)
            .then(deliver)
            .boxed();
        shaking.or(delivering).unify().boxed()
    }

    /// What only the inside may ask.
    pub(super) fn inside(self) -> BoxedFilter<(Response,)> {
        let with = warp::any().map(move || self.clone());
        let metrics = warp::path!("metrics")
            .and(warp::get())
            .and(with.clone())
            .map(|door: Self| door.show_metrics())
            .boxed();
        let alive = warp::path!("healthz")
            .and(warp::get())
            .map(|| StatusCode::OK.into_response())
            .boxed();
        let ready = warp::path!("readyz")
            .and(warp::get())
            .and(with)
            .map(|door: Self| door.show_readiness())
            .boxed();
        metrics.or(alive).unify().or(ready).unify().boxed()
    }

    fn show_metrics(&self) -> Response {
        self.metrics.found(&self.spool.stats());
        let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        warp::reply::with_header(self.page.text(), "content-type", form).into_response()
    }

    fn show_readiness(&self) -> Response {
        if self.spool.has_room() {
            StatusCode::OK.into_response()
        } else {
            refuse(&SpoolError::Full)
        }
    }

    async fn take<B: warp::Buf>(
        &self,
        length: Option<u64>,
        signature: Option<&str>,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<(), Response> {
        let believed = async {
            let body = self.room.take(length, body).await?;
            self.credentials.check_signature(signature, &body.bytes)?;
            check_updates(&body.bytes)?;
            Ok(body)
        };
        let body = believed.await.map_err(|refusal: Refusal| {
            self.metrics.count_refused(&refusal);
            refusal.into_response()
        })?;
        self.spool.append(body.bytes.clone()).await.map_err(|error| {
            self.metrics.count_not_kept(&error);
            refuse(&error)
        })
    }
}

async fn deliver<B: warp::Buf>(
    length: Option<u64>,
    signature: Option<String>,
    body: impl Stream<Item = Result<B, warp::Error>>,
    door: Door,
) -> Response {
    match door.take(length, signature.as_deref(), body).await {
        Ok(()) => {
            door.metrics.count_accepted();
            StatusCode::OK.into_response()
        }
        Err(refused) => refused,
    }
}

fn refuse(error: &SpoolError) -> Response {
    ApiError::new(
        Code::Unavailable,
        format!("{error}; nothing was kept; send it again"),
    )
    .into_response()
}
