//! Two nodes share the partitions: one is killed, frozen, thawed and added again while campaigns run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::partition::Partition;
use malote::trial::{Installation, PlanChoice, Tenant, eventually};
use simulator::config::Config;
use uuid::Uuid;

use crate::management;
use crate::support::{SOON, check_promises, start};

const PARTITIONS: u16 = 4;
const RECIPIENTS: u64 = 400;
/// Slow enough that nobody is finished before the last fault.
const RATE: u32 = 8;
/// What is promised: from the broker's notice to the first message that the successor sends.
pub(crate) const HANDOVER_WITHIN: Duration = Duration::from_secs(5);
pub(crate) const WITHIN: Duration = Duration::from_secs(180);

/// An installation of two nodes with tenants in every partition, each with a running campaign.
pub(crate) struct Bench {
    pub(crate) installation: Installation,
    pub(crate) second: usize,
    tenants: Vec<Running>,
}

struct Running {
    tenant: Tenant,
    campaign: String,
    partition: Partition,
    recipients: String,
}

impl Bench {
    pub(crate) async fn start(name: &'static str) -> Self {
        let settings = [
            ("MALOTE_PIPELINE__CLAIM_DEADLINE_MS", "20000"),
            ("MALOTE_META__TIMEOUT_MS", "5000"),
        ];
        let mut installation = start(name, Config::for_tests(), &settings).await;
        // They are launched when nothing moves any more: what they send meanwhile would be missing at the last fault.
        let tenants = tenants_everywhere(&installation).await;
        let second = installation
            .add_node(&peer_of("server"), &[])
            .await
            .expect("a second node");
        let joined = Instant::now();
        let bench = Self {
            installation,
            second,
            tenants,
        };
        bench.is_balanced().await;
        println!(
            "a node joined, and had its partitions after {:?}",
            joined.elapsed()
        );
        bench.all_are_in_line().await;
        for Running { tenant, campaign, .. } in &bench.tenants {
            tenant.tell(campaign, "launch").await.expect("a launch");
        }
        bench
    }

    fn second_name(&self) -> &str {
        self.installation.node_name(self.second)
    }

    /// Waits until each node has the partitions that prefer it.
    pub(crate) async fn is_balanced(&self) {
        let names = ["server", self.second_name()];
        eventually("the partitions are where they should be", WITHIN, || async {
            let owners = owners(&self.installation).await?;
            let all = (0..PARTITIONS)
                .map(Partition)
                .all(|partition| owners.get(&partition).map(String::as_str) == partition.preferred(names));
            Ok(all.then_some(()))
        })
        .await
        .expect("balance");
    }

    /// Waits until each node stands in line for every partition: one that hands over stands back for a while, and until then no other
    /// can succeed it. Its own metric says so at once, what it tells its peers only with its next heartbeat.
    async fn all_are_in_line(&self) {
        for node in 0..self.installation.nodes() {
            eventually("the node is in line for every partition", WITHIN, || async {
                let registered = counter(&self.installation, node, "malote_partitions_registered").await;
                Ok((registered == f64::from(PARTITIONS)).then_some(()))
            })
            .await
            .expect("a line");
        }
    }

    /// What Meta has accepted for each tenant whose partition prefers the second node.
    pub(crate) fn accepted_of_second(&self) -> Vec<u32> {
        let names = ["server", self.second_name()];
        let truth = self.installation.simulator.truth_by_recipient();
        self.tenants
            .iter()
            .filter(|running| running.partition.preferred(names) == Some(self.second_name()))
            .map(|running| {
                let own = truth
                    .iter()
                    .filter(|one| one.recipient.starts_with(&running.recipients));
                own.map(|one| one.accepted).sum()
            })
            .collect()
    }

    /// Waits until Meta has accepted more for every tenant of the second node.
    pub(crate) async fn all_of_second_go_on(&self, before: &[u32], within: Duration) -> Duration {
        let begun = Instant::now();
        eventually("the successor sends for every tenant", within, || async {
            let now = self.accepted_of_second();
            Ok(now
                .iter()
                .zip(before)
                .all(|(now, before)| now > before)
                .then_some(()))
        })
        .await
        .expect("a successor");
        begun.elapsed()
    }

    /// Waits until the broker lists a connection of this name, or no longer does. A new one is listed only after the
    /// management's next collection, up to 5 s later: who waits for an end must have seen the beginning.
    async fn broker_lists(&self, connection: &str, listed: bool) {
        eventually("the broker's connections", SOON, || async {
            let open = management::list(self.installation.config(), "connections").await?;
            let found = open.iter().any(|one| one["user_provided_name"] == *connection);
            Ok((found == listed).then_some(()))
        })
        .await
        .unwrap_or_else(|error| panic!("{connection} listed: {listed}: {error}"));
    }

    pub(crate) async fn finish(self) {
        for running in &self.tenants {
            let mut tenant = running.tenant.clone();
            tenant.reconnect(&self.installation);
            tenant
                .finished(&running.campaign, WITHIN)
                .await
                .expect("a finished campaign");
        }
        self.installation.settle(SOON).await.expect("all events applied");
        for running in &self.tenants {
            let mut tenant = running.tenant.clone();
            tenant.reconnect(&self.installation);
            let campaign = tenant.campaign(&running.campaign).await.expect("the campaign");
            check_promises(&self.installation, &tenant, &campaign, RECIPIENTS as i64).await;
        }
        self.installation.stop().await.expect("a clean end");
    }
}

/// A name for a peer with which the partitions are shared evenly.
fn peer_of(name: &str) -> String {
    loop {
        let peer = format!("second-{}", &Uuid::now_v7().simple().to_string()[24..]);
        let own = (0..PARTITIONS).filter(|number| Partition(*number).preferred([name, &peer]) == Some(name));
        if own.count() == usize::from(PARTITIONS / 2) {
            return peer;
        }
    }
}

/// Makes tenants until every partition has one, each with a campaign that is ready to be launched.
async fn tenants_everywhere(installation: &Installation) -> Vec<Running> {
    let mut found: BTreeMap<Partition, Running> = BTreeMap::new();
    while found.len() < usize::from(PARTITIONS) {
        let tenant = Tenant::create(installation, "shared", PlanChoice::FREE, RATE)
            .await
            .expect("a tenant");
        let partition = Partition::of(tenant.id, PARTITIONS);
        if found.contains_key(&partition) {
            continue;
        }
        let first = 10_000_000 + u64::from(partition.0) * 1_000_000;
        let campaign = tenant.draft("shared").await.expect("a campaign");
        tenant
            .fill(&campaign, first, RECIPIENTS)
            .await
            .expect("recipients");
        let recipients = format!("3519{}", first / 1_000_000);
        let running = Running {
            tenant,
            campaign,
            partition,
            recipients,
        };
        found.insert(partition, running);
    }
    found.into_values().collect()
}

async fn owners(installation: &Installation) -> anyhow::Result<BTreeMap<Partition, String>> {
    let owners = installation.admin.get("/admin/v1/nodes").await?;
    let owners = owners["partitions"].as_array().cloned().unwrap_or_default();
    Ok(owners
        .iter()
        .filter_map(|one| {
            let partition = Partition(u16::try_from(one["partition"].as_u64()?).ok()?);
            Some((partition, one["node"].as_str()?.to_owned()))
        })
        .collect())
}

/// Reads a counter of a node.
async fn counter(installation: &Installation, node: usize, name: &str) -> f64 {
    let metrics = installation
        .admin_of(node)
        .expect("a node")
        .get_text("/metrics")
        .await;
    let metrics = metrics.expect("metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nodes_tenants_go_on_within_five_seconds() {
    let mut bench = Bench::start("killed").await;
    let before = bench.accepted_of_second();
    bench.all_of_second_go_on(&before, SOON).await;

    bench.installation.kill_node(bench.second).await.unwrap();
    let before = bench.accepted_of_second();
    let took = bench.all_of_second_go_on(&before, WITHIN).await;
    println!("killed: the other node sent for each of its tenants within {took:?}");
    assert!(took < HANDOVER_WITHIN, "it took {took:?}");

    bench.installation.start_node(bench.second).await.unwrap();
    let started = Instant::now();
    bench.is_balanced().await;
    println!(
        "started again, it had its partitions after {:?}",
        started.elapsed()
    );
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_is_replaced_and_sends_nothing_twice_when_it_thaws() {
    let mut bench = Bench::start("frozen").await;
    let before = bench.accepted_of_second();
    bench.all_of_second_go_on(&before, SOON).await;

    let connection = format!("malote consumers {}", bench.second_name());
    bench.broker_lists(&connection, true).await;
    bench.installation.freeze_node(bench.second).await.unwrap();
    let frozen = Instant::now();
    // It closes a silent connection after two to three heartbeats of 5 s. What is promised begins then.
    bench.broker_lists(&connection, false).await;
    println!(
        "the broker closed the frozen node's connection after {:?}",
        frozen.elapsed()
    );
    let before = bench.accepted_of_second();
    let took = bench.all_of_second_go_on(&before, WITHIN).await;
    println!("frozen: the other node sent for each of its tenants within {took:?} of that");
    assert!(took < HANDOVER_WITHIN, "it took {took:?}");

    bench.installation.thaw_node(bench.second).await.unwrap();
    let (installation, second) = (&bench.installation, bench.second);
    eventually("the old owner notices", SOON, || async {
        let lapses = counter(installation, second, "malote_node_lease_lapses_total").await;
        Ok((lapses >= 1.0).then_some(()))
    })
    .await
    .unwrap();
    let superseded = counter(installation, second, "malote_partitions_superseded_total").await;
    println!("thawed: its lease lapsed, and {superseded} partitions still in hand were superseded");
    bench.is_balanced().await;
    bench.finish().await;
}
