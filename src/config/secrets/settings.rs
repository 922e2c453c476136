//! The section `[secrets]`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::source::{Origin, Sources};
use super::vault::{Store, StoreSettings};
use super::{Secret, SecretName, Secrets};
use crate::config::ConfigError;

/// The shortest time between two looks at the sources of secrets.
const POLL_SHORTEST_MS: u64 = 100;

/// Where secrets come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml explains each")]
pub struct SecretSettings {
    pub token_keys_file: String,
    pub poll_ms: u64,
    pub previous_accepted_seconds: u64,
    pub store_address: String,
    pub store_mount: String,
    pub store_path: String,
    pub store_token_file: String,
    pub store_role_id: String,
    pub store_secret_id_file: String,
    /// All secrets of the process.
    #[serde(skip)]
    pub held: Secrets,
}

impl SecretSettings {
    /// Checks what no type can say.
    pub(in crate::config) fn check(&self, is_production: bool) -> Result<(), ConfigError> {
        let wrong = |name: &str, value: String, problem: &str| {
            Err(ConfigError::Value {
                name: name.to_owned(),
                value,
                problem: problem.to_owned(),
            })
        };
        if self.poll_ms < POLL_SHORTEST_MS {
            return wrong(
                "secrets.poll_ms",
                self.poll_ms.to_string(),
                "should be at least 100",
            );
        }
        if self.store_address.is_empty() {
            return Ok(());
        }
        let address = || self.store_address.clone();
        let by_token = !self.store_token_file.is_empty();
        let by_role = !self.store_role_id.is_empty() && !self.store_secret_id_file.is_empty();
        if by_token == by_role || self.store_role_id.is_empty() != self.store_secret_id_file.is_empty() {
            return wrong(
                "secrets.store_address",
                address(),
                "needs either store_token_file, or store_role_id with store_secret_id_file",
            );
        }
        let is_near = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"]
            .iter()
            .any(|near| self.store_address.starts_with(near));
        if is_production && !is_near && !self.store_address.starts_with("https://") {
            return wrong(
                "secrets.store_address",
                address(),
                "should be https in production, or an agent on this host",
            );
        }
        Ok(())
    }

    /// Opens the sources; nothing is read yet.
    pub(in crate::config) fn open(
        &mut self,
        files: BTreeMap<SecretName, String>,
        variables: BTreeMap<SecretName, Secret>,
    ) -> Secrets {
        let sources = Sources {
            files,
            store: self.store().map(Store::new),
            variables,
        };
        self.held = Secrets::new(sources, Duration::from_secs(self.previous_accepted_seconds));
        self.held.clone()
    }

    fn store(&self) -> Option<StoreSettings> {
        (!self.store_address.is_empty()).then(|| StoreSettings {
            address: self.store_address.clone(),
            mount: self.store_mount.clone(),
            path: self.store_path.clone(),
            token_file: self.store_token_file.clone(),
            role_id: self.store_role_id.clone(),
            secret_id_file: self.store_secret_id_file.clone(),
        })
    }

    /// Tells of every secret that a server needs where it is, or what is wrong with it.
    pub fn origins(&self) -> Vec<(SecretName, Result<Origin, ConfigError>)> {
        let of_commands = [SecretName::MigrationAdmin, SecretName::ReadonlyAudit];
        SecretName::ALL
            .into_iter()
            .filter(|name| !of_commands.contains(name))
            .map(|name| (name, self.held.origin(name)))
            .filter(|(name, origin)| {
                let is_absent = matches!(origin, Err(ConfigError::NoSecret { .. }));
                !(is_absent && name.is_optional())
            })
            .collect()
    }

    /// The time between two looks at the sources.
    pub const fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }
}
