//! The two listeners and what each serves.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter as _, Rejection, Reply as _};

use super::context::Context;
use super::error::{ApiError, Code};
use super::listener::{self, Door};
use super::{
    admin, billing, campaigns, connections, dead_letters, docs, health, idempotency, messages, senders,
    suppressions, templates,
};
use crate::telemetry::Metrics;
use crate::webhooks::{self, Webhooks};

/// How long requests on the internal listener may take to end; nobody else is served any more by then.
const INTERNAL_DRAIN: Duration = Duration::from_secs(1);

/// When the listeners close. Each finishes its requests under way.
#[derive(Clone, Debug)]
pub struct Closing {
    /// Ends the public listener.
    pub stop: CancellationToken,
    /// How long its requests may take to end.
    pub drain: Duration,
    /// Ends the internal listener, which shows health and metrics until everything else has stopped.
    pub gone: CancellationToken,
}

/// Serves the public and the internal listener; gives the two, to be awaited each by itself.
pub fn serve(
    context: Context,
    has_api: bool,
    webhooks: Option<Webhooks>,
    (public, internal): (TcpListener, TcpListener),
    closing: Closing,
) -> (impl Future<Output = ()> + Send, impl Future<Output = ()> + Send) {
    let known = health::Last::default();
    let mut outside = health::routes(&context, &known);
    let mut inside = health::routes(&context, &known)
        .or(metrics(&context))
        .unify()
        .boxed();
    if has_api {
        outside = outside.or(tenants(&context)).unify().boxed();
        inside = inside.or(admin::routes(&context)).unify().boxed();
    }
    if let Some(webhooks) = webhooks {
        // First: there are more webhooks than anything else.
        outside = webhooks::routes(webhooks).or(outside).unify().boxed();
    }
    let door = |routes| Door::new(routes, &context, context.app_system.clone());
    let (outside, inside) = (door(outside), door(inside));
    let (stop, database) = (closing.stop.clone(), context.app_system.clone());
    let watching = health::watch(context, known, closing.stop.clone());
    let outside = async move {
        let sweeping = async {
            if has_api {
                idempotency::sweep(database, stop).await;
            }
        };
        tokio::join!(
            listen(outside, public, closing.stop, closing.drain),
            sweeping,
            watching
        );
    };
    (outside, listen(inside, internal, closing.gone, INTERNAL_DRAIN))
}

/// Serves plain routes until `stop`, without the guard and the headers of the API; then finishes the requests under way, for `drain`
/// at most. Answers a problem where there is no route.
pub(crate) async fn serve_routes(
    routes: BoxedFilter<(Response,)>,
    listener: TcpListener,
    stop: CancellationToken,
    drain: Duration,
) {
    let routes = routes.recover(refuse).unify().boxed();
    let answer = move |_, request| listener::answer(routes.clone(), request);
    let listening = connections::accept(listener, stop.clone(), answer);
    cut_off(listening, stop, drain).await;
}

async fn listen(door: Door, listener: TcpListener, stop: CancellationToken, drain: Duration) {
    cut_off(door.listen(listener, stop.clone()), stop, drain).await;
}

/// Ends what listens, `drain` after `stop` at the latest.
async fn cut_off(listening: impl Future<Output = ()>, stop: CancellationToken, drain: Duration) {
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        () = listening => {}
        () = overdue => tracing::warn!(?drain, "requests were still under way and were cut off"),
    }
}

fn tenants(context: &Context) -> BoxedFilter<(Response,)> {
    docs::routes()
        .or(messages::routes(context))
        .unify()
        .boxed()
        .or(campaigns::routes(context))
        .unify()
        .boxed()
        .or(senders::routes(context))
        .unify()
        .boxed()
        .or(templates::routes(context))
        .unify()
        .boxed()
        .or(suppressions::routes(context))
        .unify()
        .boxed()
        .or(dead_letters::routes(context))
        .unify()
        .boxed()
        .or(billing::routes(context))
        .unify()
        .boxed()
}

fn metrics(context: &Context) -> BoxedFilter<(Response,)> {
    let metrics = context.shown.clone();
    warp::path!("metrics")
        .and(warp::get())
        .map(move || show_metrics(&metrics))
        .boxed()
}

/// Shows the process's metrics as OpenMetrics; on the internal listener only.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(super) fn show_metrics(metrics: &Metrics) -> Response {
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    warp::reply::with_header(metrics.text(), "content-type", form).into_response()
}

/// Marks an answer: this listener has no such path.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoSuchPath;

/// Makes a problem of whatever no route took.
pub(super) async fn refuse(rejection: Rejection) -> Result<Response, std::convert::Infallible> {
    let problem = if let Some(error) = rejection.find::<ApiError>() {
        error.clone()
    } else if rejection.is_not_found() {
        let problem = ApiError::new(Code::NotFound, "there is no such path; /docs lists all of them");
        let mut response = problem.into_response();
        response.extensions_mut().insert(NoSuchPath);
        return Ok(response);
    } else if let Some(header) = rejection.find::<warp::reject::InvalidHeader>() {
        // Before the method: another route of the path may have wanted another one.
        let detail = format!("the header {} cannot be read", header.name());
        ApiError::new(Code::Malformed, detail)
    } else if rejection.find::<warp::reject::InvalidQuery>().is_some() {
        ApiError::new(Code::Malformed, "the query cannot be read, or lacks a parameter")
    } else if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        ApiError::new(
            Code::MethodNotAllowed,
            "this path takes other methods; /docs lists them",
        )
    } else if rejection.find::<warp::reject::PayloadTooLarge>().is_some() {
        ApiError::new(Code::TooLarge, "the body is too large")
    } else if rejection.find::<warp::reject::LengthRequired>().is_some() {
        ApiError::new(Code::Malformed, "a Content-Length is needed")
    } else {
        tracing::warn!(?rejection, "a request was not understood");
        ApiError::new(Code::Malformed, "the request is not understood")
    };
    Ok(problem.into_response())
}
