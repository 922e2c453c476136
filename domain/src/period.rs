//! Billing periods: from one local midnight of the anchor day to the next, in the tenant's time zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// A period is longer than this, in days: after a change of the zone or of the anchor day, the first midnight of the new
/// anchor that comes sooner is passed over.
pub const SHORTEST_DAYS: i64 = 14;

/// A billing period, `[starts_at, ends_at)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first instant.
    pub starts_at: Timestamp,
    /// The first instant of the next one.
    pub ends_at: Timestamp,
}

/// Why a period cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// The zone is not in the IANA database.
    #[error("unknown time zone {0:?}")]
    UnknownZone(String),
    /// The dates leave the calendar.
    #[error("the period lies outside of the calendar")]
    OutOfRange,
}

/// Finds an IANA time zone.
///
/// # Errors
/// When there is none of that name.
pub fn time_zone(name: &str) -> Result<TimeZone, PeriodError> {
    TimeZone::get(name).map_err(|_| PeriodError::UnknownZone(name.to_owned()))
}

/// Gives the period that holds `instant`. A month without the anchor day (1 to 31) begins its period on its last day; the next
/// one goes by the anchor again. A midnight that does not exist becomes the first instant after the gap.
///
/// # Errors
/// When the zone is unknown or the calendar ends.
pub fn period_of(instant: Timestamp, zone: &str, anchor_day: i8) -> Result<Period, PeriodError> {
    let zone = time_zone(zone)?;
    let today = zone.to_datetime(instant).date();
    let this = start_in_month(today, anchor_day, &zone)?;
    let (from, to) = if instant < this {
        let before = today
            .first_of_month()
            .checked_sub(1.day())
            .map_err(|_| PeriodError::OutOfRange)?;
        (start_in_month(before, anchor_day, &zone)?, this)
    } else {
        let after = today
            .last_of_month()
            .checked_add(1.day())
            .map_err(|_| PeriodError::OutOfRange)?;
        (this, start_in_month(after, anchor_day, &zone)?)
    };
    Ok(Period {
        starts_at: from,
        ends_at: to,
    })
}

/// Gives the period that follows one that ended at `end`: it begins there, whatever zone and anchor day it ends by.
///
/// # Errors
/// When the zone is unknown or the calendar ends.
pub fn period_after(end: Timestamp, zone: &str, anchor_day: i8) -> Result<Period, PeriodError> {
    let earliest = end
        .checked_add(SignedDuration::from_hours(24 * SHORTEST_DAYS))
        .map_err(|_| PeriodError::OutOfRange)?;
    let ends_at = period_of(earliest, zone, anchor_day)?.ends_at;
    Ok(Period {
        starts_at: end,
        ends_at,
    })
}

impl Period {
    /// Gives how many days it has in a zone: its midnights, the first one included.
    ///
    /// # Errors
    /// When the zone is unknown.
    pub fn days(&self, zone: &str) -> Result<i64, PeriodError> {
        self.day_of(self.ends_at, zone)
    }

    /// Gives on which of its days an instant falls in a zone, from 0; never before the first.
    ///
    /// # Errors
    /// When the zone is unknown.
    pub fn day_of(&self, instant: Timestamp, zone: &str) -> Result<i64, PeriodError> {
        let zone = time_zone(zone)?;
        let (first, day) = (date_of(self.starts_at, &zone), date_of(instant, &zone));
        let days = day
            .since((jiff::Unit::Day, first))
            .map_err(|_| PeriodError::OutOfRange)?;
        Ok(i64::from(days.get_days()).max(0))
    }
}

fn date_of(instant: Timestamp, zone: &TimeZone) -> Date {
    zone.to_datetime(instant).date()
}

fn start_in_month(month: Date, anchor_day: i8, zone: &TimeZone) -> Result<Timestamp, PeriodError> {
    let day = anchor_day.clamp(1, month.days_in_month());
    let date = Date::new(month.year(), month.month(), day).map_err(|_| PeriodError::OutOfRange)?;
    let midnight = date.to_zoned(zone.clone()).map_err(|_| PeriodError::OutOfRange)?;
    Ok(midnight.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn a_month_in_sao_paulo_begins_at_three_utc() {
        let period = period_of(at("2026-11-23T12:00:00Z"), "America/Sao_Paulo", 1).expect("a period");
        assert_eq!(period.starts_at, at("2026-11-01T03:00:00Z"));
        assert_eq!(period.ends_at, at("2026-12-01T03:00:00Z"));
    }

    #[test]
    fn the_31st_is_kept_through_february() {
        let february = period_of(at("2026-03-01T12:00:00Z"), "UTC", 31).expect("a period");
        assert_eq!(february.starts_at, at("2026-02-28T00:00:00Z"));
        assert_eq!(february.ends_at, at("2026-03-31T00:00:00Z"));
    }

    #[test]
    fn a_change_of_zone_makes_no_period_of_three_hours() {
        let end = at("2026-12-01T03:00:00Z");
        let next = period_after(end, "America/Los_Angeles", 1).expect("a period");
        assert_eq!(next.starts_at, end);
        assert_eq!(next.ends_at, at("2027-01-01T08:00:00Z"));
    }

    #[test]
    fn a_new_anchor_day_takes_effect_with_the_first_long_enough_period() {
        let next = period_after(at("2026-12-01T00:00:00Z"), "UTC", 5).expect("a period");
        assert_eq!(next.ends_at, at("2027-01-05T00:00:00Z"));
        let next = period_after(at("2026-12-01T00:00:00Z"), "UTC", 15).expect("a period");
        assert_eq!(
            next.ends_at,
            at("2027-01-15T00:00:00Z"),
            "14 days are no whole period"
        );
    }

    #[test]
    fn a_month_with_a_change_of_clocks_has_all_its_days() {
        let march = period_of(at("2026-03-10T00:00:00Z"), "Europe/Berlin", 1).expect("a period");
        assert_eq!(march.days("Europe/Berlin"), Ok(31));
        let long = march.ends_at.duration_since(march.starts_at);
        assert_eq!(long, SignedDuration::from_hours(31 * 24 - 1));
        assert_eq!(march.day_of(at("2026-03-29T12:00:00Z"), "Europe/Berlin"), Ok(28));
        assert_eq!(
            march.day_of(at("2026-03-29T22:00:00Z"), "Europe/Berlin"),
            Ok(29),
            "the day of 23 hours is over"
        );
    }

    #[test]
    fn an_unknown_zone_is_named() {
        assert_eq!(
            period_of(at("2026-01-01T00:00:00Z"), "Mars/Base", 1),
            Err(PeriodError::UnknownZone("Mars/Base".into()))
        );
    }

    proptest! {
        #[test]
        fn periods_tile_time(
            second in 0_i64..4_000_000_000,
            zone in proptest::sample::select(vec!["UTC", "America/Sao_Paulo", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia"]),
            anchor in 1_i8..=31,
        ) {
            let instant = Timestamp::from_second(second).expect("in range");
            let period = period_of(instant, zone, anchor).expect("a period");
            prop_assert!(period.starts_at <= instant && instant < period.ends_at);
            let next = period_of(period.ends_at, zone, anchor).expect("a period");
            prop_assert_eq!(next.starts_at, period.ends_at);
            prop_assert_eq!(period_after(period.ends_at, zone, anchor).expect("a period"), next);
            let (day, days) = (period.day_of(instant, zone).expect("a day"), period.days(zone).expect("days"));
            prop_assert!(0 <= day && day < days && (27..=32).contains(&days), "day {} of {}", day, days);
        }
    }
}
