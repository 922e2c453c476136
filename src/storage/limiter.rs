//! Where limiters keep what must survive a restart, and what throttles many numbers at once: Redis. Without it they start empty and
//! go on in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actors::ports::{Answer, LimiterStore, SenderLimits, StoredLimiter, Unavailable, Way};
use bb8_redis::redis;
use domain::ids::{SenderId, TenantId};
use domain::partition::Epoch;
use domain::rate_limit::PairKey;
use jiff::Timestamp;

use super::sender_directory::SenderDirectory;
use super::{Database, Redis, StorageError};

/// How long a limiter's state is kept, in seconds; after an hour of quiet it says nothing any more.
const KEPT_FOR_SECONDS: u64 = 3_600;
/// How often other nodes' holds are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For how long a way is looked after that nobody asks about any more.
const LOOKED_AFTER_FOR: Duration = Duration::from_secs(30);
/// Ways looked after at most; beyond it only this node's own holds count.
const WAYS_MOST: usize = 10_000;

/// Stores a state unless a later owner has stored one.
const SAVE: &str = "local known = redis.call('GET', KEYS[1])
    if known and tonumber(string.match(known, '^(%d+) ')) > tonumber(ARGV[1]) then return 0 end
    redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'EX', ARGV[3])
    return 1";
/// Lets a hold last until the later of two times.
const HOLD: &str = "local known = redis.call('GET', KEYS[1])
    if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
    redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
    return 1";

/// The limiters of all numbers.
#[derive(Clone)]
pub struct Limiters {
    redis: Redis,
    database: Database,
    senders: SenderDirectory,
    holds: Arc<Mutex<HashMap<Way, Held>>>,
}

/// A way, from the first question about it on.
#[derive(Clone, Copy, Debug)]
struct Held {
    until: Option<Timestamp>,
    asked_at: Instant,
}

impl Limiters {
    /// Keeps limiters in `redis`; rates come from the numbers and the plans. Looks for other nodes' holds until the last clone is
    /// dropped.
    pub fn start(redis: Redis, database: Database, senders: SenderDirectory) -> Self {
        let limiters = Self {
            redis,
            database,
            senders,
            holds: Arc::default(),
        };
        let (holds, redis) = (Arc::downgrade(&limiters.holds), limiters.redis.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(holds) = holds.upgrade() else { return };
                look(&redis, &holds).await;
            }
        });
        limiters
    }

    fn key(&self, sender: SenderId) -> String {
        self.redis.key(&format!("pace:{sender}"))
    }

    async fn stored(&self, sender: SenderId) -> Option<StoredLimiter> {
        let text: Option<String> = self
            .redis
            .run(redis::cmd("GET").arg(self.key(sender)))
            .await
            .ok()?;
        read(&text?)
    }

    /// Gives what the plan in force allows, messages a second.
    async fn plan_rate(&self, tenant: TenantId) -> Result<Option<u32>, StorageError> {
        let mut connection = self.database.get().await?;
        let row = connection
            .query_opt(
                "SELECT p.messages_per_second FROM plan_assignments a JOIN plans p ON p.id = a.plan_id
                 WHERE a.tenant_id = $1 AND a.effective_from <= now()
                 ORDER BY a.effective_from DESC, a.created_at DESC LIMIT 1",
                &[&tenant.0],
            )
            .await?;
        let rate: Option<i32> = row.map(|row| row.try_get(0)).transpose()?.flatten();
        Ok(rate.and_then(|rate| u32::try_from(rate).ok()))
    }

    fn holds(&self) -> MutexGuard<'_, HashMap<Way, Held>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LimiterStore for Limiters {
    fn load(&self, tenant: TenantId, sender: SenderId) -> Answer<Result<SenderLimits, Unavailable>> {
        let this = self.clone();
        Box::pin(async move {
            let (found, plan, stored) = tokio::join!(
                this.senders.by_id(sender),
                this.plan_rate(tenant),
                this.stored(sender)
            );
            let missing = || Unavailable {
                dependency: "postgresql",
                reason: format!("there is no sender {sender}"),
            };
            let found = found?.ok_or_else(missing)?;
            Ok(SenderLimits {
                messages_per_second: found.messages_per_second,
                plan_messages_per_second: plan?,
                ways: vec![
                    Way::App(found.meta_app.clone()),
                    Way::Account(found.waba_id.clone()),
                ],
                stored,
            })
        })
    }

    fn save(&self, _: TenantId, sender: SenderId, epoch: Epoch, state: StoredLimiter) -> Answer<()> {
        let this = self.clone();
        Box::pin(async move {
            let mut command = redis::cmd("EVAL");
            command
                .arg(SAVE)
                .arg(1)
                .arg(this.key(sender))
                .arg(epoch.0)
                .arg(write(&state))
                .arg(KEPT_FOR_SECONDS);
            if let Err(error) = this.redis.run::<i64>(&command).await {
                tracing::debug!(%sender, %error, "the limiter's state was not saved");
            }
        })
    }

    fn hold(&self, way: Way, until: Timestamp) -> Answer<()> {
        {
            let mut holds = self.holds();
            let held = holds.entry(way.clone()).or_insert(Held {
                until: None,
                asked_at: Instant::now(),
            });
            held.until = held.until.max(Some(until));
        }
        let this = self.clone();
        Box::pin(async move {
            let mut command = redis::cmd("EVAL");
            command
                .arg(HOLD)
                .arg(1)
                .arg(key_of(&this.redis, &way))
                .arg(until.as_microsecond())
                .arg(until.as_millisecond() + 1);
            if let Err(error) = this.redis.run::<i64>(&command).await {
                tracing::debug!(%error, "a hold is known to this node only");
            }
        })
    }

    fn held_until(&self, ways: &[Way]) -> Option<Timestamp> {
        let mut holds = self.holds();
        let mut latest = None;
        for way in ways {
            let asked_at = Instant::now();
            if let Some(held) = holds.get_mut(way) {
                held.asked_at = asked_at;
                latest = latest.max(held.until);
            } else if holds.len() < WAYS_MOST {
                let until = None;
                holds.insert(way.clone(), Held { until, asked_at });
            }
        }
        latest
    }
}

/// Looks for holds of other nodes, and forgets ways that nobody asks about.
async fn look(redis: &Redis, holds: &Mutex<HashMap<Way, Held>>) {
    let lock = || holds.lock().unwrap_or_else(PoisonError::into_inner);
    let ways: Vec<Way> = {
        let (mut holds, now) = (lock(), Timestamp::now());
        holds.retain(|_, held| {
            held.asked_at.elapsed() < LOOKED_AFTER_FOR || held.until.is_some_and(|until| until > now)
        });
        holds.keys().cloned().collect()
    };
    if ways.is_empty() {
        return;
    }
    let mut command = redis::cmd("MGET");
    for way in &ways {
        command.arg(key_of(redis, way));
    }
    let Ok(found) = redis.run::<Vec<Option<i64>>>(&command).await else {
        return;
    };
    let mut holds = lock();
    for (way, until) in ways.iter().zip(found) {
        let until = until.and_then(|until| Timestamp::from_microsecond(until).ok());
        if let Some(held) = holds.get_mut(way) {
            held.until = held.until.max(until);
        }
    }
}

fn key_of(redis: &Redis, way: &Way) -> String {
    redis.key(&match way {
        Way::App(name) => format!("hold:app:{name}"),
        Way::Account(id) => format!("hold:account:{id}"),
    })
}

/// Writes a state: when the next message would be on schedule, the rate, and the pairs with debts.
fn write(state: &StoredLimiter) -> String {
    let mut text = format!("{} {}", state.theoretical_arrival.as_microsecond(), state.rate);
    for (pair, arrival) in &state.pairs {
        text.push_str(&format!(" {pair:x}={}", arrival.as_microsecond()));
    }
    text
}

/// Reads a state, with the epoch in front.
fn read(text: &str) -> Option<StoredLimiter> {
    let mut parts = text.split(' ').skip(1);
    let time = |text: &str| Timestamp::from_microsecond(text.parse().ok()?).ok();
    Some(StoredLimiter {
        theoretical_arrival: time(parts.next()?)?,
        rate: parts.next()?.parse().ok()?,
        pairs: parts
            .filter_map(|pair| {
                let (key, arrival) = pair.split_once('=')?;
                Some((PairKey::from_str_radix(key, 16).ok()?, time(arrival)?))
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_the_way() {
        let at = |microseconds| Timestamp::from_microsecond(microseconds).unwrap();
        let state = StoredLimiter {
            theoretical_arrival: at(1_700_000_000_000_001),
            rate: 79.5,
            pairs: vec![(7, at(5)), (PairKey::MAX, at(6))],
        };
        assert_eq!(read(&format!("3 {}", write(&state))), Some(state));
        assert_eq!(read("3 nonsense"), None);
    }
}
