//! What the API says when it does not do what it was asked: `application/problem+json` (RFC 9457) with a stable `code`.

use serde::Serialize;
use utoipa::ToSchema;
use warp::Reply as _;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::reject::Reject;
use warp::reply::Response;

pub(crate) use super::code::Code;
use super::limits::RETRY_AFTER_SECONDS;
use super::refused::Refused;
use crate::storage::StorageError;

/// A problem, with the sentence that tells this caller what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// Its stable code.
    pub code: Code,
    /// What is wrong and what to do about it.
    pub detail: String,
    /// Seconds after which to try again, where that helps.
    retry_after: Option<u64>,
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
        let waits = matches!(
            code,
            Code::Unavailable | Code::Overloaded | Code::IdempotencyInFlight
        );
        Self {
            code,
            detail: detail.into(),
            retry_after: waits.then_some(RETRY_AFTER_SECONDS),
        }
    }

    /// Says after how many seconds to try again.
    pub(super) const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
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
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
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
