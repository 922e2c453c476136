//! A secret in memory.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::config::ConfigError;

/// A secret in memory. Its `Debug` shows nothing, there is no way to write it down, and its bytes are wiped when the last clone goes.
#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(...)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl Secret {
    /// Reads a secret from the file that a setting names. White space around it is dropped.
    ///
    /// # Errors
    /// When the file cannot be read, or is empty.
    pub fn read(file: &str, setting: &str) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::File {
            path: Path::new(file).to_owned(),
            named_by: setting.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(file).map_err(failed)?;
        let text = text.trim();
        if text.is_empty() {
            return Err(failed(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "it is empty",
            )));
        }
        Ok(Self::new(text.to_owned()))
    }

    /// Takes a secret that came from elsewhere, such as the database.
    pub fn new(text: String) -> Self {
        Self(Arc::new(text.into()))
    }

    /// Shows the secret to the one call that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
