//! Refusals in a row for which Meta is to blame, as one tenant sees them: its numbers rest, and nothing is used up.
//!
//! [`crate::breaker`] holds all tenants, and so believes only what Meta says of itself and what nobody answered. "Something went wrong"
//! (131000) it must not believe: one tenant's account may be ill alone. To that tenant it makes no difference, and five attempts of each
//! message would be gone within a minute. `now` counts nanoseconds from any fixed moment.

use std::time::Duration;

/// Refusals in a row at which the numbers begin to rest.
pub const IN_A_ROW: u32 = 8;
/// The first rest.
pub const REST_FIRST: Duration = Duration::from_secs(1);
/// The longest rest.
pub const REST_LONGEST: Duration = Duration::from_secs(30);
/// How long a streak uses nothing up, unless configured otherwise: what lasts longer is no passing illness, and somebody must be told.
pub const FORGIVEN_FOR: Duration = Duration::from_secs(3_600);

/// The refusals since the last call that went well.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefusalStreak {
    refused: u32,
    began: u64,
    rests: u32,
    rests_until: u64,
}

impl RefusalStreak {
    /// Records a call that went well, or was refused for a reason of its own.
    pub fn ended(&mut self) {
        *self = Self::default();
    }

    /// Records a refusal for which Meta is to blame. Gives how long the numbers rest, once there are enough; until then, and once the
    /// streak is older than `forgiven_for`, there is no rest and the refusal counts.
    pub fn refused(&mut self, now: u64, forgiven_for: Duration) -> Option<Duration> {
        if self.refused == 0 {
            self.began = now;
        }
        self.refused = self.refused.saturating_add(1);
        if self.refused < IN_A_ROW || nanoseconds(forgiven_for) <= now.saturating_sub(self.began) {
            return None;
        }
        if self.rests_until <= now {
            let rest = REST_FIRST
                .saturating_mul(1 << self.rests.min(16))
                .min(REST_LONGEST);
            self.rests = self.rests.saturating_add(1);
            self.rests_until = now.saturating_add(nanoseconds(rest));
        }
        Some(Duration::from_nanos(self.rests_until - now))
    }

    /// Tells whether the numbers rest for the first time in this streak.
    pub const fn is_new(&self) -> bool {
        self.refused == IN_A_ROW
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn after(streak: &mut RefusalStreak, refusals: u32, now: u64) -> Option<Duration> {
        (0..refusals).fold(None, |_, _| streak.refused(now, FORGIVEN_FOR))
    }

    #[test]
    fn a_few_refusals_are_no_streak_and_one_call_that_goes_well_ends_it() {
        let mut streak = RefusalStreak::default();
        assert_eq!(after(&mut streak, IN_A_ROW - 1, 0), None);
        streak.ended();
        assert_eq!(after(&mut streak, IN_A_ROW - 1, 0), None);
        assert_eq!(after(&mut streak, 1, 0), Some(REST_FIRST));
    }

    #[test]
    fn rests_double_up_to_the_longest_and_calls_under_way_prolong_none() {
        let (mut streak, mut now, mut rests) = (RefusalStreak::default(), 0, Vec::new());
        after(&mut streak, IN_A_ROW - 1, now);
        for _ in 0..7 {
            let rest = streak.refused(now, FORGIVEN_FOR).unwrap();
            assert_eq!(
                streak.refused(now, FORGIVEN_FOR),
                Some(rest),
                "of the same moment"
            );
            now += nanoseconds(rest);
            rests.push(rest.as_secs());
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_streak_that_lasts_too_long_counts_again() {
        let mut streak = RefusalStreak::default();
        assert!(after(&mut streak, IN_A_ROW, 0).is_some());
        let end = nanoseconds(FORGIVEN_FOR);
        assert!(streak.refused(end - SECOND, FORGIVEN_FOR).is_some());
        assert_eq!(streak.refused(end, FORGIVEN_FOR), None);
    }

    #[test]
    fn where_nothing_is_forgiven_each_refusal_counts() {
        let mut streak = RefusalStreak::default();
        assert!((0..20).all(|_| streak.refused(SECOND, Duration::ZERO).is_none()));
    }
}
