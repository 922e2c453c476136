//! How exact a plan's limit is, seen from outside: many campaigns of one tenant push through two nodes, whose owner leaves on the
//! way and comes back before the limit, and Meta counts.

use std::fmt;
use std::time::{Duration, Instant};

use domain::ids::TenantId;
use domain::partition::Partition;
use serde_json::json;
use uuid::Uuid;

use super::{Installation, PARTITIONS, PlanChoice, Tenant, eventually};
use crate::storage::scratch;

/// How long a step of the whole may take.
const WITHIN: Duration = Duration::from_mins(5);
/// The first recipient of the first campaign.
const FIRST_RECIPIENT: u64 = 40_000_000;
/// Campaigns that wait for the plan.
const BLOCKED: &str = "campaigns WHERE state = 'paused' AND reason = 'plan_blocked'";
/// Campaigns that are neither finished nor wait for the plan.
const PUSHING: &str =
    "campaigns WHERE NOT (state = 'finished' OR (state = 'paused' AND reason = 'plan_blocked'))";
/// What is on its way.
const UNDER_WAY: &str = "messages WHERE state IN ('queued', 'sending', 'accepted', 'sent', 'unknown')";

/// What to push, and against which limit.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    /// Campaigns: as many as fill four fifths of the limit are launched first, all others at once when the owner is back.
    pub campaigns: u64,
    /// Recipients of each.
    pub each: u64,
    /// Units of the plan, whose policy is `hard`.
    pub limit: u64,
    /// The rate of the number that they share.
    pub messages_per_second: u32,
}

/// What was seen. That the limit was exact is not in here: without it there is no answer.
#[derive(Clone, Debug)]
pub struct Exactness {
    /// Who pushed.
    pub tenant: Tenant,
    /// Its campaigns.
    pub campaigns: Vec<String>,
    /// How many of them waited for the plan.
    pub blocked: u64,
    /// From the first acceptance until every campaign was finished or waited for the plan.
    pub blocked_after: Duration,
    /// How often the tenant had changed hands by then.
    pub takeovers: i64,
    /// From the answer to the upgrade until Meta accepted the next message.
    pub next_accepted_after: Duration,
    /// From the answer to the upgrade until no campaign waited any more.
    pub released_after: Duration,
}

impl fmt::Display for Exactness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} of {} campaigns waited for the plan after {:.1} s and {} changes of hands; an upgrade let the next message leave after \
             {} ms and every campaign go on after {} ms",
            self.blocked,
            self.campaigns.len(),
            self.blocked_after.as_secs_f64(),
            self.takeovers,
            self.next_accepted_after.as_millis(),
            self.released_after.as_millis()
        )
    }
}

/// Pushes with campaigns for four fifths of the limit, and lets the owner leave and come back meanwhile; then with all others as well, and
/// checks that Meta accepted exactly what the plan allows; then takes a plan without an end, and checks that exactly the rest leaves.
///
/// # Errors
/// When a step is refused or takes too long, or one message too many or too few was accepted, used or left.
pub async fn push_to_limit(installation: &mut Installation, what: Push) -> anyhow::Result<Exactness> {
    let tenant = Tenant::create(
        installation,
        "pushing",
        hard(what.limit)?,
        what.messages_per_second,
    )
    .await?;
    let owner = add_owner(installation, tenant.id).await?;
    let campaigns = fill(&doors(installation, &tenant, owner)?, what).await?;
    // What a handover gives back right at the limit may be too little to wake a blocked campaign, and would stay unused. So the owner
    // changes while only campaigns run that cannot reach it; then all push.
    let early = what.limit * 4 / 5 / what.each;
    let (first_ones, others) = campaigns.split_at(usize::try_from(early)?);
    launch(&doors(installation, &tenant, owner)?, first_ones).await?;
    accepted(installation, 1).await?;
    let first = Instant::now();
    accepted(installation, what.limit / 8).await?;
    leave_and_come_back(installation, tenant.id, owner).await?;
    launch(&doors(installation, &tenant, owner)?, others).await?;
    until_blocked(installation).await?;
    let blocked_after = first.elapsed();
    installation.settle(WITHIN).await?;
    check(installation, &tenant, what.limit).await?;
    let blocked = count(installation, BLOCKED).await?;
    let left = count(installation, "messages WHERE state = 'planned'").await?;
    let all = what.campaigns * what.each;
    anyhow::ensure!(left == all - what.limit, "{left} messages wait, of {all}");
    let takeovers = scratch::epoch_of(installation.auditor().await?, tenant.id).await?;
    let (next_accepted_after, released_after) = upgrade(installation, &tenant).await?;
    eventually("every message has arrived", WITHIN, || async {
        let left = count(installation, "messages WHERE state NOT IN ('delivered', 'read')").await?;
        Ok((left == 0).then_some(()))
    })
    .await?;
    installation.settle(WITHIN).await?;
    check(installation, &tenant, all).await?;
    Ok(Exactness {
        tenant,
        campaigns,
        blocked,
        blocked_after,
        takeovers,
        next_accepted_after,
        released_after,
    })
}

fn hard(units: u64) -> anyhow::Result<PlanChoice> {
    Ok(PlanChoice {
        allowance_units: i64::try_from(units)?,
        policy: "hard",
        ..PlanChoice::FREE
    })
}

/// Adds a second node that prefers the tenant's partition, and waits until it has it. Gives its number.
async fn add_owner(installation: &mut Installation, tenant: TenantId) -> anyhow::Result<usize> {
    let (first, partition) = (
        installation.node_name(0).to_owned(),
        Partition::of(tenant, PARTITIONS),
    );
    let name = loop {
        let name = format!("owner-{}", &Uuid::now_v7().simple().to_string()[24..]);
        if partition.preferred([first.as_str(), &name]) == Some(&name) {
            break name;
        }
    };
    let number = installation.add_node(&name, &[]).await?;
    owned(installation, &name, tenant).await?;
    Ok(number)
}

/// Stops the owner, lets the first node take the tenant over, and starts the owner again, which gets it back.
async fn leave_and_come_back(
    installation: &mut Installation,
    tenant: TenantId,
    owner: usize,
) -> anyhow::Result<()> {
    installation.stop_node(owner).await?;
    // Until somebody takes it over, the tenant is still said to be the owner's.
    owned(installation, installation.node_name(0), tenant).await?;
    installation.start_node(owner).await?;
    owned(installation, installation.node_name(owner), tenant).await
}

/// Waits until a node owns the tenant.
async fn owned(installation: &Installation, name: &str, tenant: TenantId) -> anyhow::Result<()> {
    let partition = Partition::of(tenant, PARTITIONS);
    eventually("the node owns the tenant", WITHIN, || async {
        let nodes = installation.admin.get("/admin/v1/nodes").await?;
        let owned = nodes["partitions"].as_array().is_some_and(|partitions| {
            let of_tenant = |one: &&serde_json::Value| one["partition"] == partition.0;
            partitions
                .iter()
                .find(of_tenant)
                .is_some_and(|one| one["node"] == *name)
        });
        Ok(owned.then_some(()))
    })
    .await
}

/// The tenant at each of the two nodes.
fn doors(installation: &Installation, tenant: &Tenant, second: usize) -> anyhow::Result<[Tenant; 2]> {
    let there = Tenant {
        api: installation.public_of(second)?.with_key(&tenant.key),
        ..tenant.clone()
    };
    Ok([tenant.clone(), there])
}

/// Makes and fills the campaigns, through both nodes in turn.
async fn fill(doors: &[Tenant; 2], what: Push) -> anyhow::Result<Vec<String>> {
    let mut campaigns = Vec::new();
    for (number, door) in (0..what.campaigns).zip(doors.iter().cycle()) {
        let campaign = door.draft("pushing").await?;
        let first = FIRST_RECIPIENT + number * what.each;
        door.fill(&campaign, first, what.each).await?;
        campaigns.push(campaign);
    }
    Ok(campaigns)
}

/// Launches campaigns, all at once, through both nodes in turn.
async fn launch(doors: &[Tenant; 2], campaigns: &[String]) -> anyhow::Result<()> {
    let launches = campaigns.iter().zip(doors.iter().cycle());
    let launches = launches.map(|(campaign, door)| door.tell(campaign, "launch"));
    futures_util::future::try_join_all(launches).await?;
    Ok(())
}

async fn accepted(installation: &Installation, messages: u64) -> anyhow::Result<()> {
    eventually("so many are accepted", WITHIN, || async {
        Ok((installation.simulator.truth().accepted >= messages).then_some(()))
    })
    .await
}

/// Waits until every campaign is finished or waits for the plan, and nothing is on its way any more.
async fn until_blocked(installation: &Installation) -> anyhow::Result<()> {
    eventually(
        "the plan blocks every campaign that is not finished",
        WITHIN,
        || async {
            let still =
                count(installation, PUSHING).await? == 0 && count(installation, UNDER_WAY).await? == 0;
            Ok(still.then_some(()))
        },
    )
    .await
}

/// Checks that so many were accepted, delivered and used, and nothing is reserved.
async fn check(installation: &Installation, tenant: &Tenant, units: u64) -> anyhow::Result<()> {
    let truth = installation.simulator.truth();
    anyhow::ensure!(
        truth.accepted == units && truth.billable == units && truth.most_accepted_for_one_recipient == 1,
        "{units} units: {truth:?}"
    );
    let usage = tenant.api.get("/v1/usage").await?;
    anyhow::ensure!(
        usage["captured"] == units && usage["held"] == 0 && usage["forced"] == 0,
        "{units} units: {usage}"
    );
    Ok(())
}

/// Takes a plan without an end (a larger allowance would count for the days that are left alone); tells when the next message was accepted, and when no campaign waited any more.
async fn upgrade(installation: &Installation, tenant: &Tenant) -> anyhow::Result<(Duration, Duration)> {
    let plan = PlanChoice::FREE.publish(installation, "pushing-on").await?;
    let path = format!("/admin/v1/tenants/{}/plan", tenant.id);
    let change = json!({"plan": plan, "effective": "now"});
    let before = Instant::now();
    installation.admin.put(&path, &change).await?;
    let upgraded = Instant::now();
    eventually("no campaign waits any more", WITHIN, || async {
        Ok((count(installation, BLOCKED).await? == 0).then_some(()))
    })
    .await?;
    let released = upgraded.elapsed();
    let next = eventually("a message leaves", WITHIN, || async {
        let accepted = installation
            .simulator
            .acceptances(&tenant.phone_number_id, before);
        Ok(accepted.iter().map(|one| one.at).min())
    })
    .await?;
    Ok((next.saturating_duration_since(upgraded), released))
}

async fn count(installation: &Installation, from: &str) -> anyhow::Result<u64> {
    Ok(u64::try_from(installation.count_rows(from).await?)?)
}
