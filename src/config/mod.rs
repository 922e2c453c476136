//! Settings: the only room that reads the environment.
//!
//! Four layers, later ones win: `config/default.toml` (compiled in), the environment's own file, a file named on the
//! command line, variables `MALOTE_<SECTION>__<KEY>`. A setting that the default file does not have is refused by its name, with the
//! layer that it came from.

mod layers;
mod secret;
mod sections;

use std::path::{Path, PathBuf};

use toml::Table;

pub use secret::Secret;
pub use sections::{
    Admin, Api, Broker, Config, Database, Http, LogFormat, Meta, Node, Pipeline, Redis, Relay, Telemetry,
    Webhooks,
};

const DEFAULT: &str = include_str!("../../config/default.toml");
const DEVELOPMENT: &str = include_str!("../../config/development.toml");
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
    #[error("there is no environment {0:?}; use development or production")]
    Environment(String),
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
    layers::lay_over_variables(&mut settings, variables)?;
    read(settings)
}

fn read(settings: Table) -> Result<Config, ConfigError> {
    let config: Config = settings.try_into().map_err(|source| ConfigError::Syntax {
        layer: "the settings as a whole".to_owned(),
        source: Box::new(source),
    })?;
    config.check()?;
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
