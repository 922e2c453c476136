//! When a campaign is to start: read in the tenant's time zone, and what becomes of a time that is over.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// How far in the past a time may be that still means "now": clocks differ, and people take a while to press a button.
pub const LATE_GRACE: Duration = Duration::from_secs(5 * 60);
/// The furthest time that a campaign may be scheduled for.
pub const FURTHEST: Duration = Duration::from_secs(366 * 86_400);

/// Why a schedule cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Neither RFC 3339 nor a local time.
    #[error(
        "{0:?} is neither RFC 3339 (2026-12-24T09:00:00-03:00) nor a local date and time (2026-12-24T09:00)"
    )]
    Malformed(String),
    /// It is over.
    #[error("{at} is {minutes} minutes ago: name a later time, or null to start now")]
    Past {
        /// What was asked for.
        at: Timestamp,
        /// How long ago.
        minutes: i64,
    },
    /// It is too far away.
    #[error("{0} is more than a year away")]
    TooFar(Timestamp),
}

/// Reads a time: with an offset it is itself, without one it is local to `zone`. A local time that a clock change skips is as much
/// later as the clock was put forward; one that comes twice is the first of the two.
///
/// # Errors
/// When it is no time.
pub fn read(text: &str, zone: &TimeZone) -> Result<Timestamp, ScheduleError> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let malformed = || ScheduleError::Malformed(text.to_owned());
    let local: DateTime = text.parse().map_err(|_| malformed())?;
    zone.to_ambiguous_timestamp(local)
        .compatible()
        .map_err(|_| malformed())
}

/// Tells whether a campaign launched now waits for `at`: true for the future, false for a moment ago.
///
/// # Errors
/// When it is longer ago than [`LATE_GRACE`], or further than [`FURTHEST`].
pub fn is_later(at: Timestamp, now: Timestamp) -> Result<bool, ScheduleError> {
    let seconds = at.as_second().saturating_sub(now.as_second());
    if seconds > FURTHEST.as_secs().cast_signed() {
        return Err(ScheduleError::TooFar(at));
    }
    if seconds < -LATE_GRACE.as_secs().cast_signed() {
        return Err(ScheduleError::Past {
            at,
            minutes: -seconds / 60,
        });
    }
    Ok(at > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn an_offset_is_believed_and_a_local_time_is_the_tenants() {
        let sao_paulo = zone("America/Sao_Paulo");
        let read = |text| read(text, &sao_paulo);
        assert_eq!(read("2026-12-24T09:00:00+01:00"), Ok(at("2026-12-24T08:00:00Z")));
        assert_eq!(read("2026-12-24T09:00:00"), Ok(at("2026-12-24T12:00:00Z")));
        assert_eq!(read("2026-12-24T09:00"), Ok(at("2026-12-24T12:00:00Z")));
        assert!(matches!(read("tomorrow"), Err(ScheduleError::Malformed(_))));
    }

    #[test]
    fn a_time_that_does_not_exist_is_later_and_one_that_comes_twice_is_the_first() {
        let berlin = zone("Europe/Berlin");
        assert_eq!(
            read("2027-03-28T02:30:00", &berlin),
            Ok(at("2027-03-28T01:30:00Z"))
        );
        assert_eq!(
            read("2026-10-25T02:30:00", &berlin),
            Ok(at("2026-10-25T00:30:00Z"))
        );
    }

    #[test]
    fn a_moment_ago_is_now_and_an_hour_ago_is_refused() {
        let now = at("2026-12-24T12:00:00Z");
        assert_eq!(is_later(at("2026-12-24T12:00:01Z"), now), Ok(true));
        assert_eq!(is_later(at("2026-12-24T11:56:00Z"), now), Ok(false));
        assert_eq!(
            is_later(at("2026-12-24T11:00:00Z"), now),
            Err(ScheduleError::Past {
                at: at("2026-12-24T11:00:00Z"),
                minutes: 60
            })
        );
        assert!(is_later(at("2028-12-24T11:00:00Z"), now).is_err());
    }
}
