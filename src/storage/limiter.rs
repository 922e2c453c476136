//! Where limiters keep what must survive a restart: Redis. Without it they start empty and go on in memory.

use actors::ports::{Answer, LimiterStore, SenderLimits, StoredLimiter, Unavailable};
use bb8_redis::redis;
use domain::ids::{SenderId, TenantId};
use jiff::Timestamp;

use super::Redis;
use super::sender_directory::SenderDirectory;

/// How long a limiter's state is kept, in seconds; after an hour of quiet it says nothing any more.
const KEPT_FOR_SECONDS: u64 = 3_600;

/// The limiters of all numbers.
#[derive(Clone)]
pub struct Limiters {
    redis: Redis,
    senders: SenderDirectory,
}

impl Limiters {
    /// Keeps limiters in `redis`; rates come from the numbers themselves.
    pub const fn new(redis: Redis, senders: SenderDirectory) -> Self {
        Self { redis, senders }
    }

    fn key(&self, sender: SenderId) -> String {
        self.redis.key(&format!("limiter:{sender}"))
    }

    async fn stored(&self, sender: SenderId) -> Option<StoredLimiter> {
        let text: Option<String> = self
            .redis
            .run(redis::cmd("GET").arg(self.key(sender)))
            .await
            .ok()?;
        let text = text?;
        let (arrival, rate) = text.split_once(' ')?;
        Some(StoredLimiter {
            theoretical_arrival: Timestamp::from_microsecond(arrival.parse().ok()?).ok()?,
            rate: rate.parse().ok()?,
        })
    }
}

impl LimiterStore for Limiters {
    fn load(&self, _tenant: TenantId, sender: SenderId) -> Answer<Result<SenderLimits, Unavailable>> {
        let this = self.clone();
        Box::pin(async move {
            let (found, stored) = tokio::join!(this.senders.by_id(sender), this.stored(sender));
            let missing = || Unavailable {
                dependency: "postgresql",
                reason: format!("there is no sender {sender}"),
            };
            let found = found?.ok_or_else(missing)?;
            Ok(SenderLimits {
                messages_per_second: found.messages_per_second,
                stored,
            })
        })
    }

    fn save(&self, _tenant: TenantId, sender: SenderId, state: StoredLimiter) -> Answer<()> {
        let this = self.clone();
        Box::pin(async move {
            let text = format!("{} {}", state.theoretical_arrival.as_microsecond(), state.rate);
            let mut command = redis::cmd("SET");
            command
                .arg(this.key(sender))
                .arg(text)
                .arg("EX")
                .arg(KEPT_FOR_SECONDS);
            if let Err(error) = this.redis.run::<()>(&command).await {
                tracing::debug!(%sender, %error, "the limiter's state was not saved");
            }
        })
    }
}
