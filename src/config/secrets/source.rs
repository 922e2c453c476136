//! The three sources of secrets, in their order.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use super::vault::{Store, StoreError};
use super::{Secret, SecretName};
use crate::config::ConfigError;

/// Where a secret was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In this file.
    File(String),
    /// In the store at this address.
    Store(String),
    /// In this variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file {path}"),
            Self::Store(address) => write!(formatter, "store {address}"),
            Self::Variable(name) => write!(formatter, "variable {name}"),
        }
    }
}

/// Everywhere a secret may be.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) files: BTreeMap<SecretName, String>,
    pub(super) store: Option<Store>,
    pub(super) variables: BTreeMap<SecretName, Secret>,
}

impl Sources {
    /// Finds a secret in the first source that has it. A file that exists decides, also when it cannot be read.
    pub(super) fn find(&self, name: SecretName) -> Result<(Secret, Origin), ConfigError> {
        let file = self.files.get(&name).filter(|file| !file.is_empty());
        if let Some(file) = file.filter(|file| Path::new(file).exists()) {
            let (section, key) = name.setting();
            let value = Secret::read(file, &format!("{section}.{key}"))?;
            return Ok((value, Origin::File(file.clone())));
        }
        if let Some(store) = &self.store
            && let Some(value) = store.value(name.as_str())?
        {
            return Ok((value, Origin::Store(store.address().to_owned())));
        }
        if let Some(value) = self.variables.get(&name) {
            return Ok((value.clone(), Origin::Variable(name.variable())));
        }
        Err(ConfigError::NoSecret {
            name: name.as_str(),
            looked_at: self.looked_at(name, file),
        })
    }

    /// Tells when the source that has a secret last changed it, if it tells.
    pub(super) fn changed(&self, name: SecretName) -> Option<SystemTime> {
        let file = self.files.get(&name).filter(|file| !file.is_empty());
        if let Some(file) = file.filter(|file| Path::new(file).exists()) {
            return std::fs::metadata(file).ok()?.modified().ok();
        }
        let store = self.store.as_ref()?;
        store.value(name.as_str()).ok()??;
        store.changed()
    }

    fn looked_at(&self, name: SecretName, file: Option<&String>) -> String {
        let (section, key) = name.setting();
        let file = file.map_or_else(
            || format!("{section}.{key} names no file"),
            |file| format!("{section}.{key} names {file}, which does not exist"),
        );
        match &self.store {
            Some(store) => format!("{file}; the store {} has none either", store.address()),
            None => format!("{file}; secrets.store_address names no store"),
        }
    }

    /// Asks the store anew, if there is one.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        match &self.store {
            Some(store) => store.refresh().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(file: &str, variable: Option<&str>) -> Sources {
        Sources {
            files: BTreeMap::from([(SecretName::Redis, file.to_owned())]),
            store: None,
            variables: variable
                .map(|value| (SecretName::Redis, Secret::new(value.to_owned())))
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn a_file_comes_before_a_variable_and_decides_even_when_it_is_empty() {
        let directory = std::env::temp_dir().join(format!("malote-sources-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("redis");
        let file = path.to_str().unwrap();
        std::fs::write(file, "of the file\n").unwrap();
        let (value, origin) = sources(file, Some("of the variable"))
            .find(SecretName::Redis)
            .unwrap();
        assert_eq!(
            (value.expose(), origin),
            ("of the file", Origin::File(file.to_owned()))
        );
        std::fs::write(file, "\n").unwrap();
        assert!(
            sources(file, Some("of the variable"))
                .find(SecretName::Redis)
                .is_err()
        );
        std::fs::remove_dir_all(&directory).unwrap();
        let (value, _) = sources(file, Some("of the variable"))
            .find(SecretName::Redis)
            .unwrap();
        assert_eq!(value.expose(), "of the variable");
    }

    #[test]
    fn a_secret_that_is_nowhere_is_told_with_every_place() {
        let error = sources("/nowhere/redis", None)
            .find(SecretName::Redis)
            .unwrap_err()
            .to_string();
        for word in ["redis.password_file", "/nowhere/redis", "secrets.store_address"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
