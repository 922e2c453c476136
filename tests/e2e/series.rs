//! How much a server shows on `/metrics`: a bounded number of series, whatever the number of tenants.

use domain::ids::{EventId, TenantId};
use jiff::Timestamp;
use malote::broker::{Broker, Envelope, Publisher};
use malote::storage::{Database, Role, plans, tenants};
use malote::trial::{Installation, PARTITIONS, PlanChoice, Tenant, eventually};
use simulator::config::Config;
use uuid::Uuid;

use crate::support::{SOON, start};

/// Tenants that have actors at once.
const TENANTS: usize = 1_000;
/// Series that a process may show. Beyond 5,000 `deploy/prometheus/prometheus.yml` refuses it all.
const BUDGET: usize = 1_500;
/// Series that name a tenant: the five deepest mailboxes of each of three kinds.
const NAMED_MOST: usize = 15;
/// Jobs of bookkeeping. Each shows two series, from bookkeeping's first round on.
const JOBS: usize = 8;

async fn series(installation: &Installation) -> Vec<String> {
    let text = installation.admin.get_text("/metrics").await.expect("metrics");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Makes tenants on the same plan as another one.
async fn make_more(installation: &Installation, like: &Tenant) -> Vec<TenantId> {
    let system = Database::connect(&installation.config().database, Role::AppSystem)
        .await
        .expect("the database answers");
    let mut transaction = system.begin().await.expect("the database answers");
    let model = tenants::find(&mut transaction, like.id)
        .await
        .expect("the database answers")
        .expect("the database answers");
    let code = model.plan.expect("a plan");
    let plan = plans::newest(&mut transaction, &code)
        .await
        .expect("the database answers")
        .expect("the database answers");
    let made: Vec<TenantId> = (0..TENANTS).map(|_| TenantId(Uuid::now_v7())).collect();
    for tenant in &made {
        let (name, zone) = ("one of many", "Europe/Lisbon");
        tenants::insert(&mut transaction, *tenant, name, zone)
            .await
            .expect("the database answers");
        plans::assign(&mut transaction, *tenant, plan.plan.id, Timestamp::now(), "now")
            .await
            .expect("the database answers");
    }
    transaction.commit().await.expect("the database answers");
    made
}

/// The value of a series, summed over those that begin with a text.
fn sum_of(series: &[String], begins: &str) -> f64 {
    let lines = series.iter().filter(|line| line.starts_with(begins));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

/// What a campaign of twenty must have left in the metrics, whichever part tells it, and when.
fn check_what_a_campaign_leaves(series: &[String]) -> anyhow::Result<()> {
    for (begins, least) in [
        (
            "malote_http_requests_total{class=\"api\",method=\"POST\",route=\"/v1/campaigns\",status=\"2xx\"}",
            1.0,
        ),
        ("malote_http_request_seconds_count{class=\"upload\"}", 1.0),
        (
            "malote_webhook_acknowledgement_seconds_count{door=\"native\"}",
            1.0,
        ),
        (
            "malote_message_due_to_accepted_seconds_count{lane=\"bulk\"}",
            20.0,
        ),
        ("malote_event_to_settled_seconds_count", 40.0),
        ("malote_dependency_up{dependency=", 3.0),
        (
            "malote_dependency_check_seconds_count{dependency=\"rabbitmq\"}",
            1.0,
        ),
        ("malote_pool_gets_total{pool=\"app_rw\"", 1.0),
        ("malote_billing_freshness_looks_total{fresh=\"yes\"}", 1.0),
        ("malote_secret_age_seconds{secret=", 1.0),
    ] {
        let found = sum_of(series, begins);
        anyhow::ensure!(found >= least, "{begins}: {found} where {least} is the least");
    }
    let is_age = |line: &&String| line.starts_with("malote_billing_job_age_seconds{");
    let ages = series.iter().filter(is_age).count();
    anyhow::ensure!(ages == JOBS, "{ages} of {JOBS} jobs show an age");
    let late = "malote_message_due_to_accepted_seconds_bucket{le=\"60.0\",lane=\"bulk\"}";
    anyhow::ensure!(sum_of(series, late) >= 20.0, "a clock of a minute is off");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tenants_make_no_more_series_than_one() {
    let installation = start("series", Config::for_tests(), &[]).await;
    let tenant = Tenant::create(&installation, "series", PlanChoice::FREE, 80)
        .await
        .unwrap();
    let campaign = tenant.launch_to("first", 40_000_000, 20).await.unwrap();
    tenant.finished(&campaign, SOON).await.unwrap();
    installation.settle(SOON).await.unwrap();
    let before = eventually("the metrics tell all", SOON, || async {
        let shown = series(&installation).await;
        check_what_a_campaign_leaves(&shown)?;
        Ok(Some(shown.len()))
    })
    .await
    .unwrap();

    let publisher = Publisher::start(Broker::new(&installation.config().broker, PARTITIONS).unwrap());
    for tenant in make_more(&installation, &tenant).await {
        // A delivery that names nothing starts the tenant's actors.
        let events: Vec<EventId> = Vec::new();
        publisher.publish_soon(Envelope::Events { tenant, events });
    }
    let alive = eventually("every tenant has its actors", SOON, || async {
        let shown = series(&installation).await;
        let alive = shown
            .iter()
            .find_map(|line| line.strip_prefix("malote_actors_alive{kind=\"send_queue\"} "));
        let alive: usize = alive.unwrap_or("0").parse()?;
        Ok((alive >= TENANTS).then_some(shown))
    })
    .await
    .unwrap();
    assert!(
        alive.len() <= before + NAMED_MOST,
        "{} series with {TENANTS} tenants, {before} with one",
        alive.len()
    );
    assert!(
        alive.len() <= BUDGET,
        "{} series; {BUDGET} are allowed",
        alive.len()
    );
    eprintln!("{before} series with one tenant, {} with {TENANTS}", alive.len());
    installation.stop().await.unwrap();
}
