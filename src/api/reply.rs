//! Answers: JSON with a status.

use serde::Serialize;
use warp::Reply as _;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

use super::error::ApiError;

/// What handlers give.
pub(super) type Answer = Result<Response, ApiError>;

/// Writes JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    text(status, serde_json::to_string_pretty(body).unwrap_or_default())
}

/// Writes JSON that is text already.
pub(super) fn text(status: StatusCode, body: String) -> Response {
    let mut response = warp::reply::with_status(body, status).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Answers 200 with JSON.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, body))
}

/// Answers 204.
pub(super) fn nothing() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Makes one response of a handler's answer.
pub(super) fn finish(answer: Answer) -> Response {
    answer.unwrap_or_else(ApiError::into_response)
}
