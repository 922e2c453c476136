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

/// Waits until `ask` gives something, asking again and again. A look that fails ends nothing: a connection was cut, or a server was busy,
/// and the next look may succeed.
///
/// # Errors
/// When it did not within the time; says for what it waited, and what the last look that failed said.
pub async fn eventually<T, F>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let end = Instant::now() + within;
    let mut last_error = None;
    loop {
        match ask().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last_error = Some(error),
        }
        if Instant::now() >= end {
            let said = last_error.map_or_else(String::new, |error| format!("; the last error: {error:#}"));
            anyhow::bail!("{what}: not within {within:?}{said}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_fails_does_not_end_the_wait() {
        let mut looks = 0;
        let found = eventually("it is there", Duration::from_secs(60), || {
            looks += 1;
            let found = match looks {
                1 => Err(anyhow::anyhow!("a cut connection")),
                2 => Ok(None),
                looks => Ok(Some(looks)),
            };
            async move { found }
        });
        assert_eq!(found.await.expect("found"), 3);
    }

    #[tokio::test]
    async fn a_wait_in_vain_tells_the_last_error() {
        let late = eventually("it is there", Duration::ZERO, || async {
            Err::<Option<()>, _>(anyhow::anyhow!("a cut connection"))
        });
        let said = late.await.expect_err("too late").to_string();
        assert_eq!(
            said,
            "it is there: not within 0ns; the last error: a cut connection"
        );
    }
}
