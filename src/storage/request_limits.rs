//! Request limits by name: GCRA in one call to Redis, so that all nodes count together. While Redis is away each node counts by
//! itself: a limit is never a reason to be closed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bb8_redis::redis;
use domain::rate_limit::Gcra;

use super::Redis;

/// GCRA (`domain::rate_limit` has the same arithmetic): `ARGV` is the interval and the tolerance in microseconds. Gives whether the
/// request fits, how many more would, and the microseconds until one does and until all do.
const TAKE: &str = "
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local ahead = arrival - now
if ahead > tolerance then return {0, 0, ahead - tolerance, ahead} end
ahead = ahead + interval
redis.call('SET', KEYS[1], string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000) + 1)
return {1, math.max(math.floor((tolerance - ahead) / interval) + 1, 0), 0, ahead}";
/// How long Redis is left alone after it did not answer.
const REDIS_SPARED_FOR: Duration = Duration::from_secs(5);
/// Names counted in memory at most; beyond it all start anew.
const NAMES_REMEMBERED_MOST: usize = 10_000;

/// So many requests a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Nanoseconds between two requests in the long run.
    pub interval_ns: u64,
    /// Requests at once.
    pub burst: u32,
}

impl Allowance {
    /// Allows `per_second` requests a second, `burst` of them at once.
    pub const fn per_second(per_second: u32, burst: u32) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        Self {
            interval_ns: 1_000_000_000 / per_second as u64,
            burst: if burst == 0 { 1 } else { burst },
        }
    }

    const fn tolerance_ns(self) -> u64 {
        self.interval_ns * (self.burst as u64 - 1)
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether it fits.
    pub fits: bool,
    /// How many more would fit now.
    pub remaining: u32,
    /// How long until one fits.
    pub retry_after: Duration,
    /// How long until as many fit as ever.
    pub reset_after: Duration,
}

/// The limits of all names. Clones share what is counted.
#[derive(Clone)]
pub struct RequestLimits {
    redis: Redis,
    here: Arc<Mutex<Here>>,
}

struct Here {
    started: Instant,
    redis_spared_until: Option<Instant>,
    counted: HashMap<String, Gcra>,
}

impl RequestLimits {
    /// Counts in `redis`.
    pub fn new(redis: Redis) -> Self {
        let here = Here {
            started: Instant::now(),
            redis_spared_until: None,
            counted: HashMap::new(),
        };
        Self {
            redis,
            here: Arc::new(Mutex::new(here)),
        }
    }

    /// Takes one request of a name.
    pub async fn take(&self, name: &str, allowance: Allowance) -> Taken {
        let now = Instant::now();
        if self.is_redis_spared(now) {
            return self.take_here(name, allowance, now);
        }
        match self.take_there(name, allowance).await {
            Some(taken) => taken,
            None => {
                tracing::warn!("Redis is away; requests are counted by each node for itself");
                self.lock().redis_spared_until = Some(now + REDIS_SPARED_FOR);
                self.take_here(name, allowance, now)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Here> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_redis_spared(&self, now: Instant) -> bool {
        self.lock().redis_spared_until.is_some_and(|until| now < until)
    }

    async fn take_there(&self, name: &str, allowance: Allowance) -> Option<Taken> {
        let mut command = redis::cmd("EVAL");
        command
            .arg(TAKE)
            .arg(1)
            .arg(self.redis.key(&format!("requests:{name}")))
            .arg((allowance.interval_ns / 1_000).max(1))
            .arg(allowance.tolerance_ns() / 1_000);
        let (fits, remaining, retry_us, reset_us): (u8, u32, u64, u64) =
            self.redis.run(&command).await.ok()?;
        Some(Taken {
            fits: fits == 1,
            remaining,
            retry_after: Duration::from_micros(retry_us),
            reset_after: Duration::from_micros(reset_us),
        })
    }

    fn take_here(&self, name: &str, allowance: Allowance, now: Instant) -> Taken {
        let mut here = self.lock();
        // From one second on: a limiter starts full at zero.
        let since = now.saturating_duration_since(here.started) + Duration::from_secs(1);
        let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        if here.counted.len() >= NAMES_REMEMBERED_MOST {
            here.counted.clear();
        }
        let fresh = || Gcra::new(allowance.interval_ns, u64::from(allowance.burst));
        let limiter = here.counted.entry(name.to_owned()).or_insert_with(fresh);
        let fits = limiter.take_up_to(now, 1) == 1;
        let ahead = limiter.arrival().saturating_sub(now);
        let left = allowance.tolerance_ns().checked_sub(ahead);
        let left = left.map_or(0, |left| left / allowance.interval_ns + 1);
        Taken {
            fits,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            retry_after: Duration::from_nanos(if fits { 0 } else { limiter.next_free_in(now) }),
            reset_after: Duration::from_nanos(ahead),
        }
    }
}
