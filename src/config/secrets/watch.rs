//! Looking for renewed secrets. A new value is tried before it replaces the one that works.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::{Secret, SecretName, Secrets};

/// Tries a value at the door that it should open.
pub type Probe =
    Arc<dyn Fn(Secret) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The label of the store itself beside the secrets' names.
const STORE: &str = "store";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    secret: &'static str,
}

/// What happened to secrets, by their names; never their values.
#[derive(Clone, Default)]
pub struct Metrics {
    loaded: Family<Label, Gauge>,
    age: Family<Label, Gauge>,
    renewals: Family<Label, Counter>,
    failures: Family<Label, Counter>,
}

impl Metrics {
    /// Registers the metrics and gives each secret its zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "malote_secret_loaded_timestamp_seconds",
            "When the value in use was taken; 0 for a secret that this process does not use",
            metrics.loaded.clone(),
        );
        registry.register(
            "malote_secret_age_seconds",
            "How long ago the source of a secret in use last changed: its file, or the store's version; 0 where nothing tells",
            metrics.age.clone(),
        );
        registry.register(
            "malote_secret_renewals",
            "Renewed values that were taken without a restart",
            metrics.renewals.clone(),
        );
        registry.register(
            "malote_secret_reload_failures",
            "Looks at a source that could not be read, and new values that did not work; the last good value stays in use",
            metrics.failures.clone(),
        );
        for secret in SecretName::ALL.map(SecretName::as_str).into_iter().chain([STORE]) {
            drop(metrics.loaded.get_or_create(&Label { secret }));
            drop(metrics.age.get_or_create(&Label { secret }));
            drop(metrics.renewals.get_or_create(&Label { secret }));
            drop(metrics.failures.get_or_create(&Label { secret }));
        }
        metrics
    }

    fn changed(&self, name: SecretName, at: SystemTime) {
        let label = Label {
            secret: name.as_str(),
        };
        let age = SystemTime::now().duration_since(at).unwrap_or_default();
        let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.age.get_or_create(&label).set(seconds);
    }

    fn loaded(&self, name: SecretName, since: SystemTime) {
        let label = Label {
            secret: name.as_str(),
        };
        let seconds = seconds(since);
        let before = self.loaded.get_or_create(&label).set(seconds);
        if before != 0 && before != seconds {
            self.renewals.get_or_create(&label).inc();
        }
    }

    fn failed(&self, secret: &'static str) {
        self.failures.get_or_create(&Label { secret }).inc();
    }
}

fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Looks at the sources of all secrets in use, again and again.
pub struct Watch {
    secrets: Secrets,
    every: Duration,
    probes: BTreeMap<SecretName, Probe>,
    metrics: Metrics,
    /// The last problem of each, so that it is told once and not at each look.
    problems: BTreeMap<&'static str, String>,
}

impl Watch {
    /// Makes a watch that looks once per `every`.
    pub fn new(secrets: Secrets, every: Duration, metrics: Metrics) -> Self {
        Self {
            secrets,
            every,
            probes: BTreeMap::new(),
            metrics,
            problems: BTreeMap::new(),
        }
    }

    /// Tries new values of this secret here before they are taken. Secrets that callers show us need no trial.
    #[must_use]
    pub fn with_probe(mut self, name: SecretName, probe: Probe) -> Self {
        self.probes.insert(name, probe);
        self
    }

    /// Looks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.look().await;
            stop.run_until_cancelled(tokio::time::sleep(self.every)).await;
        }
    }

    /// Looks once.
    pub async fn look(&mut self) {
        match self.secrets.0.sources.refresh().await {
            Ok(()) => drop(self.problems.remove(STORE)),
            Err(error) => self.note(STORE, error.to_string()),
        }
        for name in self.secrets.in_use() {
            match self.look_at(name).await {
                Ok(()) => drop(self.problems.remove(name.as_str())),
                Err(problem) => self.note(name.as_str(), problem),
            }
            if let Some(since) = self.secrets.since(name) {
                self.metrics.loaded(name, since);
            }
            if let Some(at) = self.secrets.0.sources.changed(name) {
                self.metrics.changed(name, at);
            }
        }
    }

    async fn look_at(&self, name: SecretName) -> Result<(), String> {
        let found = self.secrets.look(name).map_err(|error| error.to_string())?;
        let Some(value) = found else {
            return Ok(());
        };
        if let Some(probe) = self.probes.get(&name) {
            probe(value.clone())
                .await
                .map_err(|problem| format!("the new value does not work: {problem}"))?;
        }
        self.secrets.worked(name, &value);
        Ok(())
    }

    fn note(&mut self, secret: &'static str, problem: String) {
        self.metrics.failed(secret);
        if self.problems.get(secret) != Some(&problem) {
            tracing::warn!(
                secret,
                problem,
                "a secret cannot be renewed; the last good value stays in use"
            );
            self.problems.insert(secret, problem);
        }
    }
}
