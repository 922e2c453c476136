//! The HTTP API: routes parse, ask and reply; what they ask for lives beside them and knows no HTTP.
//!
//! The public listener serves tenants, Meta's webhooks, the API page and health; the internal one serves operators and metrics.

mod admin;
mod audit;
mod authentication;
mod billing;
mod body;
mod call;
pub mod campaigns;
mod code;
mod connections;
mod context;
mod contract;
mod dead_letters;
mod docs;
mod download;
pub(crate) mod error;
mod guard;
mod health;
mod idempotency;
mod limits;
mod listener;
pub mod messages;
mod metrics;
pub mod openapi;
mod pagination;
mod query;
pub mod refused;
mod reply;
mod route_table;
mod scope;
mod senders;
mod server;
mod suppressions;
mod templates;
pub mod upload;

pub use authentication::KnownKeys;
pub use context::Context;
pub use guard::Guard;
pub use metrics::Metrics;
pub(crate) use server::serve_routes;
pub use server::{Closing, serve};
