//! Secrets: read from files when needed, never printed, never part of the settings themselves.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::ConfigError;

/// A secret in memory. Its `Debug` shows nothing.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

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
        Ok(Self(text.to_owned().into()))
    }

    /// Takes a secret that came from elsewhere, such as the database.
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// Shows the secret to the one call that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
