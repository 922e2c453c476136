//! Meta's Cloud API: the only room with an HTTP client.

mod answer;
mod client;
#[cfg(test)]
mod examples_tests;
mod templates;

pub use client::Client;
pub use templates::FoundTemplate;
