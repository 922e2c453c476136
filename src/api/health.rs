//! `/healthz`, `/readyz`, `/version`: for load balancers, orchestrators and people.

use serde_json::{Value, json};
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::context::Context;
use super::reply;
use crate::storage::schema;

/// The routes, served on both listeners.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let live = warp::path!("healthz")
        .and(warp::get())
        .map(|| reply::json(StatusCode::OK, &json!({"status": "alive"})));
    let ready = warp::path!("readyz")
        .and(warp::get())
        .then(move || ready(with.clone()));
    let version = warp::path!("version").and(warp::get()).map(version);
    live.or(ready).unify().or(version).unify().boxed()
}

async fn ready(context: Context) -> Response {
    let (app_rw, app_system, redis) = tokio::join!(
        schema::version(&context.app_rw),
        schema::version(&context.app_system),
        context.redis.ping()
    );
    let said = |outcome: Option<String>| outcome.map_or_else(|| json!("ok"), Value::from);
    // Redis only speeds things up: without it the server is ready all the same.
    let is_ready = app_rw.is_ok() && app_system.is_ok();
    let body = json!({
        "status": if is_ready { "ready" } else { "not ready" },
        "schema_version": app_rw.as_ref().ok(),
        "dependencies": {
            "postgresql (app_rw)": said(app_rw.err().map(|error| error.to_string())),
            "postgresql (app_system)": said(app_system.err().map(|error| error.to_string())),
            "redis": said(redis.err().map(|error| error.to_string())),
        },
    });
    reply::json(
        if is_ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        &body,
    )
}

fn version() -> Response {
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "schema_needed": schema::NEEDED,
    });
    reply::json(StatusCode::OK, &body)
}
