//! Measures how many messages a second a node sends when every answer of the world takes 20 ms.
//!
//! `cargo run --release -p actors --example throughput -- [tenants] [messages per tenant] [faults per tenant]`
//!
//! Faults come every 50 ms; what they cost shows as messages that are not accepted, and must not show as calls repeated.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::System;
use actors::metrics::Metrics;
use actors::node::{Node, Settings};
use actors::tenants::{Tenants, Work};
use actors::testing::{Fakes, Trouble};
use domain::ids::{MessageId, SenderId, TenantId};
use domain::message::{Lane, MessageState};
use domain::partition::{Epoch, Partition};
use futures_util::StreamExt;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use uuid::Uuid;

const PARTITION: Partition = Partition(0);
const LATENCY: Duration = Duration::from_millis(20);

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let tenants = arguments.next().unwrap_or(4);
    let messages = arguments.next().unwrap_or(10_000);
    let faults = arguments.next().unwrap_or(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let runtime = Arc::new(runtime);
    let shared = runtime.clone();
    System::with_tokio_rt(move || shared).block_on(measure(runtime, tenants, messages, faults));
    Ok(())
}

async fn measure(runtime: Arc<tokio::runtime::Runtime>, tenants: usize, messages: usize, faults: usize) {
    let fakes = Fakes::new(LATENCY);
    let metrics = Metrics::register(&mut Registry::default());
    let node = Node::start(fakes.ports(), Settings::default(), runtime, metrics);
    node.tenants().grant(PARTITION, Epoch(1));
    let work: Vec<_> = (0..tenants).map(|_| stock(&fakes, messages)).collect();
    let started = Instant::now();
    let tasks = work.iter().map(|(tenant, sender, ids)| {
        let (handle, ids) = (node.tenants(), ids.clone());
        tokio::spawn(deliver_all(handle, *tenant, *sender, ids))
    });
    let deliveries = futures_util::future::join_all(tasks);
    tokio::join!(deliveries, storm(&fakes, &work, faults));
    let delivered = started.elapsed();
    let drained = node.shutdown(Duration::from_secs(30)).await;
    let seconds = started.elapsed().as_secs_f64();
    let accepted: usize = work
        .iter()
        .map(|(tenant, ..)| fakes.count(*tenant, MessageState::Accepted))
        .sum();
    let rate = f64::from(u32::try_from(accepted).unwrap_or(u32::MAX)) / seconds;
    let commits = fakes.state().commits.len();
    println!("{tenants} tenants, {accepted} accepted in {seconds:.2} s: {rate:.0} messages/s");
    let calls = fakes.state().calls.len();
    let head: i64 = work.iter().map(|(tenant, ..)| fakes.head(*tenant).held).sum();
    println!("{calls} calls, {head} units held");
    println!("delivered in {delivered:?}, {commits} commits, {drained:?}");
}

fn stock(fakes: &Fakes, messages: usize) -> (TenantId, SenderId, Vec<MessageId>) {
    let (tenant, sender) = (fakes.tenant(None), SenderId(Uuid::now_v7()));
    fakes.state().rates.insert(sender, 5_000);
    (tenant, sender, fakes.queued(tenant, sender, messages))
}

/// Keeps 64 deliveries of 50 outstanding, as a quarter of a partition's prefetch.
async fn deliver_all(tenants: Tenants, tenant: TenantId, sender: SenderId, ids: Vec<MessageId>) {
    let parts: Vec<Vec<MessageId>> = ids.chunks(50).map(<[MessageId]>::to_vec).collect();
    let deliveries = parts.into_iter().map(|messages| {
        let work = Work::Send {
            sender,
            lane: Lane::Bulk,
            campaign: None,
            due: None,
            messages,
        };
        tenants.deliver(PARTITION, tenant, work)
    });
    let outcomes: Vec<_> = futures_util::stream::iter(deliveries)
        .buffer_unordered(64)
        .collect()
        .await;
    assert!(outcomes.iter().all(Result::is_ok), "work was refused");
}

/// Makes something go wrong every 50 ms.
async fn storm(fakes: &Fakes, work: &[(TenantId, SenderId, Vec<MessageId>)], faults: usize) {
    let troubles = [
        Trouble::CommitPanics,
        Trouble::CommitAnswerLost,
        Trouble::SavePanics,
        Trouble::CommitPanicsDone,
        Trouble::ExpirePanics,
        Trouble::CommitLost,
        Trouble::SettleUnavailable,
    ];
    for trouble in troubles.iter().cycle().take(faults) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        for (tenant, ..) in work {
            fakes.trouble(*tenant, *trouble, 1);
        }
    }
}
