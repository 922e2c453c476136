//! How long a tenant whose actors kept failing stays in quarantine before it is tried again.

use std::time::Duration;

/// How long the first quarantine lasts, unless the settings say otherwise.
pub const FIRST: Duration = Duration::from_secs(5 * 60);
/// How long any quarantine lasts at most.
pub const LONGEST: Duration = Duration::from_secs(4 * 60 * 60);
/// Service after a release that makes the next quarantine a first one again.
pub const GOOD_SERVICE: Duration = Duration::from_secs(60 * 60);

/// Gives the number of a quarantine in its row of them: `before` came before it, and the tenant served for `served_for` since
/// it was released from the last of these; none if it never was.
pub fn number(before: u32, served_for: Option<Duration>) -> u32 {
    match served_for {
        Some(served_for) if served_for < GOOD_SERVICE => before.saturating_add(1),
        _ => 1,
    }
}

/// Gives how long the quarantine of this number lasts: `first`, then twice as long each time, up to [`LONGEST`].
pub fn lasts(first: Duration, number: u32) -> Duration {
    let doublings = number.saturating_sub(1).min(31);
    first.saturating_mul(1 << doublings).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lasts_twice_as_long_up_to_the_longest() {
        let minutes: Vec<_> = (1..=8)
            .map(|number| lasts(FIRST, number).as_secs() / 60)
            .collect();
        assert_eq!(minutes, [5, 10, 20, 40, 80, 160, 240, 240]);
        assert_eq!(lasts(FIRST, u32::MAX), LONGEST);
        assert_eq!(lasts(FIRST, 0), FIRST);
    }

    #[test]
    fn good_service_makes_the_next_one_a_first() {
        assert_eq!(number(0, None), 1);
        assert_eq!(number(3, Some(Duration::from_secs(60))), 4);
        assert_eq!(number(3, Some(GOOD_SERVICE)), 1);
        assert_eq!(number(u32::MAX, Some(Duration::ZERO)), u32::MAX);
    }
}
