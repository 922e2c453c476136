//! Measures what an idle tenant costs in memory: alive after one message, and passivated.
//!
//! `cargo run --release -p actors --example idle_tenants -- [tenants]`
//!
//! Resident memory is read from `/proc/self/statm`, before the first tenant and in each state. The world in memory is filled
//! before the first reading, so that it does not count.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::System;
use actors::metrics::Metrics;
use actors::node::{Node, Settings};
use actors::tenants::{Tenants, Work};
use actors::testing::Fakes;
use domain::ids::{MessageId, SenderId, TenantId};
use domain::message::{Lane, MessageState};
use domain::partition::{Epoch, Partition};
use futures_util::StreamExt;
use prometheus_client::registry::Registry;
use uuid::Uuid;

const PARTITION: Partition = Partition(0);
/// Long enough for every tenant to have its message first.
const PASSIVATE_AFTER: Duration = Duration::from_secs(20);
/// Bytes in a page of Linux on the machines that we know.
const PAGE: usize = 4_096;

/// One message of one tenant.
type Stock = (TenantId, SenderId, MessageId);

fn main() -> std::io::Result<()> {
    let tenants = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let runtime = Arc::new(runtime);
    let shared = runtime.clone();
    System::with_tokio_rt(move || shared).block_on(measure(runtime, tenants.unwrap_or(10_000)))
}

async fn measure(runtime: Arc<tokio::runtime::Runtime>, tenants: usize) -> std::io::Result<()> {
    let fakes = Fakes::new(Duration::ZERO);
    let metrics = Metrics::register(&mut Registry::default());
    let settings = Settings {
        passivate_after: PASSIVATE_AFTER,
        ..Settings::default()
    };
    let node = Node::start(fakes.ports(), settings, runtime, metrics);
    node.tenants().grant(PARTITION, Epoch(1));
    let stock: Vec<Stock> = (0..tenants).map(|_| stock(&fakes)).collect();
    fakes.state().calls.reserve(tenants);
    fakes.state().commits.reserve(tenants);
    fakes.state().limiters.reserve(tenants);
    let empty = resident()?;
    send_one_each(&node.tenants(), &stock).await;
    let accepted = {
        let state = fakes.state();
        let rows = state.messages.values();
        rows.filter(|row| row.state == MessageState::Accepted).count()
    };
    let alive = node.tenants().status().len();
    report(
        &format!("{alive} alive and idle, {accepted} accepted"),
        empty,
        tenants,
    )?;
    while !node.tenants().status().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        node.tenants().tick(PARTITION).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    report("all passivated", empty, tenants)?;
    send_one_each(&node.tenants(), &stock).await;
    report("all revived by one message", empty, tenants)?;
    let drained = node.shutdown(Duration::from_secs(10)).await;
    assert_eq!(drained.in_flight_left, 0, "attempts were left in flight");
    Ok(())
}

fn stock(fakes: &Fakes) -> Stock {
    let (tenant, sender) = (fakes.tenant(None), SenderId(Uuid::now_v7()));
    (tenant, sender, fakes.queued(tenant, sender, 1)[0])
}

/// Delivers each tenant's message; the second time it is found stale.
async fn send_one_each(tenants: &Tenants, stock: &[Stock]) {
    let deliveries = stock.iter().map(|(tenant, sender, message)| {
        let work = Work::Send {
            sender: *sender,
            lane: Lane::Bulk,
            campaign: None,
            due: None,
            messages: vec![*message],
        };
        tenants.deliver(PARTITION, *tenant, work)
    });
    let refused = futures_util::stream::iter(deliveries)
        .buffer_unordered(64)
        .filter(|delivered| std::future::ready(delivered.is_err()))
        .count()
        .await;
    assert_eq!(refused, 0, "deliveries were refused");
    tokio::time::sleep(Duration::from_secs(2)).await;
}

fn report(what: &str, empty: usize, tenants: usize) -> std::io::Result<()> {
    let more = resident()?.saturating_sub(empty);
    let (megabytes, each) = (more / 1_000_000, more / tenants.max(1));
    println!("{what}: {megabytes} MB more than without tenants, {each} bytes each");
    Ok(())
}

fn resident() -> std::io::Result<usize> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    Ok(pages.unwrap_or(0) * PAGE)
}
