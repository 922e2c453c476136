//! The settings by section, as `config/default.toml` explains them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Secret, SecretName, SecretSettings, Secrets};

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listeners.
    pub http: Http,
    /// What tenants may ask of the API.
    pub api: Api,
    /// This process among its peers.
    pub node: Node,
    /// The operators' API.
    pub admin: Admin,
    /// PostgreSQL.
    pub database: Database,
    /// Redis.
    pub redis: Redis,
    /// RabbitMQ.
    pub broker: Broker,
    /// Meta's Cloud API.
    pub meta: Meta,
    /// Where webhooks come in.
    pub webhooks: Webhooks,
    /// The process at the edge.
    pub relay: Relay,
    /// How messages travel.
    pub pipeline: Pipeline,
    /// Invoices and anchors.
    pub billing: Billing,
    /// Where secrets come from.
    pub secrets: SecretSettings,
    /// Logs.
    pub telemetry: Telemetry,
}

/// Listeners.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Http {
    pub public_address: SocketAddr,
    pub internal_address: SocketAddr,
    pub leave_seconds: u64,
    pub drain_seconds: u64,
}

/// What tenants may ask of the API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Api {
    pub requests_per_second: u32,
    pub requests_at_once: u32,
    pub wrong_key_every_ms: u64,
    pub wrong_keys_at_once: u32,
    pub in_flight_most: usize,
    pub trusted_proxies: Vec<IpAddr>,
}

/// This process among its peers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Node {
    pub name: String,
    pub wait_for_servers_seconds: u64,
}

/// The operators' API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Admin {
    pub key_file: String,
    /// Gives the secrets of this section.
    #[serde(skip)]
    pub secrets: Secrets,
}

/// PostgreSQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Database {
    pub host: String,
    pub port: u16,
    pub name: String,
    pub app_rw_password_file: String,
    pub app_system_password_file: String,
    pub migration_password_file: String,
    pub audit_password_file: String,
    pub pool_size: u32,
    pub connect_timeout_ms: u64,
    /// Gives the secrets of this section.
    #[serde(skip)]
    pub secrets: Secrets,
}

/// Redis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Redis {
    pub address: String,
    pub password_file: String,
    pub prefix: String,
    /// Gives the secrets of this section.
    #[serde(skip)]
    pub secrets: Secrets,
}

/// RabbitMQ.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Broker {
    pub address: String,
    pub user: String,
    pub virtual_host: String,
    pub password_file: String,
    pub prefix: String,
    /// Gives the secrets of this section.
    #[serde(skip)]
    pub secrets: Secrets,
}

/// Meta's Cloud API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Meta {
    pub base_url: String,
    pub version: String,
    pub app_secret_file: String,
    pub previous_app_secret_file: String,
    pub verify_token_file: String,
    pub timeout_ms: u64,
    /// Gives the secrets of this section.
    #[serde(skip)]
    pub secrets: Secrets,
}

/// Invoices and anchors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Billing {
    pub grace_hours: u64,
    pub hold_days: u64,
    pub correct_alone_up_to: u64,
    pub anchors_file: String,
}

/// Where webhooks come in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Webhooks {
    pub native: bool,
    pub relay_key_file: String,
    pub previous_relay_key_file: String,
    /// Gives the secrets of this section.
    #[serde(skip)]
    pub secrets: Secrets,
}

/// The process at the edge.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Relay {
    pub public_address: SocketAddr,
    pub internal_address: SocketAddr,
    pub forward_to: String,
    pub key_file: String,
    pub directory: String,
    pub spool_most_mb: u64,
    pub keep_hours: u64,
    pub keep_most_mb: u64,
    pub concurrency: usize,
    pub drain_seconds: u64,
}

/// How messages travel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Pipeline {
    pub partitions: u16,
    pub claim_deadline_ms: u64,
    pub retry_first_delay_ms: u64,
    pub refusals_forgiven_seconds: u64,
    pub window_ms: u64,
    pub window_most: u32,
    pub queued_for_most_ms: u64,
    pub unapplied_for_most_ms: u64,
    pub passivate_after_ms: u64,
    pub quarantine_first_ms: u64,
    pub drain_seconds: u64,
    pub history_after_seconds: u64,
}

/// Logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct Telemetry {
    pub log_format: LogFormat,
    pub log_filter: String,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For log stores.
    Json,
}

impl Config {
    /// Checks what no type can say.
    pub(super) fn check(&self, is_production: bool) -> Result<(), ConfigError> {
        let wrong = |name: &str, value: String, problem: &str| {
            Err(ConfigError::Value {
                name: name.to_owned(),
                value,
                problem: problem.to_owned(),
            })
        };
        let pipeline = &self.pipeline;
        if pipeline.partitions == 0 || pipeline.partitions > 1024 {
            return wrong(
                "pipeline.partitions",
                pipeline.partitions.to_string(),
                "should be 1 to 1024",
            );
        }
        if self.meta.timeout_ms >= pipeline.claim_deadline_ms {
            return wrong(
                "meta.timeout_ms",
                self.meta.timeout_ms.to_string(),
                "should be shorter than pipeline.claim_deadline_ms, or calls outlive their claims",
            );
        }
        if self.database.pool_size < 4 {
            return wrong(
                "database.pool_size",
                self.database.pool_size.to_string(),
                "should be at least 4",
            );
        }
        if self.relay.concurrency == 0 {
            let problem = "should be at least 1, or nothing is forwarded";
            return wrong("relay.concurrency", "0".to_owned(), problem);
        }
        if pipeline.quarantine_first_ms == 0 {
            return wrong(
                "pipeline.quarantine_first_ms",
                "0".to_owned(),
                "should be at least 1, or a tenant that keeps failing is tried again without end",
            );
        }
        if pipeline.window_most == 0 {
            return wrong(
                "pipeline.window_most",
                "0".to_owned(),
                "should be at least 1, or nothing is sent",
            );
        }
        self.secrets.check(is_production)
    }

    /// Hands every section the secrets, from the files that the settings name, the store, and variables.
    pub(super) fn give_secrets(
        &mut self,
        files: BTreeMap<SecretName, String>,
        variables: BTreeMap<SecretName, Secret>,
    ) {
        let secrets = self.secrets.open(files, variables);
        self.admin.secrets = secrets.clone();
        self.database.secrets = secrets.clone();
        self.redis.secrets = secrets.clone();
        self.broker.secrets = secrets.clone();
        self.meta.secrets = secrets.clone();
        self.webhooks.secrets = secrets;
    }
}

impl Meta {
    /// Gives the secrets with which webhooks may be signed now: the current one first, then those that it replaced. Ask at each delivery.
    ///
    /// # Errors
    /// When a secret cannot be read.
    pub fn app_secrets(&self) -> Result<Vec<Secret>, ConfigError> {
        let mut secrets = self.secrets.accepted(SecretName::AppSecret)?;
        secrets.extend(self.secrets.accepted_if_any(SecretName::PreviousAppSecret)?);
        Ok(secrets)
    }

    /// Gives what Meta's handshake may say now. Ask at each handshake.
    ///
    /// # Errors
    /// When the secret cannot be read.
    pub fn verify_tokens(&self) -> Result<Vec<Secret>, ConfigError> {
        self.secrets.accepted(SecretName::VerifyToken)
    }

    /// How long one call may take in all.
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

impl Webhooks {
    /// Gives the keys of the relay's hop that count now, each with the setting that names it: the current one first. None if no relay is
    /// expected. Ask at each attempt.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn hop_keys(&self) -> Result<Vec<(&'static str, Secret)>, ConfigError> {
        let mut keys = Vec::new();
        for (setting, name) in [
            ("webhooks.relay_key_file", SecretName::RelayKey),
            ("webhooks.previous_relay_key_file", SecretName::PreviousRelayKey),
        ] {
            let accepted = self.secrets.accepted_if_any(name)?;
            keys.extend(accepted.into_iter().map(|secret| (setting, secret)));
        }
        Ok(keys)
    }
}
