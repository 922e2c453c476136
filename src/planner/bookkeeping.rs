//! Keeps the books in order: closes periods, lets go of holds without news, anchors the ledgers outside of the database, reconciles a
//! sample hourly and everything nightly, with itself and with Meta, and writes beside the ledger what Meta takes. Any number of planners may run: who moves a job's due time runs it, alone.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use crate::charges::{self, UNSETTLED_DAYS};
use crate::config;
use crate::meta::Client;
use crate::storage::anchors::{self, Anchored};
use crate::storage::audit::Report;
use crate::storage::committer::{closing, expiry};
use crate::storage::findings::Ran;
use crate::storage::reconcile::{SAMPLE_USUAL, Sample, any_seed, reconcile};
use crate::storage::sender_directory::SenderDirectory;
use crate::storage::{Database, StorageError, audit, findings, jobs, meta_costs};

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
    ExpireHolds,
    Anchor,
    ReconcileSample,
    ReconcileFull,
    ReconcileMeta,
    VerifyAudit,
    MetaCosts,
}

impl Job {
    const ALL: [Self; 8] = [
        Self::Close,
        Self::ExpireHolds,
        Self::Anchor,
        Self::ReconcileSample,
        Self::ReconcileFull,
        Self::ReconcileMeta,
        Self::VerifyAudit,
        Self::MetaCosts,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::ExpireHolds => "expire_holds",
            Self::Anchor => "anchor",
            Self::ReconcileSample => "reconcile_sample",
            Self::ReconcileFull => "reconcile_full",
            Self::ReconcileMeta => "reconcile_meta",
            Self::VerifyAudit => "verify_audit",
            Self::MetaCosts => "meta_costs",
        }
    }

    /// Tells whether what a run does not find is gone. A sample proves nothing about the rest; a comparison with Meta sees one week, and
    /// only the accounts about which Meta answers: its findings stay until somebody has explained them.
    const fn sees_everything(self) -> bool {
        !matches!(self, Self::ReconcileSample | Self::ReconcileMeta)
    }

    const fn every(self) -> Duration {
        Duration::from_secs(match self {
            Self::Close | Self::MetaCosts => 60,
            Self::ReconcileSample => HOUR,
            Self::ExpireHolds
            | Self::Anchor
            | Self::ReconcileFull
            | Self::ReconcileMeta
            | Self::VerifyAudit => 24 * HOUR,
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
    expired: Counter,
    drifted: Counter,
    unpriced: Counter,
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
            "What is wrong in the books by a job's last run, and nobody has explained",
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
        registry.register(
            "malote_billing_expired_holds",
            "Units given back because nothing was heard of their messages any more",
            metrics.expired.clone(),
        );
        registry.register(
            "malote_billing_drifted_messages",
            "Messages for which Meta charged another category than was reserved",
            metrics.drifted.clone(),
        );
        registry.register(
            "malote_billing_unpriced_messages",
            "Messages that no rate card has a price for when they were booked",
            metrics.unpriced.clone(),
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
    senders: SenderDirectory,
    meta: Client,
    settings: config::Billing,
    metrics: Metrics,
}

impl Bookkeeping {
    /// Makes the bookkeeping of this process. `database` sees all tenants.
    pub fn new(
        database: Database,
        (senders, meta): (SenderDirectory, Client),
        settings: config::Billing,
        registry: &mut Registry,
    ) -> Self {
        Self {
            database,
            senders,
            meta,
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
            stop.run_until_cancelled(tokio::time::sleep(ROUND)).await;
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
        let mut ran = Ran {
            job: job.as_str(),
            began_at: Timestamp::now(),
            seed: None,
            is_whole: job.sees_everything(),
        };
        let report = match job {
            Job::Close => {
                let grace = Duration::from_secs(self.settings.grace_hours * HOUR);
                let closed = closing::close_due(&self.database, grace).await?;
                self.metrics.closed.inc_by(closed as u64);
                None
            }
            Job::ExpireHolds => {
                let after = Duration::from_secs(self.settings.hold_days * 24 * HOUR);
                let expired = expiry::expire_holds(&self.database, after).await?;
                self.metrics.expired.inc_by(expired as u64);
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
                ran.seed = Some(seed);
                Some(reconcile(&self.database, None, Some(Sample { seed, size })).await?)
            }
            Job::ReconcileFull => Some(reconcile(&self.database, None, None).await?),
            Job::ReconcileMeta => {
                let outside = (&self.senders, &self.meta);
                let report =
                    charges::compare(&self.database, outside, Timestamp::now(), UNSETTLED_DAYS).await?;
                for account in &report.unanswered {
                    tracing::warn!(account, "Meta does not tell what it charged; it is not compared");
                }
                let is_mute = report.tenants == 0 && !report.unanswered.is_empty();
                anyhow::ensure!(!is_mute, "Meta tells of no account what it charged");
                Some(report)
            }
            Job::MetaCosts => {
                self.record_costs().await?;
                None
            }
            Job::VerifyAudit => Some(audit::verify(&self.database, None, &Anchored::new()).await?),
        };
        let open = match report {
            Some(report) => self.keep(ran, &report).await?,
            None => 0,
        };
        jobs::done(&self.database, job.as_str(), open).await?;
        Ok(())
    }

    async fn record_costs(&self) -> Result<(), StorageError> {
        loop {
            let recorded = meta_costs::record(&self.database).await?;
            if recorded.units == 0 {
                return Ok(());
            }
            self.metrics.drifted.inc_by(recorded.drifted as u64);
            self.metrics.unpriced.inc_by(recorded.unpriced as u64);
        }
    }

    /// Keeps what a check found, and tells how many findings nobody has explained.
    async fn keep(&self, ran: Ran<'_>, report: &Report) -> Result<usize, StorageError> {
        for finding in &report.findings {
            tracing::error!(job = ran.job, invariant = finding.invariant.id, tenant.id = %finding.tenant, found = finding.found,
                "the books are wrong");
        }
        findings::keep(&self.database, ran, report).await
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
