//! The rules of Malote: values in, decisions out. No async, no clock, no I/O, no serde.
//!
//! `now` and randomness are always arguments, so that every rule can be tested in microseconds and
//! replayed. Everything that talks to the outside lives in the root package; everything that lives
//! between messages lives in `actors`.

#![deny(clippy::float_arithmetic)]

pub mod api_key;
pub mod audit_chain;
pub mod booking;
#[allow(clippy::float_arithmetic, reason = "shares of failures, never money")]
pub mod breaker;
pub mod campaign;
#[allow(clippy::float_arithmetic, reason = "shares of a sample, never money")]
pub mod canary;
pub mod category;
pub mod causes;
pub mod correction;
pub mod counts;
pub mod dead_letter;
pub mod gate;
pub mod hop;
pub mod ids;
pub mod in_flight;
pub mod invariants;
pub mod invoice;
pub mod ledger;
pub mod local_window;
pub mod malformed;
pub mod message;
pub mod meta_error;
pub mod meta_news;
pub mod money;
mod named;
pub mod number_hold;
pub mod partition;
pub mod period;
pub mod plan;
pub mod plan_change;
#[allow(clippy::float_arithmetic, reason = "rates, never money")]
pub mod progress;
pub mod quarantine;
pub mod rate_card;
#[allow(clippy::float_arithmetic, reason = "rates, never money")]
pub mod rate_limit;
pub mod rating;
pub mod recipient;
pub mod recipient_zone;
pub mod refusal_streak;
pub mod retry;
pub mod schedule;
#[allow(clippy::float_arithmetic, reason = "rates, never money")]
pub mod sending_window;
pub mod signature;
pub mod unknown;
pub mod webhook;
