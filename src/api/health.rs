//! `/healthz`, `/readyz`, `/version`: for load balancers, orchestrators and people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::limits::SILENT_NOT_READY;
use actors::tenants::Tenants;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::context::Context;
use super::limits::{DEPENDENCIES_LOOKED_AT_EVERY, PROBE_LONGEST, READINESS_BELIEVED_FOR};
use super::metrics::Needed;
use super::reply;
use crate::storage::{Database, schema};

/// That the process answers.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Alive {
    /// Always `alive`.
    status: &'static str,
}

/// Whether requests can be served.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// `ready` or `not ready`.
    status: &'static str,
    /// The version of the database's schema; null while it cannot be read.
    schema_version: Option<i32>,
    /// The oldest schema with which this program works.
    schema_needed: i32,
    /// Every dependency, and this process itself.
    dependencies: Vec<Dependency>,
}

/// How a dependency fares.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Dependency {
    /// Which.
    name: &'static str,
    /// Whether it answers.
    ok: bool,
    /// Whether requests can be served without it.
    needed: bool,
    /// What is wrong with it.
    problem: Option<String>,
}

/// Which program this is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Version {
    /// Its version.
    version: &'static str,
    /// The oldest schema with which it works.
    schema_needed: i32,
}

/// The last answer of `/readyz`. Whoever asks meanwhile waits for it.
pub(super) type Last = Arc<Mutex<Option<(Instant, Readiness)>>>;

/// Looks at the dependencies again and again until `stop`, so that the metrics know them though nobody asks.
pub(super) async fn watch(context: Context, last: Last, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let mut known = last.lock().await;
        *known = Some((Instant::now(), ask(&context).await));
        drop(known);
        stop.run_until_cancelled(tokio::time::sleep(DEPENDENCIES_LOOKED_AT_EVERY))
            .await;
    }
}

/// The routes, served on both listeners.
pub(super) fn routes(context: &Context, last: &Last) -> BoxedFilter<(Response,)> {
    let (with, last) = (context.clone(), Arc::clone(last));
    let live = warp::path!("healthz").and(warp::get()).map(live).boxed();
    let ready = warp::path!("readyz")
        .and(warp::get())
        .then(move || {
            let (context, last) = (with.clone(), Arc::clone(&last));
            async move { ready(&context, &last).await }
        })
        .boxed();
    let version = warp::path!("version").and(warp::get()).map(version).boxed();
    live.or(ready).unify().or(version).unify().boxed()
}

/// Tells that the process answers; asks nobody.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Alive)))]
pub(super) fn live() -> Response {
    reply::json(StatusCode::OK, &Alive { status: "alive" })
}

/// Tells whether requests can be served, and how each dependency fares. Without Redis and RabbitMQ they can: messages are
/// stored, and sent later.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness, description = "Not ready")))]
pub(super) async fn ready(context: &Context, last: &Mutex<Option<(Instant, Readiness)>>) -> Response {
    let mut last = last.lock().await;
    let mut readiness = match &*last {
        Some((asked_at, known)) if asked_at.elapsed() < READINESS_BELIEVED_FOR => known.clone(),
        _ => last.insert((Instant::now(), ask(context).await)).1.clone(),
    };
    drop(last);
    readiness.dependencies.push(process(context));
    if readiness.dependencies.iter().any(|one| one.needed && !one.ok) {
        readiness.status = "not ready";
    }
    let status = match readiness.status {
        "ready" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    reply::json(status, &readiness)
}

async fn ask(context: &Context) -> Readiness {
    let (rows, system, redis, broker) = tokio::join!(
        within(schema_of(&context.app_rw)),
        within(schema_of(&context.app_system)),
        within(async { context.redis.ping().await.map_err(|error| error.to_string()) }),
        within(async { context.publisher.reach().await.map_err(|error| error.to_string()) }),
    );
    let slower = rows.1.max(system.1);
    let checked = |needed, is_up, took| context.metrics.checked(needed, is_up, took);
    checked(Needed::PostgreSql, rows.0.is_ok() && system.0.is_ok(), slower);
    checked(Needed::Redis, redis.0.is_ok(), redis.1);
    checked(Needed::RabbitMq, broker.0.is_ok(), broker.1);
    let (rows, system, redis, broker) = (rows.0, system.0, redis.0, broker.0);
    let schema_version = rows.as_ref().ok().copied();
    let dependencies = vec![
        dependency("postgresql as app_rw", true, rows.map(drop)),
        dependency("postgresql as app_system", true, system.map(drop)),
        dependency("redis", false, redis),
        dependency("rabbitmq", false, broker),
    ];
    Readiness {
        status: "ready",
        schema_version,
        schema_needed: schema::NEEDED,
        dependencies,
    }
}

/// Tells whether this process does its part: it is not about to stop, and its actors' threads are not blocked.
fn process(context: &Context) -> Dependency {
    let silent_for = context
        .tenants
        .as_ref()
        .map(Tenants::silent_for)
        .unwrap_or_default();
    let answer = if context.stopping.is_cancelled() {
        Err("it is stopping".to_owned())
    } else if silent_for > SILENT_NOT_READY {
        Err(format!("a thread of actors is blocked for {silent_for:?}"))
    } else {
        Ok(())
    };
    dependency("process", true, answer)
}

/// What a probe says, and how long it took.
async fn within<T>(probe: impl Future<Output = Result<T, String>>) -> (Result<T, String>, Duration) {
    let begun = Instant::now();
    let answer = tokio::time::timeout(PROBE_LONGEST, probe)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {PROBE_LONGEST:?}")));
    (answer, begun.elapsed())
}

async fn schema_of(database: &Database) -> Result<i32, String> {
    match schema::version(database).await {
        Ok(found) if found < schema::NEEDED => Err(format!("the schema is at version {found}")),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

fn dependency(name: &'static str, needed: bool, answer: Result<(), String>) -> Dependency {
    Dependency {
        name,
        ok: answer.is_ok(),
        needed,
        problem: answer.err(),
    }
}

/// Tells which program this is.
#[utoipa::path(get, path = "/version", tag = "health", responses((status = 200, body = Version)))]
pub(super) fn version() -> Response {
    let body = Version {
        version: env!("CARGO_PKG_VERSION"),
        schema_needed: schema::NEEDED,
    };
    reply::json(StatusCode::OK, &body)
}
