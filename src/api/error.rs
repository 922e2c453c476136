//! What the API says when it does not do what it was asked: `application/problem+json` (RFC 9457) with a stable `code`.

use serde::Serialize;
use utoipa::ToSchema;
use warp::Reply as _;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::reject::Reject;
use warp::reply::Response;

use super::limits::RETRY_AFTER_SECONDS;
use super::refused::Refused;
use crate::storage::StorageError;

/// The stable codes of problems: programs may rely on them, sentences may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The request is not understood: its JSON, a parameter, a header.
    Malformed,
    /// The request is understood and a value in it cannot be taken.
    Invalid,
    /// There is no key, or it is unknown, expired or revoked.
    Unauthorized,
    /// The key may not do this, or the tenant is suspended.
    Forbidden,
    /// There is no such thing, or it is another tenant's.
    NotFound,
    /// This path does not take this method.
    MethodNotAllowed,
    /// What is wanted contradicts the present state.
    Conflict,
    /// The Idempotency-Key was used for another request.
    IdempotencyKeyReused,
    /// The delivery is not signed as it must be.
    SignatureInvalid,
    /// The delivery was signed at another time.
    TimestampStale,
    /// The delivery's nonce was used before.
    ReplayDetected,
    /// The body is too large.
    TooLarge,
    /// The body came in too slowly.
    TooSlow,
    /// The body's type is not one that this route takes.
    UnsupportedMediaType,
    /// A dependency is away; nothing was done; try again.
    Unavailable,
    /// Meta did not do what it was asked.
    MetaRefused,
    /// A fault of ours; the log says more.
    Internal,
}

impl Code {
    const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Invalid | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized | Self::SignatureInvalid | Self::TimestampStale => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict | Self::ReplayDetected => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::MetaRefused => StatusCode::BAD_GATEWAY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request is not understood",
            Self::Invalid => "A value cannot be taken",
            Self::Unauthorized => "A valid key is needed",
            Self::Forbidden => "This is not allowed",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "This path does not take this method",
            Self::Conflict => "This contradicts the present state",
            Self::IdempotencyKeyReused => "The Idempotency-Key was used for another request",
            Self::SignatureInvalid => "The delivery is not signed as it must be",
            Self::TimestampStale => "The delivery was signed at another time",
            Self::ReplayDetected => "The delivery's nonce was used before",
            Self::TooLarge => "The body is too large",
            Self::TooSlow => "The body came in too slowly",
            Self::UnsupportedMediaType => "The body's type is not taken here",
            Self::Unavailable => "A dependency is away",
            Self::MetaRefused => "Meta refused",
            Self::Internal => "Something went wrong here",
        }
    }
}

/// A problem, with the sentence that tells this caller what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// Its stable code.
    pub code: Code,
    /// What is wrong and what to do about it.
    pub detail: String,
}

/// A problem's body.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: `code` says which problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The same for every problem of this code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The stable code.
    code: Code,
    /// What is wrong with this request.
    detail: String,
}

impl ApiError {
    /// Makes a problem.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }

    /// A value cannot be taken.
    pub(super) fn invalid(detail: impl std::fmt::Display) -> Self {
        Self::new(Code::Invalid, detail.to_string())
    }

    /// There is no such thing.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// It contradicts the present state.
    pub(super) fn conflict(detail: impl std::fmt::Display) -> Self {
        Self::new(Code::Conflict, detail.to_string())
    }

    /// Writes it as an answer.
    pub(crate) fn into_response(self) -> Response {
        let status = self.code.status();
        let problem = Problem {
            kind: "about:blank",
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code,
            detail: self.detail,
        };
        let body = serde_json::to_string_pretty(&problem).unwrap_or_default();
        let mut response = warp::reply::with_status(body, status).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.code {
            Code::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
            }
            Code::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Code::SignatureInvalid | Code::TimestampStale => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("HMAC-SHA256"));
            }
            _ => {}
        }
        response
    }
}

impl Reject for ApiError {}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable(reason) => {
                tracing::warn!(reason, "a request met a dependency that is away");
                Self::new(
                    Code::Unavailable,
                    "the database is away; nothing was done; try again",
                )
            }
            StorageError::Duplicate { constraint } => {
                Self::conflict(format!("it exists already ({constraint})"))
            }
            StorageError::Dangling { constraint } => Self::invalid(format!(
                "it refers to something that does not exist ({constraint})"
            )),
            StorageError::Broken(reason) => {
                tracing::error!(reason, "a request failed for a fault of ours");
                Self::new(Code::Internal, "the log says more; nothing was done")
            }
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(what) => Self::not_found(what),
            Refused::Conflict { .. } => Self::conflict(refused),
            Refused::Invalid { .. } | Refused::File(_) => Self::invalid(refused),
            Refused::Busy(_) => Self::new(Code::Unavailable, refused.to_string()),
            Refused::Storage(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_is_away_says_when_to_come_again() {
        let response = ApiError::from(StorageError::Unavailable("gone".to_owned())).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn who_is_not_known_is_told_how_to_say_who_he_is() {
        let response = ApiError::new(Code::Unauthorized, "a key is needed").into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    }

    #[test]
    fn what_the_database_says_is_not_told_to_callers() {
        let error = ApiError::from(StorageError::Broken("column x of table y".to_owned()));
        assert!(!error.detail.contains("column"));
    }
}
