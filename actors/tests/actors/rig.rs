//! A node in paused time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::System;
use actors::metrics::Metrics;
use actors::node::{Node, Settings};
use actors::tenants::{DeliverError, Tenants, Work};
use actors::testing::Fakes;
use domain::ids::{MessageId, SenderId, TenantId};
use domain::message::{Lane, MessageState};
use domain::partition::{Epoch, Partition};
use prometheus_client::registry::Registry;
use uuid::Uuid;

pub(crate) const PARTITION: Partition = Partition(3);

/// A node that owns one partition.
pub(crate) struct Rig {
    pub(crate) node: Node,
    pub(crate) fakes: Fakes,
    pub(crate) registry: Registry,
}

/// Runs a test in paused time: waiting costs none.
pub(crate) fn in_paused_time<F: Future<Output = ()> + 'static>(test: impl FnOnce(Rig) -> F) {
    with_settings(Settings::default(), test);
}

pub(crate) fn with_settings<F: Future<Output = ()> + 'static>(
    settings: Settings,
    test: impl FnOnce(Rig) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let runtime = Arc::new(runtime);
    let shared = runtime.clone();
    System::with_tokio_rt(move || shared).block_on(async {
        let fakes = Fakes::new(Duration::from_millis(20));
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let settings = Settings {
            arbiters: 0,
            ..settings
        };
        let node = Node::start(fakes.ports(), settings, runtime.clone(), metrics);
        node.tenants().grant(PARTITION, Epoch(1));
        let rig = Rig {
            node,
            fakes,
            registry,
        };
        test(rig).await;
    });
}

pub(crate) fn sender() -> SenderId {
    SenderId(Uuid::now_v7())
}

pub(crate) fn send(sender: SenderId, messages: &[MessageId]) -> Work {
    Work::Send {
        sender,
        lane: Lane::Bulk,
        campaign: None,
        due: None,
        messages: messages.to_vec(),
    }
}

impl Rig {
    pub(crate) fn tenants(&self) -> Tenants {
        self.node.tenants()
    }

    /// Delivers messages in deliveries of 50, all at once, and waits for all of them.
    pub(crate) async fn deliver(
        &self,
        tenant: TenantId,
        sender: SenderId,
        messages: &[MessageId],
    ) -> Result<(), DeliverError> {
        let tenants = self.tenants();
        let deliveries = messages
            .chunks(50)
            .map(|ids| tenants.deliver(PARTITION, tenant, send(sender, ids)));
        let results = futures_util::future::join_all(deliveries).await;
        results.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// Lets seconds pass: ticks, and the planner delivers what is due again.
    pub(crate) async fn run(&self, tenant: TenantId, seconds: u64) {
        for _ in 0..seconds {
            self.tenants().tick(PARTITION).await;
            for (sender, messages) in self.fakes.plan(tenant) {
                let tenants = self.tenants();
                drop(tokio::spawn(async move {
                    for ids in messages.chunks(50) {
                        // A test that revokes sees the row's state, not this answer.
                        let _ = tenants.deliver(PARTITION, tenant, send(sender, ids)).await;
                    }
                }));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    pub(crate) fn count(&self, tenant: TenantId, state: MessageState) -> usize {
        self.fakes.count(tenant, state)
    }

    /// Tells whether a line of the metrics is there.
    pub(crate) fn shows(&self, line: &str) -> bool {
        self.metrics().lines().any(|shown| shown == line)
    }

    /// Sums a metric over its labels.
    pub(crate) fn sum_of(&self, name: &str) -> f64 {
        let text = self.metrics();
        let lines = text.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("text");
        text
    }
}
