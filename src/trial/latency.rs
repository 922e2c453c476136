//! How long single messages take beside a campaign, measured whole: from the API's answer to Meta's acceptance, both seen by the
//! clock of this process.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Installation, Tenant, counts_of, eventually};

/// Seconds of a number's rate that a campaign sends before the measurement begins.
const WARM_SECONDS: usize = 3;
/// How long the last message may take to be accepted.
const ACCEPTED_WITHIN: Duration = Duration::from_mins(1);
/// The share of its number's rate that the campaign must reach meanwhile; below it nothing was in the way.
const BUSY_SHARE: f64 = 0.5;
/// The time between two messages: no multiple of any interval of the server's, so that they meet every phase of it.
const APART: Duration = Duration::from_millis(101);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Transactional {
    /// Recipients of the campaign that runs beside.
    pub recipients: u64,
    /// Single messages.
    pub messages: usize,
    /// The rate of the number that both use, in messages a second.
    pub messages_per_second: u32,
}

/// Times, the shortest first.
#[derive(Clone, Debug)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Puts times in order.
    ///
    /// # Errors
    /// When there are none.
    pub fn new(mut times: Vec<Duration>) -> anyhow::Result<Self> {
        anyhow::ensure!(!times.is_empty(), "nothing was measured");
        times.sort_unstable();
        Ok(Self(times))
    }

    /// The time that so many of 100 took at most (1 to 100).
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0[rank.clamp(1, self.0.len()) - 1]
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1_000.0;
        write!(
            formatter,
            "p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, most {:.1} ms ({} messages)",
            ms(50),
            ms(95),
            ms(99),
            ms(100),
            self.0.len()
        )
    }
}

/// Launches a campaign and sends single messages of the same tenant and number while it runs; then cancels it.
///
/// # Errors
/// When a step is refused, a message is not accepted, or the campaign was not in the way.
pub async fn measure_transactional(
    installation: &Installation,
    tenant: &Tenant,
    what: Transactional,
) -> anyhow::Result<Latencies> {
    let launched = Instant::now();
    let campaign = tenant.launch_to("beside", 10_000_000, what.recipients).await?;
    let rate = usize::try_from(what.messages_per_second)?;
    let accepted = |since| installation.simulator.acceptances(&tenant.phone_number_id, since);
    eventually("the campaign is under way", ACCEPTED_WITHIN, || async {
        Ok((accepted(launched).len() >= rate * WARM_SECONDS).then_some(()))
    })
    .await?;
    let from = Instant::now();
    let answered = send_apart(tenant, what.messages).await?;
    let took = from.elapsed();
    let latencies = eventually("every single message is accepted", ACCEPTED_WITHIN, || async {
        let accepted: HashMap<_, _> = accepted(from)
            .into_iter()
            .map(|one| (one.recipient, one.at))
            .collect();
        let times = answered
            .iter()
            .map(|(to, at)| Some(accepted.get(to.as_str())?.saturating_duration_since(*at)));
        Ok(times.collect::<Option<Vec<_>>>())
    })
    .await?;
    let meanwhile = accepted(from)
        .iter()
        .filter(|one| one.at < from + took)
        .count()
        .saturating_sub(what.messages);
    let busy = f64::from(what.messages_per_second) * took.as_secs_f64() * BUSY_SHARE;
    anyhow::ensure!(
        meanwhile as f64 >= busy,
        "the campaign sent only {meanwhile} messages in {took:?}: nothing was in the way"
    );
    let left = counts_of(&tenant.campaign(&campaign).await?, "planned")?;
    anyhow::ensure!(left > 0, "the campaign ended before the measurement did");
    tenant.tell(&campaign, "cancel").await?;
    Latencies::new(latencies)
}

/// Sends messages one after the other and gives each recipient with the moment of the answer.
async fn send_apart(tenant: &Tenant, messages: usize) -> anyhow::Result<Vec<(String, Instant)>> {
    let mut answered = Vec::with_capacity(messages);
    let mut ticks = tokio::time::interval(APART);
    for number in 0..messages {
        ticks.tick().await;
        let to = format!("35193{number:07}");
        let message = json!({
            "sender_id": tenant.sender, "to": format!("+{to}"), "category": "utility",
            "template": {"name": "order_update", "language": "en_US", "components": [
                {"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}]},
        });
        tenant.api.post("/v1/messages", &message).await?;
        answered.push((to, Instant::now()));
    }
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let latencies = Latencies::new(times).expect("times");
        let found = [1, 50, 99, 100].map(|percent| latencies.percentile(percent).as_millis());
        assert_eq!(found, [2, 100, 198, 200]);
        assert!(Latencies::new(Vec::new()).is_err());
    }
}
