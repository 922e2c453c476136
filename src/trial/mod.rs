//! A whole Malote to try things on: a database of its own, queues and keys of its own, a simulated Meta in this process and the
//! server as a child process. The demo, the end-to-end tests and the benchmarks stand on it, so they can run side by side.

mod client;
mod exactness;
mod installation;
mod latency;
mod nodes;
mod process;
mod tenant;

pub use client::{Client, Unexpected};
pub use exactness::{Exactness, Push, push_to_limit};
pub use installation::{Installation, Options, PARTITIONS};
pub use latency::{Latencies, Transactional, measure_transactional};
pub use process::ServerProgram;
pub use tenant::{PlanChoice, Tenant, counts_of};

use std::future::Future;
use std::time::{Duration, Instant};

/// The time between two looks at something that will be true soon.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until `ask` gives something, asking again and again.
///
/// # Errors
/// When it did not within the time; says for what it waited.
pub async fn eventually<T, F>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let end = Instant::now() + within;
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < end, "{what}: not within {within:?}");
        tokio::time::sleep(LOOK).await;
    }
}
