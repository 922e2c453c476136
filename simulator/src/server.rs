//! The HTTP side: connections, tokens, routes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::analytics;
use crate::catalog::GraphError;
use crate::control;
use crate::reads::{self, Query};
use crate::send::{self, Outcome};
use crate::shared::Shared;

/// Bodies longer than this are refused.
const BODY_MAX: usize = 1 << 20;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
const GATEWAY_PAGE: &str = "<html><head><title>502 Bad Gateway</title></head>\
    <body><center><h1>502 Bad Gateway</h1></center></body></html>";

/// Makes hyper close the connection without an answer.
#[derive(Debug)]
struct AnswerLost;

impl fmt::Display for AnswerLost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the answer is lost on purpose")
    }
}

impl std::error::Error for AnswerLost {}

/// The wait before something that the system refused is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Serves connections until it is dropped; they end with it. While it is down, connections are refused and those that were open
/// are cut in the middle of whatever they did.
pub(crate) async fn run(shared: Arc<Shared>, mut listener: TcpListener, address: SocketAddr) {
    loop {
        tokio::select! {
            () = serve(&shared, &listener) => {}
            () = shared.goes_down() => {}
        }
        drop(listener);
        listener = come_back(&shared, address).await;
        shared.opened();
    }
}

async fn serve(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(connection(Arc::clone(shared), stream))),
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Waits until the outage is over, and listens where it did. The address is held meanwhile by a socket that does not listen: whoever connects is
/// refused, and nobody else gets it.
async fn come_back(shared: &Shared, address: SocketAddr) -> TcpListener {
    loop {
        match hold(address) {
            Ok(held) => {
                shared.outage_ends().await;
                match held.listen(BACKLOG) {
                    Ok(listener) => return listener,
                    Err(error) => tracing::warn!(%error, %address, "not listening again"),
                }
            }
            Err(error) => tracing::warn!(%error, %address, "the address is not free"),
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}

fn hold(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true); // Without it answers are slower, not wrong.
    let service = service_fn(|request| handle(&shared, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

async fn handle(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, AnswerLost> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return Ok(answer(
            413,
            "application/json",
            GraphError::parameter("The body is too large.").body(),
        ));
    };
    let body = body.to_bytes();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let segments: Vec<&str> = parts
        .uri
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    if let ["_control", path @ ..] = &segments[..] {
        return Ok(control_answer(
            control::answer(shared, &parts.method, path, &query, &body).await,
        ));
    }
    let segments = match segments[..] {
        [version, ref rest @ ..] if is_version(version) => rest,
        ref all => all,
    };
    match graph(shared, &parts, segments, &query, &body).await {
        Outcome::Answer(body) => Ok(answer(200, "application/json; charset=UTF-8", body)),
        Outcome::Error(error) => Ok(refusal(&error)),
        Outcome::Gateway => Ok(answer(502, "text/html", GATEWAY_PAGE.into())),
        Outcome::Lost => Err(AnswerLost),
    }
}

/// The Graph API: token first, then the route.
async fn graph(shared: &Shared, parts: &Parts, segments: &[&str], query: &Query, body: &Bytes) -> Outcome {
    if let Err(error) = authorize(shared, parts, query) {
        return send::refuse(shared, error);
    }
    match (&parts.method, segments) {
        (&Method::POST, [id, "messages" | "marketing_messages"]) => send::send(shared, id, body).await,
        (&Method::POST, [_, "register" | "subscribed_apps"]) => json_outcome(Ok(json!({"success": true}))),
        (&Method::GET, [id, "message_templates"]) => {
            json_outcome(reads::templates(shared, id, query, &url(parts)))
        }
        (&Method::GET, [id, "message_history"]) => {
            json_outcome(reads::history(shared, id, query, &url(parts)))
        }
        (&Method::GET, [id, "phone_numbers"]) => json_outcome(reads::phones(shared, id, query, &url(parts))),
        (&Method::GET, [id]) if analytics::is_asked(query) => {
            json_outcome(analytics::pricing(shared, id, query))
        }
        (&Method::GET, [id]) => json_outcome(reads::phone(shared, id, query)),
        _ => Outcome::Error(GraphError::no_path(&format!("/{}", segments.join("/")))),
    }
}

fn authorize(shared: &Shared, parts: &Parts, query: &Query) -> Result<(), GraphError> {
    let header = parts
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let bearer = header
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim);
    let token = bearer
        .or(query.get("access_token"))
        .filter(|token| !token.is_empty());
    let Some(token) = token else {
        return Err(GraphError::token(
            "An access token is required to request this resource.",
        ));
    };
    if shared.state().revoked.contains(token) {
        return Err(GraphError::token(
            "Error validating access token: the session has been invalidated.",
        ));
    }
    if shared.config.tokens.is_empty() || shared.config.tokens.contains(token) {
        return Ok(());
    }
    Err(GraphError::token(
        "Invalid OAuth access token - Cannot parse access token",
    ))
}

fn json_outcome(result: Result<Value, GraphError>) -> Outcome {
    match result {
        Ok(value) => Outcome::Answer(value.to_string().into_bytes()),
        Err(error) => Outcome::Error(error),
    }
}

fn control_answer(result: Result<Value, control::Refusal>) -> Response<Full<Bytes>> {
    let (status, value) = match result {
        Ok(value) => (200, value),
        Err((status, text)) => (status, json!({"error": text})),
    };
    answer(status, "application/json", value.to_string().into_bytes())
}

/// `v26.0`, `v1`: the version is accepted as it comes, and may be absent.
fn is_version(segment: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    segment
        .strip_prefix('v')
        .is_some_and(|version| version.split('.').all(digits))
}

/// The address of this resource as the client wrote it, without its query.
fn url(parts: &Parts) -> String {
    let host = parts
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("http://{host}{}", parts.uri.path())
}

/// An error, with the headers that tell how long to wait.
fn refusal(error: &GraphError) -> Response<Full<Bytes>> {
    let mut response = answer(error.status, "application/json; charset=UTF-8", error.body());
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(minutes) = error.regain_access_min {
        let usage = json!({"0": [{"type": "whatsapp", "call_count": 100, "total_cputime": 25, "total_time": 25,
            "estimated_time_to_regain_access": minutes}]});
        if let Ok(usage) = HeaderValue::from_str(&usage.to_string()) {
            headers.insert("x-business-use-case-usage", usage);
        }
    }
    response
}

fn answer(status: u16, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("facebook-api-version", HeaderValue::from_static("v26.0"));
    response
}
