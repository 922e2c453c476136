//! Nonces of the relay's hop: each is claimed once, by whoever comes first.

use bb8_redis::redis;
use domain::hop::NONCE_KEPT;

use super::{Redis, StorageError};

/// Claims nonces in Redis. Clones share its connections.
#[derive(Clone)]
pub struct Nonces(Redis);

impl Nonces {
    /// Keeps nonces in `redis`.
    pub const fn new(redis: Redis) -> Self {
        Self(redis)
    }

    /// Claims a nonce; false if somebody did before. Of two that claim at once, one succeeds.
    ///
    /// # Errors
    /// When Redis does not answer: nobody knows then whether the nonce is fresh.
    pub async fn claim(&self, nonce: &str) -> Result<bool, StorageError> {
        let mut command = redis::cmd("SET");
        command
            .arg(self.0.key(&format!("webhooks:nonce:{nonce}")))
            .arg(1)
            .arg("NX")
            .arg("EX")
            .arg(NONCE_KEPT.as_secs());
        let set: Option<String> = self.0.run(&command).await?;
        Ok(set.is_some())
    }
}
