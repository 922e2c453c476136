//! The HTTP API: routes parse, ask and reply; what they ask for lives beside them and knows no HTTP.
//!
//! The public listener serves tenants, Meta's webhooks, the API page and health; the internal one serves operators and metrics.

mod admin;
mod authentication;
mod billing;
mod body;
pub mod campaigns;
mod context;
mod dead_letters;
mod docs;
pub(crate) mod error;
mod health;
mod idempotency;
mod limits;
pub mod messages;
pub mod openapi;
mod pagination;
mod query;
pub mod refused;
mod reply;
mod senders;
mod server;
mod suppressions;
mod templates;
pub mod upload;

pub use authentication::KnownKeys;
pub use context::Context;
pub use server::{Closing, serve};
