//! Settings: the only room that reads the environment.
//!
//! Four layers, later ones win: `config/default.toml` (compiled in), the environment's own file, a file named on the
//! command line, variables `MALOTE_<SECTION>__<KEY>`. A setting that the default file does not have is refused by its name, with the
//! layer that it came from.

mod layers;
mod secrets;
mod sections;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Table;

pub use secrets::{
    KEY_BYTES, Metrics as SecretMetrics, Origin, Probe, Secret, SecretName, SecretSettings, Secrets,
    StoreError, TokenKey, TokenKeys, Watch,
};
pub use sections::{
    Admin, Api, Billing, Broker, Config, Database, Http, LogFormat, Meta, Node, Pipeline, Redis, Relay,
    Telemetry, Webhooks,
};

const DEFAULT: &str = include_str!("../../config/default.toml");
const DEVELOPMENT: &str = include_str!("../../config/development.toml");
const STAGING: &str = include_str!("../../config/staging.toml");
const PRODUCTION: &str = include_str!("../../config/production.toml");

/// Why the settings cannot be used. Each says where to look.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A layer is no TOML.
    #[error("{layer} is not valid TOML: {source}")]
    Syntax {
        /// Which layer.
        layer: String,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// A layer has a setting that does not exist.
    #[error("{layer} has the setting {name:?}, which does not exist; config/default.toml lists all of them")]
    Unknown {
        /// Which layer.
        layer: String,
        /// Section and key.
        name: String,
    },
    /// A value has the wrong type or is out of range.
    #[error("the setting {name} is {value:?}: {problem}")]
    Value {
        /// Section and key.
        name: String,
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The environment is not one of ours.
    #[error("there is no environment {0:?}; use development, staging or production")]
    Environment(String),
    /// A secret is in no source.
    #[error("there is no secret {name}: {looked_at}")]
    NoSecret {
        /// Which.
        name: &'static str,
        /// Every place where it could have been.
        looked_at: String,
    },
    /// A secret is there, and nobody should use it.
    #[error("the secret {name} cannot be used: {problem}")]
    Unusable {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The secret store gave nothing.
    #[error("{0}; nothing starts without its secrets")]
    Store(#[from] StoreError),
    /// A variable holds a secret in production, where every child process and every crash report would show it.
    #[error(
        "the variable {0} holds a secret, which production takes from files or a store only (docs/security.md)"
    )]
    Variable(String),
    /// A file cannot be read.
    #[error("cannot read {path}, named by {named_by}: {source}")]
    File {
        /// Its path.
        path: PathBuf,
        /// The setting or option that names it.
        named_by: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Reads all layers: `environment` and `file` as given on the command line, if they were.
///
/// # Errors
/// When a layer cannot be read, or says something that does not exist or makes no sense.
pub fn load(environment: Option<&str>, file: Option<&Path>) -> Result<Config, ConfigError> {
    let variables: Vec<(String, String)> = std::env::vars().collect();
    let named = environment
        .map(str::to_owned)
        .or_else(|| std::env::var("MALOTE_ENVIRONMENT").ok());
    from_layers(named.as_deref().unwrap_or("development"), file, &variables)
}

fn from_layers(
    environment: &str,
    file: Option<&Path>,
    variables: &[(String, String)],
) -> Result<Config, ConfigError> {
    let mut settings = layers::parse("config/default.toml", DEFAULT)?;
    let own = match environment {
        "development" => DEVELOPMENT,
        "staging" => STAGING,
        "production" => PRODUCTION,
        other => return Err(ConfigError::Environment(other.to_owned())),
    };
    let layer = format!("config/{environment}.toml");
    layers::lay_over(&mut settings, layers::parse(&layer, own)?, &layer)?;
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.to_owned(),
            named_by: "--config".to_owned(),
            source,
        })?;
        let layer = path.display().to_string();
        layers::lay_over(&mut settings, layers::parse(&layer, &text)?, &layer)?;
    }
    let is_production = environment == "production";
    let (held, others) = secrets_apart(variables, is_production)?;
    layers::lay_over_variables(&mut settings, &others)?;
    read(settings, held, is_production)
}

type Variables = Vec<(String, String)>;

/// Parts the variables that hold secrets, which production refuses, from those that are settings.
fn secrets_apart(
    variables: &[(String, String)],
    is_production: bool,
) -> Result<(BTreeMap<SecretName, Secret>, Variables), ConfigError> {
    let (mut held, mut others) = (BTreeMap::new(), Vec::new());
    for (variable, value) in variables {
        match SecretName::ALL
            .into_iter()
            .find(|name| name.variable() == *variable)
        {
            Some(_) if is_production => return Err(ConfigError::Variable(variable.clone())),
            Some(name) => drop(held.insert(name, Secret::new(value.trim().to_owned()))),
            None => others.push((variable.clone(), value.clone())),
        }
    }
    Ok((held, others))
}

fn read(
    settings: Table,
    variables: BTreeMap<SecretName, Secret>,
    is_production: bool,
) -> Result<Config, ConfigError> {
    let mut config: Config = settings
        .clone()
        .try_into()
        .map_err(|source| ConfigError::Syntax {
            layer: "the settings as a whole".to_owned(),
            source: Box::new(source),
        })?;
    config.check(is_production)?;
    let file_of = |name: SecretName| {
        let (section, key) = name.setting();
        let file = settings.get(section)?.get(key)?.as_str()?;
        Some((name, file.to_owned()))
    };
    config.give_secrets(
        SecretName::ALL.into_iter().filter_map(file_of).collect(),
        variables,
    );
    Ok(config)
}

/// Gives a variable that points at a server of the development stack and is no setting (`MALOTE_STACK_...`).
pub fn stack_variable(name: &str) -> Option<String> {
    std::env::var(format!("MALOTE_STACK_{name}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let owned: Vec<_> = variables
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        from_layers("development", None, &owned)
    }

    #[test]
    fn the_default_file_has_every_setting_and_no_other() {
        assert!(with(&[]).is_ok());
        assert!(from_layers("staging", None, &[]).is_ok());
        assert!(from_layers("production", None, &[]).is_ok());
    }

    #[test]
    fn variables_win_and_take_the_type_of_the_default() {
        let config = with(&[("MALOTE_DATABASE__PORT", "5999"), ("MALOTE_REDIS__PREFIX", "t1:")]).unwrap();
        assert_eq!(
            (config.database.port, config.redis.prefix.as_str()),
            (5999, "t1:")
        );
    }

    #[test]
    fn a_secret_in_a_variable_serves_development_and_stops_production() {
        let variables = [
            ("MALOTE_REDIS__PASSWORD".to_owned(), "of a variable".to_owned()),
            (
                "MALOTE_REDIS__PASSWORD_FILE".to_owned(),
                "/nowhere/redis".to_owned(),
            ),
        ];
        let config = from_layers("development", None, &variables).unwrap();
        let found = config.redis.secrets.get(SecretName::Redis).unwrap();
        assert_eq!(found.expose(), "of a variable");
        let refused = from_layers("production", None, &variables).unwrap_err();
        assert!(
            matches!(&refused, ConfigError::Variable(name) if name == "MALOTE_REDIS__PASSWORD"),
            "{refused}"
        );
        assert!(!refused.to_string().contains("of a variable"));
    }

    #[test]
    fn a_store_needs_one_way_to_know_us_and_tls_in_production() {
        let address = ("MALOTE_SECRETS__STORE_ADDRESS", "http://vault.internal:8200");
        let error = with(&[address]).unwrap_err().to_string();
        assert!(error.contains("secrets.store_address"), "{error}");
        let token = ("MALOTE_SECRETS__STORE_TOKEN_FILE", "/nowhere/token");
        assert!(with(&[address, token]).is_ok());
        let role = ("MALOTE_SECRETS__STORE_ROLE_ID", "malote");
        assert!(with(&[address, token, role]).is_err(), "two ways are none");
        let owned = [address, token].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert!(
            from_layers("production", None, &owned)
                .unwrap_err()
                .to_string()
                .contains("https")
        );
    }

    #[test]
    fn no_secret_is_in_the_debug_form_of_the_settings() {
        let config = with(&[("MALOTE_ADMIN__KEY", "a-key-that-nobody-should-ever-read-in-a-log")]).unwrap();
        config.admin.secrets.get(SecretName::AdminKey).unwrap();
        assert!(!format!("{config:?}").contains("nobody-should"));
    }

    #[test]
    fn a_setting_that_does_not_exist_is_named_with_its_layer() {
        let error = with(&[("MALOTE_DATABASE__HOSTNAME", "x")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("MALOTE_DATABASE__HOSTNAME") && error.contains("database.hostname"),
            "{error}"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_or_range_is_named() {
        let error = with(&[("MALOTE_DATABASE__PORT", "many")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("database.port"), "{error}");
        let error = with(&[("MALOTE_META__TIMEOUT_MS", "40000")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("meta.timeout_ms"), "{error}");
    }
}
