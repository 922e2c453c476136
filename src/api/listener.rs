//! The API's door: requests with a place in the queue, answers with the headers that all of them have.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue};
use warp::http::{Request, StatusCode};
use warp::reply::Response;

use super::audit;
use super::call::{self, Call};
use super::connections;
use super::context::Context;
use super::error::ApiError;
use super::guard::Guard;
use super::metrics::Metrics;
use super::route_table::Operation;
use super::server::{NoSuchPath, refuse};
use crate::storage::Database;

/// What serves the requests of one listener. Clones share it.
#[derive(Clone)]
pub(super) struct Door {
    routes: BoxedFilter<(Response,)>,
    guard: Guard,
    audit_log: Database,
    metrics: Metrics,
}

impl Door {
    /// Serves `routes` behind the guard.
    pub(super) fn new(routes: BoxedFilter<(Response,)>, context: &Context, audit_log: Database) -> Self {
        Self {
            routes,
            guard: context.guard.clone(),
            audit_log,
            metrics: context.metrics.clone(),
        }
    }

    /// Takes connections until `stop`, then waits for the requests under way.
    pub(super) async fn listen(self, listener: TcpListener, stop: CancellationToken) {
        let answer = move |peer, request| {
            let door = self.clone();
            async move { door.answer(peer, request).await }
        };
        connections::accept(listener, stop, answer).await;
    }

    async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Response {
        let begun = Instant::now();
        let call = Arc::new(Call::from(self.guard.origin(peer, request.headers())));
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let mut response = match self.place(&path) {
            Ok(_place) => {
                let answered = answer(self.routes.clone().recover(refuse).unify().boxed(), request);
                let response = call::under(Arc::clone(&call), answered).await;
                audit::finish(&self.audit_log, &call, response.status()).await;
                response
            }
            Err(overloaded) => overloaded.into_response(),
        };
        let mut operation = None;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            // No operation was called, though the path may look like one with an id in the word's place.
            put(&mut response, ALLOW, &self.guard.routes.allowed(&path));
        } else if response.extensions().get::<NoSuchPath>().is_none() {
            operation = self.guard.routes.find(method.as_str(), &path);
            self.compare_with_document(operation, (method.as_str(), &path), response.status());
        }
        let (status, asked) = (response.status(), (&method, path.as_str()));
        self.metrics.answered(operation, asked, status, begun.elapsed());
        dress(&mut response, &call);
        response
    }

    /// A place for a request of a tenant. Webhooks, health, metrics and operators need none: they are served first.
    fn place(&self, path: &str) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, ApiError> {
        if path.starts_with("/v1/") {
            self.guard.let_in().map(Some)
        } else {
            Ok(None)
        }
    }

    fn compare_with_document(
        &self,
        operation: Option<&Operation>,
        (method, path): (&str, &str),
        status: StatusCode,
    ) {
        let undocumented = match operation {
            Some(operation) if operation.answers(status.as_u16()) => return,
            Some(operation) => operation.name(),
            None if status.is_success() && !is_undocumented_on_purpose(path) => format!("{method} {path}"),
            None => return,
        };
        self.guard.count_undocumented(&undocumented, status.as_u16());
    }
}

/// What the routes answer to a request.
pub(super) async fn answer(routes: BoxedFilter<(Response,)>, request: Request<Incoming>) -> Response {
    let Ok(response) = TowerToHyperService::new(warp::service(routes))
        .call(request)
        .await;
    response
}

/// The document itself, its page, and the faults of the tests' builds.
fn is_undocumented_on_purpose(path: &str) -> bool {
    path == "/docs" || path == "/openapi.json" || path.starts_with("/admin/v1/faults")
}

/// Gives an answer the headers that every answer has, unless the handler said otherwise.
fn dress(response: &mut Response, call: &Call) {
    let defaults = [
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        // Keys are shown once, and whose rows these are is nobody else's business.
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in defaults {
        let value = HeaderValue::from_static(value);
        response.headers_mut().entry(name).or_insert(value);
    }
    put(
        response,
        HeaderName::from_static("x-request-id"),
        &call.id.to_string(),
    );
    if let Some((allowance, taken)) = call.allowance.get() {
        let seconds = taken.reset_after.as_secs_f64().ceil();
        let told = [
            ("ratelimit-limit", allowance.burst.to_string()),
            ("ratelimit-remaining", taken.remaining.to_string()),
            ("ratelimit-reset", format!("{seconds:.0}")),
        ];
        for (name, value) in told {
            put(response, HeaderName::from_static(name), &value);
        }
    }
}

fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
