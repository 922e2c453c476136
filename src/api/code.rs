//! The stable codes of problems: one list for the API, its document and its tests.

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $status:ident $title:literal $example:literal;)*) => {
        /// The stable codes of problems: programs may rely on them, sentences may change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of statuses.
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status of its answers.
            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// What all its problems have in common.
            pub(super) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// A sentence as it may say, for the document.
            pub(super) const fn example(self) -> &'static str {
                match self { $(Self::$variant => $example,)* }
            }
        }
    };
}

codes! {
    /// The request is not understood: its JSON, a parameter, a header.
    Malformed = "malformed" BAD_REQUEST "The request is not understood"
        "the body: EOF while parsing an object at line 1 column 1";
    /// There is no key, or it is unknown or revoked.
    Unauthorized = "unauthorized" UNAUTHORIZED "A valid key is needed"
        "this key is unknown or revoked";
    /// The key is right, and its time is over.
    KeyExpired = "key_expired" UNAUTHORIZED "The key has expired"
        "this key expired at 2026-11-01T00:00:00Z; ask your operator for a new one";
    /// The delivery is not signed as it must be.
    SignatureInvalid = "signature_invalid" UNAUTHORIZED "The delivery is not signed as it must be"
        "the signature is missing";
    /// The delivery was signed at another time.
    TimestampStale = "timestamp_stale" UNAUTHORIZED "The delivery was signed at another time"
        "signed 301 seconds from now; at most 300 are taken";
    /// The tenant is suspended, or the caller may not do this.
    Forbidden = "forbidden" FORBIDDEN "This is not allowed"
        "the tenant is suspended; ask your operator";
    /// The key lacks the scope that this route needs; the sentence names it.
    ScopeMissing = "scope_missing" FORBIDDEN "The key lacks a scope"
        "this key lacks the scope \"campaigns:write\"";
    /// There is no such thing, or it is another tenant's.
    NotFound = "not_found" NOT_FOUND "There is no such thing"
        "there is no such campaign";
    /// This path does not take this method; `Allow` names those that it takes.
    MethodNotAllowed = "method_not_allowed" METHOD_NOT_ALLOWED "This path does not take this method"
        "this path takes other methods; /docs lists them";
    /// The body came in too slowly.
    TooSlow = "too_slow" REQUEST_TIMEOUT "The body came in too slowly"
        "the body came in too slowly; send it again";
    /// What is wanted contradicts the present state.
    Conflict = "conflict" CONFLICT "This contradicts the present state"
        "the campaign is finished";
    /// A request with this Idempotency-Key is under way; ask again for its answer.
    IdempotencyInFlight = "idempotency_in_flight" CONFLICT "The same request is under way"
        "a request with this Idempotency-Key is under way; repeat it for its answer";
    /// The delivery's nonce was used before.
    ReplayDetected = "replay_detected" CONFLICT "The delivery's nonce was used before"
        "this nonce was used before; nothing was done";
    /// The body is too large.
    TooLarge = "too_large" PAYLOAD_TOO_LARGE "The body is too large"
        "the body may have 2097152 bytes";
    /// The body's type is not one that this route takes.
    UnsupportedMediaType = "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body's type is not taken here"
        "the body is JSON (Content-Type: application/json)";
    /// The request is understood and a value in it cannot be taken.
    Invalid = "invalid" UNPROCESSABLE_ENTITY "A value cannot be taken"
        "limit: 1 to 200";
    /// The Idempotency-Key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused" UNPROCESSABLE_ENTITY "The Idempotency-Key was used for another request"
        "this Idempotency-Key came with another request before; use a new one";
    /// The key calls too often; `Retry-After` says when to go on.
    RateLimited = "rate_limited" TOO_MANY_REQUESTS "The key calls too often"
        "this key may call 1000 times at once and then as fast as its limit refills; wait for Retry-After seconds";
    /// Too many wrong keys came from this address; right ones are still let in.
    TooManyWrongKeys = "too_many_wrong_keys" TOO_MANY_REQUESTS "Too many wrong keys from this address"
        "too many wrong keys came from this address; keys that are right are still let in";
    /// A fault of ours; the log says more.
    Internal = "internal" INTERNAL_SERVER_ERROR "Something went wrong here"
        "the log says more; nothing was done";
    /// Meta did not do what it was asked.
    MetaRefused = "meta_refused" BAD_GATEWAY "Meta refused"
        "Meta says: the access token has expired";
    /// A dependency is away; nothing was done; `Retry-After` says when to try again.
    Unavailable = "unavailable" SERVICE_UNAVAILABLE "A dependency is away"
        "the database is away; nothing was done; try again";
    /// Too many requests are in flight here; nothing was done; `Retry-After` says when to try again.
    Overloaded = "overloaded" SERVICE_UNAVAILABLE "Too many requests are in flight"
        "too many requests are in flight here; nothing was done; try again";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_by_its_name() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
