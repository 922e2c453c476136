//! Redis: what speeds things up and may be lost. Every call has a short time limit; callers go on without it.

use std::sync::Arc;
use std::time::Duration;

use bb8::{ManageConnection, Pool};
use bb8_redis::RedisConnectionManager;
use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{
    self, Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _, RedisConnectionInfo, RedisError,
};

use super::{StorageError, pools};
use crate::config::{self, Probe, Secret, SecretName, Secrets};

/// How long a call to Redis may take.
const TIME_LIMIT: Duration = Duration::from_millis(500);

/// Connections to Redis; each takes many calls at once.
const POOL_SIZE: u32 = 4;
/// How long a trial of a new password may take.
const PROBED_WITHIN: Duration = Duration::from_secs(3);

/// A pool of connections to Redis. Clones share it.
#[derive(Clone)]
pub struct Redis {
    pool: Pool<Manager>,
    manager: Manager,
    prefix: String,
}

/// How connections are made: with the password that is right at that moment.
#[derive(Clone)]
struct Manager {
    address: ConnectionInfo,
    secrets: Secrets,
}

impl Manager {
    async fn open(&self, password: &Secret) -> Result<MultiplexedConnection, RedisError> {
        let settings = RedisConnectionInfo::default().set_password(password.expose());
        let address = self.address.clone().set_redis_settings(settings);
        RedisConnectionManager::new(address)?.connect().await
    }
}

impl ManageConnection for Manager {
    type Connection = MultiplexedConnection;
    type Error = StorageError;

    /// Tries the password that worked last, then the one that is to replace it.
    async fn connect(&self) -> Result<MultiplexedConnection, StorageError> {
        let mut refused = StorageError::Unavailable("redis: there is no password".to_owned());
        for password in self.secrets.to_try(SecretName::Redis).map_err(unavailable)? {
            match self.open(&password).await {
                Ok(connection) => {
                    self.secrets.worked(SecretName::Redis, &password);
                    return Ok(connection);
                }
                Err(error) => refused = unavailable(error),
            }
        }
        Err(refused)
    }

    async fn is_valid(&self, connection: &mut MultiplexedConnection) -> Result<(), StorageError> {
        let answer: Result<String, _> = redis::cmd("PING").query_async(connection).await;
        answer.map(drop).map_err(unavailable)
    }

    fn has_broken(&self, _: &mut MultiplexedConnection) -> bool {
        false
    }
}

impl Redis {
    /// Opens a pool. Redis may be down: then it is tried again at each call.
    ///
    /// # Errors
    /// When the password cannot be read, or the address makes no sense.
    pub async fn connect(settings: &config::Redis) -> anyhow::Result<Self> {
        settings.secrets.get(SecretName::Redis)?;
        let manager = Manager {
            address: format!("redis://{}/", settings.address).into_connection_info()?,
            secrets: settings.secrets.clone(),
        };
        let pool = Pool::builder()
            .max_size(POOL_SIZE)
            .connection_timeout(TIME_LIMIT)
            .build_unchecked(manager.clone());
        Ok(Self {
            pool,
            manager,
            prefix: settings.prefix.clone(),
        })
    }

    /// Lets the pool be looked at under a name.
    pub fn watched(&self, name: &'static str) -> pools::Watched {
        pools::Watched::new(name, POOL_SIZE, &self.pool)
    }

    /// Tries a password at Redis.
    pub fn probe(&self) -> Probe {
        let manager = self.manager.clone();
        Arc::new(move |password| {
            let manager = manager.clone();
            Box::pin(async move {
                let opened = tokio::time::timeout(PROBED_WITHIN, manager.open(&password)).await;
                let opened = opened.map_err(|_| format!("no answer within {PROBED_WITHIN:?}"))?;
                opened.map(drop).map_err(|error| error.to_string())
            })
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
