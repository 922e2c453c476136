//! Meta's Cloud API: the only room with an HTTP client.

mod analytics;
mod answer;
mod client;
#[cfg(test)]
mod examples_tests;
mod history;
mod lease;
mod templates;

pub use analytics::Charged;
pub use client::{Client, Licence};
pub use history::Past;
pub use lease::{Lapsed, Lease};
pub use templates::FoundTemplate;
