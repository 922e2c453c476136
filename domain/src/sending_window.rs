//! When recipients may be written to: hours of the day and days of the week, by a recipient's own clock or the tenant's.

use std::collections::BTreeMap;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::named::named_states;

/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;
/// Days that are searched for the next opening: a week, and one for each end.
const SEARCHED_DAYS: i64 = 9;
/// The step by which a time of arrival is worked out, in seconds.
const STEP_SECONDS: i64 = 15 * 60;
/// How far a time of arrival is worked out: three months.
const STEPS_MOST: i64 = 90 * 86_400 / STEP_SECONDS;

named_states! {
    /// By whose clock a window opens.
    WindowZone, UnknownWindowZone {
        /// The recipient's, as far as their number tells.
        Recipient = "recipient",
        /// The tenant's.
        Tenant = "tenant",
    }
}

named_states! {
    /// A day of the week.
    Day, UnknownDay {
        /// Monday.
        Monday = "mon",
        /// Tuesday.
        Tuesday = "tue",
        /// Wednesday.
        Wednesday = "wed",
        /// Thursday.
        Thursday = "thu",
        /// Friday.
        Friday = "fri",
        /// Saturday.
        Saturday = "sat",
        /// Sunday.
        Sunday = "sun",
    }
}

/// Why a window makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not a time of the day.
    #[error("{0:?} is no time of the day: HH:MM, 00:00 to 24:00")]
    Time(String),
    /// It never opens.
    #[error("the end must be later than the start on the same day (24:00 is its end)")]
    Empty,
    /// Not a day.
    #[error("{0:?} is no day: mon, tue, wed, thu, fri, sat, sun")]
    Day(String),
    /// No day at all.
    #[error("days: name one at least, or leave it out for every day")]
    NoDays,
}

/// A daily window on some days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendingWindow {
    start: u16,
    end: u16,
    days: [bool; 7],
    /// By whose clock.
    pub zone: WindowZone,
}

/// What a window says of an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is open, until then.
    Open(Timestamp),
    /// It is closed, until then.
    ClosedUntil(Timestamp),
}

impl SendingWindow {
    /// Makes a window from `HH:MM` to `HH:MM`, on the named days or on every day.
    ///
    /// # Errors
    /// When it would make no sense.
    pub fn new<D: AsRef<str>>(
        start: &str,
        end: &str,
        days: Option<&[D]>,
        zone: WindowZone,
    ) -> Result<Self, WindowError> {
        let (start, end) = (minutes_of(start)?, minutes_of(end)?);
        if start >= end {
            return Err(WindowError::Empty);
        }
        let mut open = [days.is_none(); 7];
        for day in days.unwrap_or_default() {
            let name = day.as_ref();
            let day: Day = name.parse().map_err(|_| WindowError::Day(name.to_owned()))?;
            open[day as usize] = true;
        }
        if !open.contains(&true) {
            return Err(WindowError::NoDays);
        }
        Ok(Self {
            start,
            end,
            days: open,
            zone,
        })
    }

    /// Tells whether it is open at `now` by the clock of `zone`, and until when that stays so.
    pub fn at(&self, now: Timestamp, zone: &TimeZone) -> Opening {
        let today = zone.to_datetime(now).date();
        for offset in -1..SEARCHED_DAYS {
            let Some((opens, closes)) = self.on(today, offset, zone) else {
                continue;
            };
            if now < opens {
                return Opening::ClosedUntil(opens);
            }
            if now < closes {
                return Opening::Open(closes);
            }
        }
        Opening::ClosedUntil(Timestamp::MAX)
    }

    /// The instants at which it opens and closes on a day; none if it does not open then.
    fn on(&self, today: Date, offset: i64, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let date = today.checked_add(offset.days()).ok()?;
        if !self.days[day_of(date.weekday()) as usize] {
            return None;
        }
        let (opens, closes) = (instant(date, self.start, zone)?, instant(date, self.end, zone)?);
        (opens < closes).then_some((opens, closes))
    }

    /// Works out when the last of some messages would leave at a rate, if those of each zone wait for their window and the rate is
    /// shared by the zones that are open. None when that is more than three months away, or the rate is nothing.
    pub fn finishes_at(
        &self,
        start: Timestamp,
        messages: &BTreeMap<&str, i64>,
        messages_per_second: f64,
    ) -> Option<Timestamp> {
        let mut left: Vec<(TimeZone, f64)> = messages
            .iter()
            .filter(|(_, number)| **number > 0)
            .map(|(zone, number)| (TimeZone::get(zone).unwrap_or(TimeZone::UTC), *number as f64))
            .collect();
        if messages_per_second <= 0.0 {
            return None;
        }
        let mut now = start;
        for _ in 0..STEPS_MOST {
            if left.is_empty() {
                return Some(now);
            }
            let open = |zone: &TimeZone| matches!(self.at(now, zone), Opening::Open(_));
            let waiting: f64 = left
                .iter()
                .filter(|(zone, _)| open(zone))
                .map(|(_, left)| left)
                .sum();
            if waiting == 0.0 {
                now = left.iter().map(|(zone, _)| self.opens(now, zone)).min()?;
                continue;
            }
            let step = (waiting / messages_per_second).min(STEP_SECONDS as f64).max(1.0);
            let part = (step * messages_per_second / waiting).min(1.0);
            for (zone, left) in &mut left {
                if open(zone) {
                    *left -= *left * part;
                }
            }
            left.retain(|(_, left)| *left > 0.5);
            let milliseconds: i64 = format!("{:.0}", step * 1_000.0).parse().unwrap_or(1_000);
            now = now.checked_add(milliseconds.milliseconds()).ok()?;
        }
        None
    }

    fn opens(&self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self.at(now, zone) {
            Opening::Open(_) => now,
            Opening::ClosedUntil(at) => at,
        }
    }

    /// Gives its start as `HH:MM`.
    pub fn start(&self) -> String {
        clock(self.start)
    }

    /// Gives its end as `HH:MM`.
    pub fn end(&self) -> String {
        clock(self.end)
    }

    /// Gives the days on which it opens.
    pub fn days(&self) -> Vec<Day> {
        let days = Day::ALL.iter().zip(self.days);
        days.filter_map(|(&day, open)| open.then_some(day)).collect()
    }
}

fn clock(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn minutes_of(text: &str) -> Result<u16, WindowError> {
    let wrong = || WindowError::Time(text.to_owned());
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    if hours.len() != 2 || minutes.len() != 2 {
        return Err(wrong());
    }
    let (hours, minutes): (u16, u16) = (
        hours.parse().map_err(|_| wrong())?,
        minutes.parse().map_err(|_| wrong())?,
    );
    let all = hours * 60 + minutes;
    if minutes >= 60 || all > DAY_MINUTES {
        return Err(wrong());
    }
    Ok(all)
}

/// A local time that a clock change skips is as much later as the clock was put forward; one that comes twice is the first.
fn instant(date: Date, minutes: u16, zone: &TimeZone) -> Option<Timestamp> {
    let (date, minutes) = if minutes == DAY_MINUTES {
        (date.checked_add(1.day()).ok()?, 0)
    } else {
        (date, minutes)
    };
    let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
    zone.to_ambiguous_timestamp(date.at(hour, minute, 0, 0))
        .compatible()
        .ok()
}

const fn day_of(weekday: Weekday) -> Day {
    match weekday {
        Weekday::Monday => Day::Monday,
        Weekday::Tuesday => Day::Tuesday,
        Weekday::Wednesday => Day::Wednesday,
        Weekday::Thursday => Day::Thursday,
        Weekday::Friday => Day::Friday,
        Weekday::Saturday => Day::Saturday,
        Weekday::Sunday => Day::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(start: &str, end: &str, days: Option<&[&str]>) -> SendingWindow {
        SendingWindow::new(start, end, days, WindowZone::Recipient).expect("a window")
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn it_opens_and_closes_by_the_local_clock() {
        let (daytime, lisbon) = (window("09:00", "20:00", None), zone("Europe/Lisbon"));
        let of = |text| daytime.at(at(text), &lisbon);
        assert_eq!(
            of("2026-07-01T07:59:59Z"),
            Opening::ClosedUntil(at("2026-07-01T08:00:00Z"))
        );
        assert_eq!(
            of("2026-07-01T08:00:00Z"),
            Opening::Open(at("2026-07-01T19:00:00Z"))
        );
        assert_eq!(
            of("2026-07-01T19:00:00Z"),
            Opening::ClosedUntil(at("2026-07-02T08:00:00Z"))
        );
        assert_eq!(
            of("2026-12-01T08:30:00Z"),
            Opening::ClosedUntil(at("2026-12-01T09:00:00Z"))
        );
    }

    #[test]
    fn a_weekend_is_passed_over() {
        let working = window("09:00", "18:00", Some(&["mon", "tue", "wed", "thu", "fri"]));
        let friday_evening = at("2026-11-27T22:00:00Z");
        assert_eq!(
            working.at(friday_evening, &TimeZone::UTC),
            Opening::ClosedUntil(at("2026-11-30T09:00:00Z"))
        );
    }

    #[test]
    fn an_hour_that_is_skipped_or_repeated_keeps_the_window_sane() {
        let (berlin, early) = (zone("Europe/Berlin"), window("02:30", "06:00", None));
        // The clock goes from 02:00 to 03:00: half past two is half past three.
        assert_eq!(
            early.at(at("2027-03-28T00:59:00Z"), &berlin),
            Opening::ClosedUntil(at("2027-03-28T01:30:00Z"))
        );
        // Only the skipped hour: it does not open that day.
        let skipped = window("02:00", "02:59", None);
        assert_eq!(
            skipped.at(at("2027-03-28T00:59:59Z"), &berlin),
            Opening::ClosedUntil(at("2027-03-28T01:00:00Z"))
        );
        assert_eq!(
            early.at(at("2026-10-25T00:30:00Z"), &berlin),
            Opening::Open(at("2026-10-25T05:00:00Z"))
        );
    }

    #[test]
    fn a_day_may_end_at_midnight() {
        let evening = window("18:00", "24:00", None);
        assert_eq!(
            evening.at(at("2026-07-01T23:59:59Z"), &TimeZone::UTC),
            Opening::Open(at("2026-07-02T00:00:00Z"))
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let new =
            |start, end, days: Option<&[&str]>| SendingWindow::new(start, end, days, WindowZone::Tenant);
        assert_eq!(new("20:00", "09:00", None), Err(WindowError::Empty));
        assert!(matches!(new("9:00", "20:00", None), Err(WindowError::Time(_))));
        assert!(matches!(new("09:00", "24:01", None), Err(WindowError::Time(_))));
        assert!(matches!(
            new("09:00", "20:00", Some(&["someday"])),
            Err(WindowError::Day(_))
        ));
        assert_eq!(new("09:00", "20:00", Some(&[])), Err(WindowError::NoDays));
    }

    #[test]
    fn the_time_of_arrival_waits_for_each_zone() {
        let daytime = window("09:00", "20:00", None);
        let of = |messages: &[(&'static str, i64)], rate| {
            daytime.finishes_at(
                at("2026-07-01T10:00:00Z"),
                &messages.iter().copied().collect(),
                rate,
            )
        };
        assert_eq!(of(&[("UTC", 600)], 1.0), Some(at("2026-07-01T10:10:00Z")));
        let far = of(&[("UTC", 600), ("America/Los_Angeles", 60)], 1.0).expect("a time");
        assert_eq!(far, at("2026-07-01T16:01:00Z"));
        let overnight = of(&[("UTC", 36_000 + 600)], 1.0).expect("a time");
        assert!(
            (at("2026-07-02T09:09:00Z")..at("2026-07-02T09:11:00Z")).contains(&overnight),
            "{overnight}"
        );
        assert_eq!(of(&[("UTC", 600)], 0.0), None);
    }

    proptest! {
        #[test]
        fn what_is_closed_opens_when_it_says_and_what_is_open_closes(
            second in 1_700_000_000_i64..2_100_000_000,
            zone in proptest::sample::select(vec!["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]),
            start in 0_u16..1_430, length in 1_u16..1_440, day in 0_usize..7,
        ) {
            let zone = TimeZone::get(zone).expect("a zone");
            let end = (start + length).min(DAY_MINUTES);
            let days = [Day::ALL[day].as_str()];
            let window = SendingWindow::new(&clock(start), &clock(end), Some(&days), WindowZone::Recipient).expect("a window");
            let now = Timestamp::from_second(second).expect("in range");
            match window.at(now, &zone) {
                Opening::ClosedUntil(opens) => {
                    prop_assert!(opens > now);
                    prop_assert!(matches!(window.at(opens, &zone), Opening::Open(closes) if closes > opens));
                }
                Opening::Open(closes) => {
                    prop_assert!(closes > now);
                    prop_assert!(matches!(window.at(closes, &zone), Opening::ClosedUntil(_)));
                }
            }
        }
    }
}
