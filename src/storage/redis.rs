//! Redis: what speeds things up and may be lost. Every call has a short time limit; callers go on without it.

use std::time::Duration;

use bb8::Pool;
use bb8_redis::RedisConnectionManager;
use bb8_redis::redis::{self, Cmd, FromRedisValue};

use super::StorageError;
use crate::config::{self, Secret};

/// How long a call to Redis may take.
const TIME_LIMIT: Duration = Duration::from_millis(500);

/// A pool of connections to Redis. Clones share it.
#[derive(Clone)]
pub struct Redis {
    pool: Pool<RedisConnectionManager>,
    prefix: String,
}

impl Redis {
    /// Opens a pool. Redis may be down: then it is tried again at each call.
    ///
    /// # Errors
    /// When the password cannot be read, or the address makes no sense.
    pub async fn connect(settings: &config::Redis) -> anyhow::Result<Self> {
        let password = Secret::read(&settings.password_file, "redis.password_file")?;
        let address = format!("redis://:{}@{}/", password.expose(), settings.address);
        let pool = Pool::builder()
            .max_size(4)
            .connection_timeout(TIME_LIMIT)
            .build_unchecked(RedisConnectionManager::new(address)?);
        Ok(Self {
            pool,
            prefix: settings.prefix.clone(),
        })
    }

    /// Gives the full name of a key.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Runs a command.
    ///
    /// # Errors
    /// When Redis does not answer in time, or refuses.
    pub async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StorageError> {
        let call = async {
            let mut connection = self.pool.get().await.map_err(unavailable)?;
            command.query_async(&mut *connection).await.map_err(unavailable)
        };
        tokio::time::timeout(TIME_LIMIT, call)
            .await
            .map_err(unavailable)?
    }

    /// Asks Redis whether it is there.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ping(&self) -> Result<(), StorageError> {
        self.run::<String>(&redis::cmd("PING")).await.map(|_| ())
    }
}

fn unavailable(error: impl std::fmt::Display) -> StorageError {
    StorageError::Unavailable(format!("redis: {error}"))
}
