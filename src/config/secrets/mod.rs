//! Secrets: where they come from, which value is in use, and how a new one replaces it without a restart.
//!
//! Three sources, in this order: the file that a setting names, if it exists; the secret store, if there is one; a variable, outside
//! of production. Whoever needs a secret asks for it when it is needed and keeps no copy.

mod name;
mod settings;
mod slot;
mod source;
mod token_keys;
mod value;
mod vault;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub use name::SecretName;
pub use settings::SecretSettings;
pub use source::Origin;
pub use token_keys::{KEY_BYTES, TokenKey, TokenKeys};
pub use value::Secret;
pub use vault::StoreError;
pub use watch::{Metrics, Probe, Watch};

use slot::Slot;
use source::Sources;

use super::ConfigError;

/// All secrets of a process. Clones share what is known.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Shared>);

#[derive(Default)]
struct Shared {
    sources: Sources,
    previous_accepted_for: Duration,
    slots: Mutex<BTreeMap<SecretName, Slot>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.in_use()).finish()
    }
}

impl Secrets {
    fn new(sources: Sources, previous_accepted_for: Duration) -> Self {
        Self(Arc::new(Shared {
            sources,
            previous_accepted_for,
            slots: Mutex::default(),
        }))
    }

    /// Makes secrets that are known by their values, for tests of those who need them.
    #[cfg(test)]
    pub(crate) fn fixed(values: &[(SecretName, &str)]) -> Self {
        let variables = values
            .iter()
            .map(|&(name, value)| (name, Secret::new(value.to_owned())));
        let sources = Sources {
            variables: variables.collect(),
            ..Sources::default()
        };
        Self::new(sources, Duration::ZERO)
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<SecretName, Slot>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with what is known of a secret; it is read when it is needed for the first time.
    fn with<T>(&self, name: SecretName, act: impl FnOnce(&mut Slot) -> T) -> Result<T, ConfigError> {
        if let Some(slot) = self.slots().get_mut(&name) {
            return Ok(act(slot));
        }
        // Not under the lock: the store may take its time.
        let (value, _) = self.well_formed(name)?;
        let mut slots = self.slots();
        Ok(act(slots
            .entry(name)
            .or_insert_with(|| Slot::new(value, SystemTime::now()))))
    }

    /// Gives the value that works.
    ///
    /// # Errors
    /// When no source has it, or the first that should have it cannot be read.
    pub fn get(&self, name: SecretName) -> Result<Secret, ConfigError> {
        self.with(name, |slot| slot.current())
    }

    /// Gives the values that open somebody else's door, in the order in which to try them; whoever gets in says so by [`Secrets::worked`].
    /// The source is read anew, so that a password that was changed a moment ago is among them.
    ///
    /// # Errors
    /// When no source has it, or the first that should have it cannot be read.
    pub fn to_try(&self, name: SecretName) -> Result<Vec<Secret>, ConfigError> {
        self.get(name)?;
        let offered = self.0.sources.find(name).ok();
        self.with(name, |slot| {
            if let Some((found, _)) = offered {
                slot.offer(found);
            }
            slot.to_try()
        })
    }

    /// Notes that this value opened the door: it is the current one from now on.
    pub fn worked(&self, name: SecretName, value: &Secret) {
        if let Some(slot) = self.slots().get_mut(&name)
            && slot.take(value, Instant::now(), SystemTime::now())
        {
            tracing::info!(secret = name.as_str(), "a renewed secret works and is in use");
        }
    }

    /// Gives the values to accept of callers: the current one, and for a while the one that it replaced.
    ///
    /// # Errors
    /// When no source has it, or the first that should have it cannot be read.
    pub fn accepted(&self, name: SecretName) -> Result<Vec<Secret>, ConfigError> {
        let previous_for = self.0.previous_accepted_for;
        self.with(name, |slot| slot.accepted(Instant::now(), previous_for))
    }

    /// As [`Secrets::accepted`], of a secret that need not exist.
    ///
    /// # Errors
    /// When a source has it that cannot be read.
    pub fn accepted_if_any(&self, name: SecretName) -> Result<Vec<Secret>, ConfigError> {
        match self.accepted(name) {
            Err(ConfigError::NoSecret { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Tells where a secret comes from, without keeping it.
    ///
    /// # Errors
    /// When no source has it, or the first that should have it cannot be read.
    pub fn origin(&self, name: SecretName) -> Result<Origin, ConfigError> {
        self.well_formed(name).map(|(_, origin)| origin)
    }

    fn well_formed(&self, name: SecretName) -> Result<(Secret, Origin), ConfigError> {
        let (value, origin) = self.0.sources.find(name)?;
        match name.problem_of(value.expose()) {
            Some(problem) => Err(ConfigError::Unusable {
                name: name.as_str(),
                problem: problem.to_owned(),
            }),
            None => Ok((value, origin)),
        }
    }

    /// The secrets that somebody has asked for.
    fn in_use(&self) -> Vec<SecretName> {
        self.slots().keys().copied().collect()
    }

    fn since(&self, name: SecretName) -> Option<SystemTime> {
        self.slots().get(&name).map(|slot| slot.since)
    }

    /// Looks at the source of a secret in use: gives a value that differs from the current one and is well-formed.
    fn look(&self, name: SecretName) -> Result<Option<Secret>, ConfigError> {
        let (found, _) = self.well_formed(name)?;
        self.with(name, |slot| slot.offer(found))
    }
}
