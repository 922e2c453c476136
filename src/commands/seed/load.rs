//! A light load as an installation has it on a quiet day: single messages, reads, now and then a small campaign.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use super::fill::{Tenant, recipient, template};

/// A call that takes longer is given up.
const WITHIN: Duration = Duration::from_secs(20);
/// Calls under way at most: when the server is slow, fewer are made.
const AT_ONCE: usize = 64;
/// After so many messages somebody looks at what became of them.
const READ_EVERY: u64 = 2;
/// A small campaign this often, and for so many seconds' worth of load.
const CAMPAIGN_EVERY: Duration = Duration::from_secs(60);
const CAMPAIGN_SECONDS: u64 = 10;
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// What people look at.
const READS: [&str; 4] = [
    "/v1/campaigns",
    "/v1/messages?limit=20",
    "/v1/usage",
    "/v1/dead-letters",
];

/// How the calls went.
#[derive(Default)]
struct Tally {
    done: AtomicU64,
    failed: AtomicU64,
    left_out: AtomicU64,
}

/// Who calls next: the larger a customer the more often, and the same order each time.
struct Turns {
    tenants: Vec<Arc<Tenant>>,
    credit: Vec<f64>,
}

/// Goes on until the process is told to stop. What is refused is counted, and ends nothing.
pub(super) async fn keep_up(tenants: Vec<Tenant>, rate: u32) -> anyhow::Result<()> {
    println!("a load of {rate} messages a second; told to stop, it ends");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut turns = Turns::of(tenants);
    let (tally, room) = (Arc::new(Tally::default()), Arc::new(Semaphore::new(AT_ONCE)));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut campaigns = tokio::time::interval(CAMPAIGN_EVERY);
    let mut told = tokio::time::interval(TOLD_EVERY);
    // Other people than those of an earlier run.
    let mut number = u64::try_from(Timestamp::now().as_second()).unwrap_or_default() * 16;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                break;
            }
            _ = told.tick() => tally.tell(),
            _ = campaigns.tick() => {
                let (tenant, people) = (turns.next(), u64::from(rate) * CAMPAIGN_SECONDS);
                number += people;
                attempt(&tally, &room, campaign(tenant, number - people, people));
            }
            _ = ticks.tick() => {
                let tenant = turns.next();
                number += 1;
                if number.is_multiple_of(READ_EVERY) {
                    attempt(&tally, &room, read(Arc::clone(&tenant), number));
                }
                attempt(&tally, &room, send(tenant, number));
            }
        }
    }
    tally.tell();
    Ok(())
}

/// Makes a call beside the others, if not too many are under way.
fn attempt(
    tally: &Arc<Tally>,
    room: &Arc<Semaphore>,
    call: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) {
    let Ok(place) = Arc::clone(room).try_acquire_owned() else {
        tally.left_out.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let tally = Arc::clone(tally);
    tokio::spawn(async move {
        let answered = matches!(tokio::time::timeout(WITHIN, call).await, Ok(Ok(())));
        let counter = if answered { &tally.done } else { &tally.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        drop(place);
    });
}

async fn send(tenant: Arc<Tenant>, number: u64) -> anyhow::Result<()> {
    let message = json!({
        "sender_id": tenant.sender, "to": recipient(number), "category": "utility",
        "template": template(&format!("order {number}")),
    });
    tenant.api.post("/v1/messages", &message).await.map(drop)
}

async fn read(tenant: Arc<Tenant>, number: u64) -> anyhow::Result<()> {
    let at = usize::try_from(number / READ_EVERY).unwrap_or_default() % READS.len();
    tenant.api.get(READS[at]).await.map(drop)
}

async fn campaign(tenant: Arc<Tenant>, first: u64, people: u64) -> anyhow::Result<()> {
    let campaign = tenant.draft("A few words", first, people).await?;
    tenant.tell(&campaign, "launch", &json!({})).await
}

impl Tally {
    fn tell(&self) {
        let [done, failed, left_out] =
            [&self.done, &self.failed, &self.left_out].map(|count| count.swap(0, Ordering::Relaxed));
        println!(
            "{done} calls answered, {failed} failed, {left_out} left out because too many were under way"
        );
    }
}

impl Turns {
    fn of(tenants: Vec<Tenant>) -> Self {
        let credit = vec![0.0; tenants.len()];
        let tenants = tenants.into_iter().map(Arc::new).collect();
        Self { tenants, credit }
    }

    /// Everybody earns by weight, whoever has most pays: over time each calls as often as its weight says.
    fn next(&mut self) -> Arc<Tenant> {
        let mut richest = 0;
        let mut whole = 0.0;
        for (at, tenant) in self.tenants.iter().enumerate() {
            self.credit[at] += tenant.customer.weight;
            whole += tenant.customer.weight;
            if self.credit[at] > self.credit[richest] {
                richest = at;
            }
        }
        self.credit[richest] -= whole;
        Arc::clone(&self.tenants[richest])
    }
}
