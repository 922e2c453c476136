//! The rules of Malote: values in, decisions out. No async, no clock, no I/O, no serde.
//!
//! `now` and randomness are always arguments, so that every rule can be tested in microseconds and
//! replayed. Everything that talks to the outside lives in the root package; everything that lives
//! between messages lives in `actors`.

pub mod campaign;
pub mod category;
pub mod ids;
pub mod ledger;
pub mod message;
mod named;
pub mod partition;
pub mod recipient;
