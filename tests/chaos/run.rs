//! One seed: a quiet time, every fault at a random moment, the end of all campaigns, the audit.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use malote::trial::eventually;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::auditor;
use crate::faults::Fault;
use crate::report::{Report, Struck};
use crate::strikes::Strike;
use crate::world::{World, balanced};

/// How long the tenants may take to send again after a fault.
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);
/// How long the campaigns may take to finish after the last fault.
const FINISHES_WITHIN: Duration = Duration::from_secs(300);
/// How long what is left may take to settle: longer than a claim's deadline and a late webhook together.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);
/// How long nodes may take to find their partitions.
const BALANCED_WITHIN: Duration = Duration::from_secs(60);
/// What neighbours must keep of their pace while another tenant is hurt.
const PACE_LEAST: f64 = 0.8;
/// How often a fault may strike before neighbours that lost pace each time are its work: a machine that stood still does so once.
const STRIKES_MOST: usize = 2;

/// How large a run is.
pub(crate) struct Scale {
    /// Recipients of each campaign.
    pub(crate) recipients: u64,
    /// How long nothing is broken at first.
    pub(crate) quiet: Duration,
    /// The longest pause between two faults.
    pub(crate) pause: Duration,
    /// How long Redis is away.
    pub(crate) redis_away: Duration,
    /// How long Meta is away.
    pub(crate) meta_down: Duration,
    /// How long the neighbours of a tenant that is hurt are watched.
    pub(crate) watched: Duration,
}

impl Scale {
    /// Five minutes.
    pub(crate) const FULL: Self = Self {
        recipients: 1_000,
        quiet: Duration::from_secs(15),
        pause: Duration::from_secs(3),
        redis_away: Duration::from_secs(60),
        meta_down: Duration::from_secs(20),
        watched: Duration::from_secs(8),
    };
    /// A minute and a half.
    pub(crate) const SHORT: Self = Self {
        recipients: 350,
        quiet: Duration::from_secs(8),
        pause: Duration::from_millis(500),
        redis_away: Duration::from_secs(6),
        meta_down: Duration::from_secs(5),
        watched: Duration::from_secs(5),
    };
}

/// Runs a seed.
pub(crate) async fn run(seed: u64, scale: &Scale, only: &[String]) -> anyhow::Result<Report> {
    let order = order(seed, only)?;
    let mut world = World::start(seed, scale).await?;
    let mut report = Report::new(seed, world.installation.directory());
    let outcome = break_all(&mut world, scale, &order, &mut report).await;
    if let Err(error) = outcome {
        report.broken(format!("{error:#}"));
    }
    world.stop_watching().await;
    report.most_unknown = world.most_unknown();
    report.seconds = world.begun.elapsed().as_secs_f64();
    report.print();
    report.write()?;
    if report.holds() {
        world.sight.close().await;
        world.installation.stop().await?;
    }
    Ok(report)
}

fn order(seed: u64, only: &[String]) -> anyhow::Result<Vec<Fault>> {
    let mut order: Vec<Fault> = Fault::ALL
        .into_iter()
        .filter(|fault| only.is_empty() || only.iter().any(|name| name == fault.name()))
        .collect();
    anyhow::ensure!(
        only.is_empty() || order.len() == only.len(),
        "--only knows: {}",
        Fault::ALL.map(Fault::name).join(", ")
    );
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    Ok(order)
}

async fn break_all(
    world: &mut World,
    scale: &Scale,
    order: &[Fault],
    report: &mut Report,
) -> anyhow::Result<()> {
    balanced(world, BALANCED_WITHIN).await?;
    measure_quiet(world, scale.quiet).await?;
    for fault in order {
        let pause = world.random.random_range(0..=scale.pause.as_millis() as u64);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let mut slow = None;
        for _ in 0..STRIKES_MOST {
            slow = strike(world, scale, *fault, report).await?;
            if slow.is_none() {
                break;
            }
        }
        if fault.is_of_one_tenant() {
            report.look(domain::invariants::APART, slow.into_iter().collect());
        }
        for ended in world.installation.ended_nodes()? {
            report.broken(format!("after {}: the node {ended}", fault.name()));
        }
    }
    finish(world).await?;
    auditor::audit(world, report).await
}

/// Strikes once and waits until all have recovered. Says so where the neighbours of a hurt tenant lost pace.
async fn strike(
    world: &mut World,
    scale: &Scale,
    fault: Fault,
    report: &mut Report,
) -> anyhow::Result<Option<String>> {
    if fault.is_of_one_tenant() {
        undisturbed(world).await?;
    }
    world.top_up().await?;
    let strike = world
        .strike(fault, scale)
        .await
        .with_context(|| format!("{} did not go as it should", fault.name()))?;
    let recovered = recover(world, &strike)
        .await
        .with_context(|| format!("after {}", fault.name()))?;
    let pace = match strike.victim {
        Some(victim) => Some(world.pace_of_neighbours(victim, &strike, scale.watched).await),
        None => None,
    };
    note(world, report, fault, strike, recovered, pace);
    let slow = pace.filter(|pace| *pace < PACE_LEAST);
    Ok(slow.map(|pace| {
        format!(
            "{}: the neighbours kept {:.0} % of their pace",
            fault.name(),
            100.0 * pace
        )
    }))
}

fn note(
    world: &World,
    report: &mut Report,
    fault: Fault,
    strike: Strike,
    recovered: Duration,
    pace: Option<f64>,
) {
    let lasted = strike.over - strike.at;
    let neighbours = pace.map_or_else(String::new, |pace| {
        format!("; neighbours at {:.0} %", 100.0 * pace)
    });
    world.say(&format!(
        "{}: over after {:.1} s, all send again {:.1} s later{neighbours}",
        fault.name(),
        lasted.as_secs_f64(),
        recovered.as_secs_f64()
    ));
    report.struck.push(Struck {
        fault,
        in_flight: strike.in_flight,
        lasted,
        recovered,
        neighbours: pace,
        lost: 0,
        doubled: 0,
        charged_twice: 0,
    });
}

/// Waits until what the fault before moved has come to rest, so that the neighbours' pace tells of the next one alone.
async fn undisturbed(world: &World) -> anyhow::Result<()> {
    balanced(world, BALANCED_WITHIN).await?;
    let everybody: Vec<usize> = (0..world.customers.len()).collect();
    send_again(world, &everybody, &world.accepted()).await
}

/// What Meta accepts of each tenant while nothing is broken.
async fn measure_quiet(world: &mut World, quiet: Duration) -> anyhow::Result<()> {
    let all_send = vec![0; world.customers.len()];
    send_again(world, &(0..world.customers.len()).collect::<Vec<_>>(), &all_send).await?;
    let (before, begun) = (world.accepted(), Instant::now());
    tokio::time::sleep(quiet).await;
    let seconds = begun.elapsed().as_secs_f64();
    let after = world.accepted();
    world.quiet = before
        .iter()
        .zip(&after)
        .map(|(before, after)| f64::from(after - before) / seconds)
        .collect();
    let all: f64 = world.quiet.iter().sum();
    world.say(&format!("quiet: Meta accepts {all:.0} messages a second"));
    Ok(())
}

async fn recover(world: &World, strike: &Strike) -> anyhow::Result<Duration> {
    let victims = match strike.victim {
        Some(victim) => vec![victim],
        None => (0..world.customers.len()).collect(),
    };
    send_again(world, &victims, &strike.accepted_when_over).await?;
    Ok(strike.over.elapsed())
}

/// Waits until Meta has accepted more of each of these tenants, except of those that have nothing left to send.
async fn send_again(world: &World, who: &[usize], before: &[u32]) -> anyhow::Result<()> {
    let done = eventually("all tenants send again", RECOVERS_WITHIN, || async {
        Ok(silent(world, who, before).await?.is_empty().then_some(()))
    })
    .await;
    if done.is_err() {
        let silent = silent(world, who, before).await?;
        let tenants: Vec<String> = silent
            .iter()
            .map(|number| world.customers[*number].tenant.id.to_string())
            .collect();
        anyhow::bail!(
            "these tenants do not send again within {RECOVERS_WITHIN:?}: {}",
            tenants.join(", ")
        );
    }
    Ok(())
}

async fn silent(world: &World, who: &[usize], before: &[u32]) -> anyhow::Result<Vec<usize>> {
    let now = world.accepted();
    let waiting: Vec<usize> = who
        .iter()
        .copied()
        .filter(|number| now[*number] <= before[*number])
        .collect();
    if waiting.is_empty() {
        return Ok(waiting);
    }
    let left = world.sight.left().await?;
    Ok(waiting
        .into_iter()
        .filter(|number| left.contains_key(&world.customers[*number].tenant.id.0))
        .collect())
}

/// Waits until nothing is left to send, every webhook was taken and every event applied.
async fn finish(world: &World) -> anyhow::Result<()> {
    let sight = &world.sight;
    eventually("all campaigns end", FINISHES_WITHIN, || async {
        let open = sight
            .number(
                "SELECT (SELECT count(*) FROM campaigns WHERE NOT (state = 'finished' OR (state = 'cancelled'
                    AND finished_at IS NOT NULL)))
                 + (SELECT count(*) FROM messages m JOIN tenants t ON t.id = m.tenant_id
                    WHERE m.state = 'unknown' AND t.unknown_policy <> 'keep')",
            )
            .await?;
        Ok((open == 0).then_some(()))
    })
    .await?;
    world.say("all campaigns have ended");
    let simulator = &world.installation.simulator;
    anyhow::ensure!(
        simulator.wait_until_idle(SETTLES_WITHIN).await,
        "webhooks are still waiting after {SETTLES_WITHIN:?}"
    );
    eventually("every event is applied", SETTLES_WITHIN, || async {
        let left = sight
            .number("SELECT count(*) FROM events WHERE applied_at IS NULL")
            .await?;
        Ok((left == 0).then_some(()))
    })
    .await?;
    world.say("every webhook is stored and applied");
    Ok(())
}
