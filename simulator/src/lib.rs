//! A faithful simulator of Meta's WhatsApp Cloud API, faults included.
//!
//! It knows nothing of the platform it is used against: any client of the Cloud API can be pointed at it.
//! Tests and benchmarks start it in-process with [`Simulator::start`]; `malote simulator` serves it alone.

pub mod acceptances;
mod analytics;
mod base64;
mod catalog;
mod check;
mod cli;
pub mod config;
mod control;
mod dice;
pub mod faults;
mod gcra;
mod messages;
mod numbers;
mod plan;
mod reads;
mod recipients;
mod send;
mod server;
mod shared;
mod simulator;
mod state;
mod templates;
mod truth;
mod wamid;
mod webhooks;

pub use cli::{Args, run};
pub use config::{Config, NumberConfig, TemplateConfig, WebhookLatency};
pub use faults::Faults;
pub use simulator::{Simulator, SimulatorError};
pub use truth::{RecipientTruth, Truth};
