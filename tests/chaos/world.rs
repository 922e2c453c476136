//! What is broken: an installation of two nodes, twenty tenants with a campaign each, and a Meta that is never quite well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use malote::trial::{Installation, Options, PlanChoice, Tenant, eventually};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use simulator::Faults;
use simulator::config::{Config, WebhookLatency};
use tokio::task::JoinHandle;

use crate::run::Scale;
use crate::sight::Sight;
use crate::stack::Stack;

/// How many tenants there are.
pub(crate) const TENANTS: usize = 20;
/// Messages a second of each tenant's number.
const RATE: u32 = 5;
/// The tenant whose unknown messages are sent again.
const RESENDS: usize = 3;
/// The tenant whose unknown messages are given up.
const GIVES_UP: usize = 4;
/// How long those two wait for news.
const UNKNOWN_AFTER_SECONDS: u32 = 12;
/// Messages of each tenant below which there are more campaigns.
const LITTLE_EACH: i64 = 75;
/// Messages of each tenant in such a campaign.
const MORE_EACH: u64 = 100;
/// How long Meta's first news of a message takes: longer than the wait before a second attempt, so that a blind one would be seen.
const NEWS_AFTER: Duration = Duration::from_millis(2_500);
/// The time between two looks at what is unknown.
const LOOK: Duration = Duration::from_millis(100);
/// How often a call to the API is repeated while servers are being broken.
const CALL_WITHIN: Duration = Duration::from_secs(60);
/// The name of the second node; with it the partitions are shared evenly.
const SECOND: &str = "server-2";

/// A tenant and its campaign.
pub(crate) struct Customer {
    pub(crate) tenant: Tenant,
    /// The campaign that it sends last.
    pub(crate) campaign: String,
    /// Its recipients: numbers from here on.
    pub(crate) first: u64,
    pub(crate) recipients: u64,
}

/// Everything of a run.
pub(crate) struct World {
    pub(crate) installation: Installation,
    pub(crate) stack: Stack,
    pub(crate) sight: Arc<Sight>,
    pub(crate) customers: Vec<Customer>,
    pub(crate) random: StdRng,
    pub(crate) begun: Instant,
    /// What Meta accepted a second for each tenant while nothing was broken.
    pub(crate) quiet: Vec<f64>,
    most_unknown: Arc<AtomicI64>,
    watching: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

impl World {
    /// Starts everything; the campaigns run from then on.
    pub(crate) async fn start(seed: u64, scale: &Scale) -> anyhow::Result<Self> {
        let stack = Stack::of_environment()?;
        let mut installation = Installation::start(Options {
            name: "chaos",
            program: env!("CARGO_BIN_EXE_malote").into(),
            simulator: meta(seed),
            settings: settings(),
        })
        .await?;
        installation.add_node(SECOND, &[]).await?;
        let sight = Arc::new(Sight::of(installation.config())?);
        let mut world = Self {
            installation,
            stack,
            sight,
            customers: Vec::new(),
            random: StdRng::seed_from_u64(seed),
            begun: Instant::now(),
            quiet: Vec::new(),
            most_unknown: Arc::default(),
            watching: Arc::new(AtomicBool::new(true)),
            watch: None,
        };
        world.say(&format!(
            "two nodes; logs in {}",
            world.installation.directory().display()
        ));
        for number in 0..TENANTS {
            let tenant = Tenant::create(&world.installation, "chaos", PlanChoice::FREE, RATE).await?;
            world.customers.push(Customer {
                tenant,
                campaign: String::new(),
                first: 10_000_000 + 1_000_000 * number as u64,
                recipients: 0,
            });
        }
        world.choose_policies().await?;
        let all: Vec<usize> = (0..TENANTS).collect();
        world.launch(&all, scale.recipients).await?;
        world.watch = Some(world.watch_unknown());
        world.say(&format!(
            "{TENANTS} campaigns of {} are running",
            scale.recipients
        ));
        Ok(world)
    }

    /// Tells what happens, with the time.
    pub(crate) fn say(&self, what: &str) {
        println!("{:>7.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    /// Two tenants do not keep what is unknown: one wants it sent again, one gives it up.
    async fn choose_policies(&self) -> anyhow::Result<()> {
        for (number, policy) in [(RESENDS, "resend"), (GIVES_UP, "fail")] {
            let path = format!("/admin/v1/tenants/{}", self.customers[number].tenant.id);
            let chosen = json!({"unknown_policy": policy, "unknown_after_seconds": UNKNOWN_AFTER_SECONDS});
            self.installation.admin.patch(&path, &chosen).await?;
        }
        Ok(())
    }

    /// Gives these tenants a campaign to as many new recipients.
    async fn launch(&mut self, who: &[usize], recipients: u64) -> anyhow::Result<()> {
        for &number in who {
            let mut tenant = self.customers[number].tenant.clone();
            tenant.reconnect(&self.installation);
            let first = self.customers[number].first + self.customers[number].recipients;
            self.customers[number].campaign = tenant.launch_to("chaos", first, recipients).await?;
            self.customers[number].recipients += recipients;
        }
        Ok(())
    }

    /// Launches more campaigns when little is left to send and faults are to come: a slow machine must not make a run void.
    pub(crate) async fn top_up(&mut self) -> anyhow::Result<()> {
        let left = self.sight.left().await?;
        let left_of = |number: usize| left.get(&self.customers[number].tenant.id.0).copied();
        let poor: Vec<usize> = (0..self.customers.len())
            .filter(|number| left_of(*number).unwrap_or(0) < LITTLE_EACH)
            .collect();
        if !poor.is_empty() {
            self.say(&format!("{} tenants get {MORE_EACH} messages more", poor.len()));
            self.launch(&poor, MORE_EACH).await?;
        }
        Ok(())
    }

    /// What Meta has accepted so far, by tenant.
    pub(crate) fn accepted(&self) -> Vec<u32> {
        let mut accepted = vec![0; self.customers.len()];
        for one in self.installation.simulator.truth_by_recipient() {
            if let Some(owner) = self.owner_of(&one.recipient) {
                accepted[owner] += one.accepted;
            }
        }
        accepted
    }

    /// Whose recipient it is.
    pub(crate) fn owner_of(&self, recipient: &str) -> Option<usize> {
        let number: u64 = recipient.strip_prefix("3519")?.parse().ok()?;
        self.customers
            .iter()
            .position(|customer| (customer.first..customer.first + customer.recipients).contains(&number))
    }

    /// Calls the API of a tenant at a node that serves, again and again while it is being broken. Only for calls that may be repeated.
    pub(crate) async fn of_tenant(&self, who: usize, call: Call<'_>) -> anyhow::Result<Value> {
        let mut tenant = self.customers[who].tenant.clone();
        tenant.reconnect(&self.installation);
        patiently(&tenant.api, call).await
    }

    /// Calls the operators' API, in the same way.
    pub(crate) async fn of_operator(&self, call: Call<'_>) -> anyhow::Result<Value> {
        patiently(&self.installation.admin, call).await
    }

    /// The most messages that were ever `unknown` at a time.
    pub(crate) fn most_unknown(&self) -> i64 {
        self.most_unknown.load(Ordering::SeqCst)
    }

    fn watch_unknown(&self) -> JoinHandle<()> {
        let (sight, most) = (Arc::clone(&self.sight), Arc::clone(&self.most_unknown));
        let watching = Arc::clone(&self.watching);
        tokio::spawn(async move {
            while watching.load(Ordering::SeqCst) {
                let now = sight.number("SELECT coalesce(sum(unknown), 0)::bigint FROM campaign_counts");
                if let Ok(now) = now.await {
                    most.fetch_max(now, Ordering::SeqCst);
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }

    /// Stops looking on, so that what is left may be thrown away.
    pub(crate) async fn stop_watching(&mut self) {
        self.watching.store(false, Ordering::SeqCst);
        if let Some(watch) = self.watch.take() {
            // It ends with the look that it is at.
            let _ = watch.await;
        }
    }
}

/// A call to an API.
#[derive(Clone, Copy)]
pub(crate) enum Call<'a> {
    Put(&'a str, &'a Value),
    Post(&'a str, &'a Value),
}

async fn patiently(api: &malote::trial::Client, call: Call<'_>) -> anyhow::Result<Value> {
    let (Call::Put(path, _) | Call::Post(path, _)) = call;
    eventually(path, CALL_WITHIN, || async {
        Ok(Some(match call {
            Call::Put(path, body) => api.put(path, body).await?,
            Call::Post(path, body) => api.post(path, body).await?,
        }))
    })
    .await
}

/// A Meta with transient errors, lost answers, and webhooks that come twice, late and in the wrong order.
pub(crate) fn unwell() -> Faults {
    Faults {
        transient_error_share: 0.02,
        lost_answer_share: 0.01,
        answer_delay_min_ms: 40,
        answer_delay_ms: 120,
        answer_delay_p99_ms: 900,
        failed_share: 0.02,
        free_share: 0.1,
        read_without_delivered_share: 0.02,
        duplicated_webhook_share: 0.1,
        reordered_webhook_share: 0.1,
        late_webhook_share: 0.05,
        late_webhook_ms: Some(4_000),
        split_webhook_share: 0.1,
        ..Faults::default()
    }
}

fn meta(seed: u64) -> Config {
    Config {
        seed,
        webhook_latency: WebhookLatency {
            sent: NEWS_AFTER,
            delivered: NEWS_AFTER + Duration::from_millis(500),
            read: NEWS_AFTER + Duration::from_secs(2),
            jitter: 0.5,
        },
        webhook_timeout: Duration::from_secs(3),
        webhook_retry_first: Duration::from_millis(200),
        webhook_retry_longest: Duration::from_secs(2),
        webhook_give_up: Duration::from_hours(1),
        faults: unwell(),
        ..Config::for_tests()
    }
}

fn settings() -> Vec<(String, String)> {
    [
        ("MALOTE_PIPELINE__CLAIM_DEADLINE_MS", "8000"),
        ("MALOTE_META__TIMEOUT_MS", "5000"),
        ("MALOTE_NODE__WAIT_FOR_SERVERS_SECONDS", "140"),
        ("MALOTE_PIPELINE__RETRY_FIRST_DELAY_MS", "300"),
        ("MALOTE_PIPELINE__UNAPPLIED_FOR_MOST_MS", "10000"),
        ("MALOTE_PIPELINE__QUEUED_FOR_MOST_MS", "15000"),
        (
            "MALOTE_TELEMETRY__LOG_FILTER",
            "info,malote=debug,actors=debug,lapin=warn",
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// Publishes a plan and gives its code.
pub(crate) async fn another_plan(world: &World) -> anyhow::Result<String> {
    let code = format!("chaos-{}", uuid::Uuid::now_v7().simple());
    let plan = json!({
        "code": code, "name": "Another plan", "currency": "EUR", "fee_minor": 100, "allowance_units": 1_000_000,
        "policy": "hard", "overage_price_micros": 0,
    });
    world.of_operator(Call::Post("/admin/v1/plans", &plan)).await?;
    Ok(code)
}

/// Waits until every node that runs is registered and each partition has the owner that should have it.
pub(crate) async fn balanced(world: &World, within: Duration) -> anyhow::Result<()> {
    let names: Vec<&str> = (0..world.installation.nodes())
        .filter(|node| world.installation.node_serves(*node))
        .map(|node| world.installation.node_name(node))
        .collect();
    eventually("the partitions are where they should be", within, || async {
        let owners = world.sight.owners().await?;
        let right = owners.iter().all(|(partition, owner)| {
            let partition = domain::partition::Partition(partition.unsigned_abs());
            partition.preferred(names.iter().copied()) == Some(owner.as_str())
        });
        Ok(right.then_some(()))
    })
    .await
}
