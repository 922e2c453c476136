//! The two listeners and what each serves.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter as _, Rejection, Reply as _};

use super::context::Context;
use super::error::{ApiError, Code};
use super::{
    admin, billing, campaigns, dead_letters, docs, health, messages, senders, suppressions, templates,
};
use crate::telemetry::Metrics;
use crate::webhooks::{self, Webhooks};

/// Serves both listeners until `stop`; then finishes the requests under way, for `drain` at most.
pub async fn serve(
    context: Context,
    has_api: bool,
    webhooks: Option<Webhooks>,
    public: TcpListener,
    internal: TcpListener,
    stop: CancellationToken,
    drain: Duration,
) {
    let mut outside = health::routes(&context);
    let mut inside = health::routes(&context).or(metrics(&context)).unify().boxed();
    if has_api {
        outside = outside.or(tenants(&context)).unify().boxed();
        inside = inside.or(admin::routes(&context)).unify().boxed();
    }
    if let Some(webhooks) = webhooks {
        // First: there are more webhooks than anything else.
        outside = webhooks::routes(webhooks).or(outside).unify().boxed();
    }
    let listening = async {
        tokio::join!(
            listen(outside, public, stop.clone()),
            listen(inside, internal, stop.clone())
        )
    };
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        _ = listening => {}
        () = overdue => tracing::warn!(?drain, "requests were still under way and were cut off"),
    }
}

async fn listen(routes: BoxedFilter<(Response,)>, listener: TcpListener, stop: CancellationToken) {
    let answered = routes.recover(refuse).unify();
    warp::serve(answered)
        .incoming(listener)
        .graceful(async move { stop.cancelled().await })
        .run()
        .await;
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
    let metrics = context.metrics.clone();
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

/// Makes a problem of whatever no route took.
async fn refuse(rejection: Rejection) -> Result<Response, std::convert::Infallible> {
    let problem = if let Some(error) = rejection.find::<ApiError>() {
        error.clone()
    } else if rejection.is_not_found() {
        ApiError::new(Code::NotFound, "there is no such path; /docs lists all of them")
    } else if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        ApiError::new(
            Code::MethodNotAllowed,
            "this path takes other methods; /docs lists them",
        )
    } else if rejection.find::<warp::reject::PayloadTooLarge>().is_some() {
        ApiError::new(Code::TooLarge, "the body is too large")
    } else if rejection.find::<warp::reject::LengthRequired>().is_some() {
        ApiError::new(Code::Malformed, "a Content-Length is needed")
    } else if let Some(header) = rejection.find::<warp::reject::InvalidHeader>() {
        let detail = format!("the header {} cannot be read", header.name());
        ApiError::new(Code::Malformed, detail)
    } else {
        tracing::warn!(?rejection, "a request was not understood");
        ApiError::new(Code::Malformed, "the request is not understood")
    };
    Ok(problem.into_response())
}
