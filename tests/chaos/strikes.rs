//! How each fault strikes and ends. Each waits until messages are in flight, notes which, and strikes at once.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use malote::trial::eventually;
use rand::RngExt as _;
use serde_json::json;
use simulator::Faults;
use uuid::Uuid;

use crate::faults::Fault;
use crate::run::Scale;
use crate::sight::Flight;
use crate::world::{Call, World, another_plan, balanced, unwell};

/// How long a strike waits for messages in flight before the run is void.
const IN_FLIGHT_WITHIN: Duration = Duration::from_secs(30);
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// How long a killed process stays away.
const AWAY: Duration = Duration::from_secs(2);
/// How long no answer of Meta comes back.
const ANSWERS_LOST_FOR: Duration = Duration::from_secs(3);
/// How long the broker and the other node may take to replace a frozen one.
const REPLACED_WITHIN: Duration = Duration::from_secs(30);
/// How long a node stays frozen after it was replaced.
const FROZEN_STILL: Duration = Duration::from_secs(1);
/// How long nodes may take to find their partitions.
const BALANCED_WITHIN: Duration = Duration::from_secs(60);
/// How long a planted panic may take to strike.
const PANICS_WITHIN: Duration = Duration::from_secs(20);
/// Messages that a tenant must still have, so that its pace is that of its number.
const PACE_FROM: i64 = 15;
/// Recipients that are suppressed.
const SUPPRESSED: u64 = 60;

/// A strike while it lasts, and what it was that it hit.
pub(crate) struct Strike {
    /// What was `sending` when it struck; nothing makes the run void.
    pub(crate) in_flight: Vec<Flight>,
    /// Whose fault it is; nobody's where everybody is hit.
    pub(crate) victim: Option<usize>,
    /// When it struck.
    pub(crate) at: Instant,
    /// When it was over.
    pub(crate) over: Instant,
    /// What Meta had accepted of each tenant when it struck.
    pub(crate) accepted_before: Vec<u32>,
    /// And when it was over.
    pub(crate) accepted_when_over: Vec<u32>,
}

impl World {
    /// Strikes with a fault and lets it end.
    pub(crate) async fn strike(&mut self, fault: Fault, scale: &Scale) -> anyhow::Result<Strike> {
        let victim = fault.is_of_one_tenant().then(|| self.victim(fault));
        if victim.is_some() {
            // What the fault before this one set going, such as partitions that return to a node, is not this one's doing.
            balanced(self, BALANCED_WITHIN).await?;
        }
        let in_flight = self.wait_for_flight(victim).await?;
        let (at, accepted_before) = (Instant::now(), self.accepted());
        self.say(&format!(
            "{}: {} messages are in flight",
            fault.name(),
            in_flight.len()
        ));
        match fault {
            Fault::WorkerKilled => self.kill_worker().await?,
            Fault::WorkerFrozen => self.freeze_worker().await?,
            Fault::PartitionsHandedOver => self.hand_over().await?,
            Fault::RateLimiterPanics => {
                self.panic_child(victim, "rate_limiter", &["handle", "taken", "handled"])
                    .await?
            }
            Fault::SendQueuePanics => {
                self.panic_child(victim, "send_queue", &["handle", "taken", "handled", "claimed"])
                    .await?;
            }
            Fault::BillingCounterPanics => {
                self.panic_child(
                    victim,
                    "billing_counter",
                    &["handle", "taken", "handled", "committed"],
                )
                .await?;
            }
            Fault::BrokerStopped => self.stop_server("rabbitmq", AWAY).await?,
            Fault::BrokerWiped => self.wipe_broker().await?,
            Fault::BrokerKilled => self.kill_server("rabbitmq").await?,
            Fault::DatabaseRestarted => self.stop_server("postgresql", Duration::ZERO).await?,
            Fault::DatabaseKilled => self.kill_server("postgresql").await?,
            Fault::RedisStopped => self.stop_server("redis", scale.redis_away).await?,
            Fault::MetaDown => {
                self.installation.simulator.set_down(scale.meta_down);
                tokio::time::sleep(scale.meta_down).await;
            }
            Fault::AnswersLost => self.lose_answers().await,
            Fault::CampaignCancelled => self.cancel(victim).await?,
            Fault::RecipientsSuppressed => self.suppress(victim).await?,
            Fault::PlanChanged => self.change_plan(victim).await?,
        }
        Ok(Strike {
            in_flight,
            victim,
            at,
            over: Instant::now(),
            accepted_before,
            accepted_when_over: self.accepted(),
        })
    }

    /// The tenant that a fault of one tenant belongs to; those whose campaign changes are no other fault's.
    fn victim(&mut self, fault: Fault) -> usize {
        match fault {
            Fault::CampaignCancelled => 0,
            Fault::RecipientsSuppressed => 1,
            Fault::PlanChanged => 2,
            _ => self.random.random_range(3..self.customers.len()),
        }
    }

    async fn wait_for_flight(&self, victim: Option<usize>) -> anyhow::Result<Vec<Flight>> {
        let tenant: Option<Uuid> = victim.map(|victim| self.customers[victim].tenant.id.0);
        let end = Instant::now() + IN_FLIGHT_WITHIN;
        loop {
            let found = self.sight.in_flight(tenant).await?;
            if !found.is_empty() || Instant::now() > end {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn kill_worker(&mut self) -> anyhow::Result<()> {
        let node = self.random.random_range(0..self.installation.nodes());
        self.installation.kill_node(node).await?;
        tokio::time::sleep(AWAY).await;
        self.installation.start_node(node).await
    }

    async fn freeze_worker(&mut self) -> anyhow::Result<()> {
        let node = self.random.random_range(0..self.installation.nodes());
        let name = self.installation.node_name(node).to_owned();
        self.installation.freeze_node(node).await?;
        let begun = Instant::now();
        let sight = self.sight.clone();
        eventually("a frozen node is replaced", REPLACED_WITHIN, || async {
            let owners = sight.owners().await?;
            Ok((!owners.values().any(|owner| *owner == name)).then_some(()))
        })
        .await?;
        self.say(&format!(
            "the frozen node was replaced after {:.1} s",
            begun.elapsed().as_secs_f64()
        ));
        tokio::time::sleep(FROZEN_STILL).await;
        self.installation.thaw_node(node).await
    }

    async fn hand_over(&mut self) -> anyhow::Result<()> {
        let node = self.random.random_range(0..self.installation.nodes());
        self.installation.stop_node(node).await?;
        self.installation.start_node(node).await?;
        balanced(self, BALANCED_WITHIN).await
    }

    async fn panic_child(
        &mut self,
        victim: Option<usize>,
        child: &str,
        steps: &[&str],
    ) -> anyhow::Result<()> {
        let victim = victim.context("a child belongs to a tenant")?;
        let step = steps[self.random.random_range(0..steps.len())];
        let tenant = self.customers[victim].tenant.id.0;
        let fault = json!({"tenant_id": tenant, "child": child, "step": step, "deed": "panic", "times": 2});
        let nodes: Vec<usize> = (0..self.installation.nodes()).collect();
        for node in &nodes {
            let admin = self.installation.admin_of(*node)?;
            admin.post("/admin/v1/faults", &fault).await?;
        }
        let installation = &self.installation;
        let struck = eventually("the child panics", PANICS_WITHIN, || async {
            for node in &nodes {
                let faults = installation.admin_of(*node)?.get("/admin/v1/faults").await?;
                let items = faults["items"].as_array().cloned().unwrap_or_default();
                if items.iter().any(|one| {
                    one["armed"] == false
                        && one["tenant_id"] == tenant.to_string()
                        && one["child"] == child
                        && one["struck"] == 2
                }) {
                    return Ok(Some(()));
                }
            }
            Ok(None)
        })
        .await;
        for node in &nodes {
            self.installation
                .admin_of(*node)?
                .delete("/admin/v1/faults")
                .await?;
        }
        self.say(&format!("{child} panicked at the step {step}"));
        struck
    }

    async fn kill_server(&self, server: &str) -> anyhow::Result<()> {
        self.stack.tell("kill", server).await?;
        self.stack.tell("start", server).await
    }

    /// Stops a server, kills a node, and starts both at once: a node that starts first waits for what it needs, and does without Redis.
    async fn stop_server(&mut self, server: &str, away: Duration) -> anyhow::Result<()> {
        self.stack.tell("stop", server).await?;
        tokio::time::sleep(away).await;
        let node = self.random.random_range(0..self.installation.nodes());
        self.installation.kill_node(node).await?;
        if server == "redis" {
            self.installation.start_node(node).await?;
            return self.stack.tell("start", server).await;
        }
        let (started, came_back) = tokio::join!(
            self.installation.start_node(node),
            self.stack.tell("start", server)
        );
        came_back.and(started)
    }

    async fn wipe_broker(&self) -> anyhow::Result<()> {
        self.stack.tell("wipe", "rabbitmq").await?;
        self.stack.tell("start", "rabbitmq").await
    }

    async fn lose_answers(&self) {
        self.installation.simulator.set_faults(Faults {
            lost_answer_share: 1.0,
            transient_error_share: 0.0,
            ..unwell()
        });
        tokio::time::sleep(ANSWERS_LOST_FOR).await;
        self.installation.simulator.set_faults(unwell());
    }

    async fn cancel(&mut self, victim: Option<usize>) -> anyhow::Result<()> {
        let victim = victim.context("a campaign belongs to a tenant")?;
        let path = format!("/v1/campaigns/{}/cancel", self.customers[victim].campaign);
        self.of_tenant(victim, Call::Post(&path, &json!({}))).await?;
        Ok(())
    }

    /// Suppresses recipients from the end of the list, which have not been written to yet, and some from everywhere.
    async fn suppress(&mut self, victim: Option<usize>) -> anyhow::Result<()> {
        let victim = victim.context("recipients belong to a tenant")?;
        let (first, recipients) = (self.customers[victim].first, self.customers[victim].recipients);
        for _ in 0..SUPPRESSED {
            let number = first + self.random.random_range(0..recipients);
            let path = format!("/v1/suppressions/+3519{number:08}");
            let reason = json!({"reason": "chaos"});
            self.of_tenant(victim, Call::Put(&path, &reason)).await?;
        }
        Ok(())
    }

    async fn change_plan(&mut self, victim: Option<usize>) -> anyhow::Result<()> {
        let victim = victim.context("a plan belongs to a tenant")?;
        let code = another_plan(self).await?;
        let path = format!("/admin/v1/tenants/{}/plan", self.customers[victim].tenant.id);
        let change = json!({"plan": code, "effective": "now"});
        self.of_operator(Call::Put(&path, &change)).await?;
        Ok(())
    }

    /// What the others sent since the strike, as a share of what they sent in a quiet time.
    pub(crate) async fn pace_of_neighbours(&self, victim: usize, strike: &Strike, watched: Duration) -> f64 {
        tokio::time::sleep(watched.saturating_sub(strike.at.elapsed())).await;
        let (now, before) = (self.accepted(), &strike.accepted_before);
        let seconds = strike.at.elapsed().as_secs_f64();
        let left = self.sight.left().await.unwrap_or_default();
        let (mut sent, mut usual) = (0.0, 0.0);
        for (number, customer) in self.customers.iter().enumerate() {
            // Who has come near the end meanwhile has no pace.
            let left = left.get(&customer.tenant.id.0).copied().unwrap_or(0);
            if number == victim || left < PACE_FROM {
                continue;
            }
            sent += f64::from(now[number] - before[number]);
            usual += self.quiet[number] * seconds;
        }
        if usual > 0.0 { sent / usual } else { 1.0 }
    }
}
