//! Periods as they are booked: one after the other without a gap, each with a segment per plan that was in force.

use jiff::{SignedDuration, Timestamp};

use crate::ids::PlanId;
use crate::period::{Period, PeriodError, period_after, period_of};
use crate::plan_change::{Assignment, Assignments};

/// A stretch of a booked period under one plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookedSegment {
    /// The plan in force.
    pub plan: PlanId,
    /// When it came into force, or when the period began.
    pub starts_at: Timestamp,
    /// The day of the period on which it did, from 0.
    pub first_day: i64,
    /// From when its assignment is: what is assigned later opens the next segment.
    pub assigned_at: Timestamp,
}

/// A booked period. What it is never changes; segments are added while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookedPeriod {
    /// Its number, from 1.
    pub number: i32,
    /// From when to when.
    pub period: Period,
    /// The time zone of its days.
    pub zone: String,
    /// The day of the month on which it was to begin.
    pub anchor_day: i8,
    /// Its segments, in order.
    pub segments: Vec<BookedSegment>,
}

/// What decides how periods go on.
pub struct Course<'a> {
    /// What the tenant was ever put on.
    pub assignments: &'a Assignments,
    /// The tenant's time zone, which the next period takes over.
    pub zone: &'a str,
    /// Gives the day of the month on which a plan's periods begin.
    pub anchor_of: &'a dyn Fn(PlanId) -> i8,
}

impl Course<'_> {
    /// Gives the periods that there must be at `now`: the last one that is booked, with the segments whose time has come, and those
    /// that follow it. Empty while nothing was ever assigned.
    ///
    /// # Errors
    /// When a zone is unknown or the calendar ends.
    pub fn advance(
        &self,
        last: Option<BookedPeriod>,
        now: Timestamp,
    ) -> Result<Vec<BookedPeriod>, PeriodError> {
        let Some(in_force) = self.assignments.in_force(now) else {
            return Ok(Vec::new());
        };
        let mut periods = vec![match last {
            Some(last) => last,
            None => self.first(in_force)?,
        }];
        loop {
            let Some(newest) = periods.last_mut() else {
                return Ok(periods);
            };
            self.open_segments(newest, now)?;
            if now < newest.period.ends_at {
                return Ok(periods);
            }
            let next = self.after(newest)?;
            periods.push(next);
        }
    }

    fn first(&self, in_force: Assignment) -> Result<BookedPeriod, PeriodError> {
        let anchor_day = (self.anchor_of)(in_force.plan);
        let period = period_of(in_force.effective_from, self.zone, anchor_day)?;
        Ok(self.book(1, period, anchor_day, in_force))
    }

    fn after(&self, ended: &BookedPeriod) -> Result<BookedPeriod, PeriodError> {
        let end = ended.period.ends_at;
        let in_force = self.assignments.in_force(end).ok_or(PeriodError::OutOfRange)?;
        let anchor_day = (self.anchor_of)(in_force.plan);
        let period = period_after(end, self.zone, anchor_day)?;
        Ok(self.book(ended.number + 1, period, anchor_day, in_force))
    }

    fn book(&self, number: i32, period: Period, anchor_day: i8, in_force: Assignment) -> BookedPeriod {
        BookedPeriod {
            number,
            period,
            zone: self.zone.to_owned(),
            anchor_day,
            segments: vec![BookedSegment {
                plan: in_force.plan,
                starts_at: period.starts_at,
                first_day: 0,
                assigned_at: in_force.effective_from,
            }],
        }
    }

    fn open_segments(&self, booked: &mut BookedPeriod, now: Timestamp) -> Result<(), PeriodError> {
        let Some(last) = booked.segments.last() else {
            return Ok(());
        };
        // What begins with the next period is the next period's.
        let last_instant = booked.period.ends_at - SignedDuration::from_nanos(1);
        for due in self.assignments.between(last.assigned_at, now.min(last_instant)) {
            booked.segments.push(BookedSegment {
                plan: due.plan,
                starts_at: due.effective_from,
                first_day: booked.period.day_of(due.effective_from, &booked.zone)?,
                assigned_at: due.effective_from,
            });
        }
        Ok(())
    }
}
