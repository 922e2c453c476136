//! Keeps the books in order: closes periods, anchors the ledgers outside of the database, reconciles a sample hourly and everything
//! nightly. Any number of planners may run: who moves a job's due time runs it, alone.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::storage::anchors::{self, Anchored};
use crate::storage::committer::closing;
use crate::storage::reconcile::{SAMPLE_USUAL, Sample, any_seed, reconcile};
use crate::storage::{Database, audit, jobs};

/// The time between two looks at what is due.
const ROUND: Duration = Duration::from_secs(10);
/// When a job that failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The seconds of an hour.
const HOUR: u64 = 3_600;

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Close,
    Anchor,
    ReconcileSample,
    ReconcileFull,
    VerifyAudit,
}

impl Job {
    const ALL: [Self; 5] = [
        Self::Close,
        Self::Anchor,
        Self::ReconcileSample,
        Self::ReconcileFull,
        Self::VerifyAudit,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Anchor => "anchor",
            Self::ReconcileSample => "reconcile_sample",
            Self::ReconcileFull => "reconcile_full",
            Self::VerifyAudit => "verify_audit",
        }
    }

    const fn every(self) -> Duration {
        Duration::from_secs(match self {
            Self::Close => 60,
            Self::ReconcileSample => HOUR,
            Self::Anchor | Self::ReconcileFull | Self::VerifyAudit => 24 * HOUR,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabel {
    task: String,
}

/// What bookkeeping did.
#[derive(Clone, Default)]
struct Metrics {
    runs: Family<JobLabel, Counter>,
    failures: Family<JobLabel, Counter>,
    findings: Family<JobLabel, Gauge>,
    age: Family<JobLabel, Gauge<f64, AtomicU64>>,
    closed: Counter,
}

impl Metrics {
    /// Registers the metrics and gives each job its zero.
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "malote_billing_job_runs",
            "Jobs that ended, by job",
            metrics.runs.clone(),
        );
        registry.register(
            "malote_billing_job_failures",
            "Jobs that a dependency failed",
            metrics.failures.clone(),
        );
        registry.register(
            "malote_billing_findings",
            "What the last run of a job found wrong in the books",
            metrics.findings.clone(),
        );
        registry.register(
            "malote_billing_job_age_seconds",
            "How long ago a job ended last, on any node: more than twice its time means that a run was missed",
            metrics.age.clone(),
        );
        registry.register(
            "malote_billing_closed_periods",
            "Periods that were closed",
            metrics.closed.clone(),
        );
        for job in Job::ALL {
            let label = JobLabel {
                task: job.as_str().to_owned(),
            };
            drop(metrics.runs.get_or_create(&label));
            drop(metrics.failures.get_or_create(&label));
        }
        metrics
    }
}

/// Keeps the books of this installation in order.
pub struct Bookkeeping {
    database: Database,
    settings: config::Billing,
    metrics: Metrics,
}

impl Bookkeeping {
    /// Makes the bookkeeping of this process. `database` sees all tenants.
    pub fn new(database: Database, settings: config::Billing, registry: &mut Registry) -> Self {
        Self {
            database,
            settings,
            metrics: Metrics::register(registry),
        }
    }

    /// Runs what is due until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            for job in Job::ALL {
                self.run_if_due(job).await;
            }
            if let Err(error) = self.show().await {
                tracing::warn!(%error, "looking at the jobs of billing failed");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    async fn run_if_due(&self, job: Job) {
        let label = JobLabel {
            task: job.as_str().to_owned(),
        };
        let ended = match jobs::take(&self.database, job.as_str(), job.every()).await {
            Ok(false) => return,
            Ok(true) => self.do_job(job).await,
            Err(error) => Err(error.into()),
        };
        match ended {
            Ok(()) => drop(self.metrics.runs.get_or_create(&label).inc()),
            Err(error) => {
                self.metrics.failures.get_or_create(&label).inc();
                tracing::warn!(job = job.as_str(), %error, "a job of billing failed and is tried again");
                if let Err(error) = jobs::failed(&self.database, job.as_str(), AGAIN_AFTER).await {
                    tracing::warn!(%error, "it is due again only after its whole time");
                }
            }
        }
    }

    async fn do_job(&self, job: Job) -> anyhow::Result<()> {
        let report = match job {
            Job::Close => {
                let grace = Duration::from_secs(self.settings.grace_hours * HOUR);
                let closed = closing::close_due(&self.database, grace).await?;
                self.metrics.closed.inc_by(closed as u64);
                None
            }
            Job::Anchor => {
                let anchor = anchors::take(&self.database).await?;
                export(&self.settings.anchors_file, &anchor).await?;
                None
            }
            Job::ReconcileSample => {
                let (seed, size) = (any_seed(), SAMPLE_USUAL);
                tracing::info!(seed, size, "reconciling a sample");
                Some(reconcile(&self.database, None, Some(Sample { seed, size })).await?)
            }
            Job::ReconcileFull => Some(reconcile(&self.database, None, None).await?),
            Job::VerifyAudit => Some(audit::verify(&self.database, None, &Anchored::new()).await?),
        };
        let findings = report.map_or_else(Vec::new, |report| report.findings);
        for finding in &findings {
            tracing::error!(job = job.as_str(), invariant = finding.invariant.id, tenant.id = %finding.tenant, found = finding.found,
                "the books are wrong");
        }
        jobs::done(&self.database, job.as_str(), findings.len()).await?;
        Ok(())
    }

    async fn show(&self) -> anyhow::Result<()> {
        for state in jobs::states(&self.database).await? {
            let label = JobLabel { task: state.name };
            self.metrics.findings.get_or_create(&label).set(state.findings);
            self.metrics.age.get_or_create(&label).set(state.age);
        }
        Ok(())
    }
}

/// Adds an anchor to the file outside of the database, if there is one.
async fn export(file: &str, anchor: &anchors::Anchor) -> anyhow::Result<()> {
    if file.is_empty() {
        return Ok(());
    }
    let mut line = serde_json::to_string(anchor)?;
    line.push('\n');
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .await?;
    file.write_all(line.as_bytes()).await?;
    file.sync_all().await?;
    Ok(())
}
