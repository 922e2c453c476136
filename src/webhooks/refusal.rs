//! Why a delivery is not taken, and how that is said: a problem for people, a status for programs, a reason for metrics.

use domain::hop::HopError;
use domain::signature::SignatureError;
use domain::webhook::{BYTES_MOST, UPDATES_MOST};
use warp::reply::Response;

use crate::api::error::{ApiError, Code};

/// Why a delivery is not taken. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has more bytes than Meta ever sends.
    TooLarge,
    /// It has more updates than Meta ever sends.
    TooManyUpdates,
    /// It came in too slowly.
    TooSlow,
    /// It broke off.
    BrokenOff,
    /// Too many bytes of other deliveries are in memory.
    Overloaded,
    /// Meta did not sign it.
    Meta(SignatureError),
    /// The relay did not sign it, or not now.
    Hop(HopError),
    /// The relay's nonce was seen before.
    Replay,
    /// Nobody knows whether the nonce was seen before.
    NoncesAway,
    /// It could not be stored.
    NotStored,
}

impl Refusal {
    /// Every reason, as metrics name it.
    pub(crate) const REASONS: [&'static str; 11] = [
        "too_large",
        "too_many_updates",
        "too_slow",
        "broken_off",
        "overloaded",
        "signature_missing",
        "signature_invalid",
        "stale",
        "replay_detected",
        "nonces_away",
        "not_stored",
    ];

    /// The reason, as metrics name it.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::TooManyUpdates => "too_many_updates",
            Self::TooSlow => "too_slow",
            Self::BrokenOff => "broken_off",
            Self::Overloaded => "overloaded",
            Self::Meta(SignatureError::Missing) | Self::Hop(HopError::Missing(_)) => "signature_missing",
            Self::Meta(_) | Self::Hop(HopError::Malformed(_) | HopError::Mismatch) => "signature_invalid",
            Self::Hop(HopError::Stale { .. }) => "stale",
            Self::Replay => "replay_detected",
            Self::NoncesAway => "nonces_away",
            Self::NotStored => "not_stored",
        }
    }

    /// Writes it as an answer.
    pub(crate) fn into_response(self) -> Response {
        let (code, detail) = match &self {
            Self::TooLarge => (
                Code::TooLarge,
                format!("a delivery has {BYTES_MOST} bytes at most"),
            ),
            Self::TooManyUpdates => (
                Code::TooLarge,
                format!("a delivery has {UPDATES_MOST} updates at most"),
            ),
            Self::TooSlow => (
                Code::TooSlow,
                "the body came in too slowly; send it again".to_owned(),
            ),
            Self::BrokenOff => (Code::Malformed, "the body broke off".to_owned()),
            Self::Overloaded => (
                Code::Unavailable,
                "too many deliveries are under way; nothing was kept; send it again".to_owned(),
            ),
            Self::Meta(error) => (Code::SignatureInvalid, error.to_string()),
            Self::Hop(error @ HopError::Stale { .. }) => (Code::TimestampStale, error.to_string()),
            Self::Hop(error) => (Code::SignatureInvalid, error.to_string()),
            Self::Replay => (
                Code::ReplayDetected,
                "this nonce was used before; nothing was done; sign each attempt with a nonce of its own"
                    .to_owned(),
            ),
            Self::NoncesAway => (
                Code::Unavailable,
                "nonces cannot be checked now; nothing was kept; send it again".to_owned(),
            ),
            Self::NotStored => (Code::Unavailable, "not stored; send it again".to_owned()),
        };
        ApiError::new(code, detail).into_response()
    }
}

#[cfg(test)]
mod tests {
    use warp::http::StatusCode;

    use super::*;

    #[test]
    fn each_refusal_has_its_status_and_its_reason() {
        for (refusal, status) in [
            (Refusal::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
            (Refusal::TooManyUpdates, StatusCode::PAYLOAD_TOO_LARGE),
            (Refusal::TooSlow, StatusCode::REQUEST_TIMEOUT),
            (Refusal::BrokenOff, StatusCode::BAD_REQUEST),
            (Refusal::Overloaded, StatusCode::SERVICE_UNAVAILABLE),
            (Refusal::Meta(SignatureError::Missing), StatusCode::UNAUTHORIZED),
            (Refusal::Meta(SignatureError::Mismatch), StatusCode::UNAUTHORIZED),
            (
                Refusal::Hop(HopError::Missing("webhook-id")),
                StatusCode::UNAUTHORIZED,
            ),
            (Refusal::Hop(HopError::Mismatch), StatusCode::UNAUTHORIZED),
            (
                Refusal::Hop(HopError::Stale { seconds_off: 301 }),
                StatusCode::UNAUTHORIZED,
            ),
            (Refusal::Replay, StatusCode::CONFLICT),
            (Refusal::NoncesAway, StatusCode::SERVICE_UNAVAILABLE),
            (Refusal::NotStored, StatusCode::SERVICE_UNAVAILABLE),
        ] {
            assert!(Refusal::REASONS.contains(&refusal.reason()), "{refusal:?}");
            let response = refusal.clone().into_response();
            assert_eq!(response.status(), status, "{refusal:?}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
    }
}
