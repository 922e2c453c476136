//! What the workers say of Meta being down, for those who ask why nothing leaves. Only in Redis: it is over by itself when nobody says it
//! any more.

use std::time::Duration;

use bb8_redis::redis;
use jiff::Timestamp;

use super::{Redis, StorageError};

const KEY: &str = "meta_down";

/// Says that Meta does not answer and is left alone until `until`. Forgotten unless it is said again within `good_for`.
///
/// # Errors
/// What Redis says.
pub async fn say(redis: &Redis, until: Timestamp, good_for: Duration) -> Result<(), StorageError> {
    let mut command = redis::cmd("SET");
    command.arg(redis.key(KEY)).arg(until.as_millisecond());
    let good_for = u64::try_from(good_for.as_millis()).unwrap_or(u64::MAX);
    command.arg("PX").arg(good_for);
    redis.run(&command).await
}

/// Tells until when Meta is left alone, while a worker finds it down. Without Redis nobody knows of an outage.
pub async fn meta_down_until(redis: &Redis) -> Option<Timestamp> {
    let mut command = redis::cmd("GET");
    command.arg(redis.key(KEY));
    let milliseconds: Option<i64> = redis.run(&command).await.ok()?;
    Timestamp::from_millisecond(milliseconds?).ok()
}
