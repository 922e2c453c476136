//! What used units cost: a pure function of how many were used under which plan, never of the order in which they came.
//!
//! A period has one segment per plan that was in force. What the plans promise together is weighted by days; what was used
//! carries over; nothing is reset, and what one segment owes is not touched by a later one.

mod lines;

use std::collections::{BTreeMap, BTreeSet};

use crate::money::TooLarge;
use crate::plan::Plan;

pub use lines::{InvoiceLine, LineKind, adjustment, correction, period_lines, total};

/// A stretch of a period under one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The plan in force.
    pub plan: Plan,
    /// The day of the period on which it came into force, from 0; the day counts for it as a whole.
    pub first_day: i64,
    /// Units used whose messages were reserved in it, by pool.
    pub captured: BTreeMap<String, i64>,
}

/// A period with all that its price depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodUse {
    /// How many days it has, in its time zone.
    pub days: i64,
    /// Its segments in order; the first begins with it.
    pub segments: Vec<Segment>,
}

/// Why a period cannot be priced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// An amount does not fit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Units were booked on a pool that the plan of their segment does not have.
    #[error("the plan in force has no pool {0:?}")]
    NoPool(String),
    /// A period without a segment or without a day.
    #[error("the period has no segment or no day")]
    Empty,
}

/// What one pool's use in one segment comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolShare {
    /// Which segment, by its place among those that count.
    pub segment: usize,
    /// Which pool.
    pub pool: String,
    /// Units that are included in all fees of the period, as if this segment's plan stayed to the end.
    pub promised: i64,
    /// Units used that are included.
    pub included: i64,
    /// Units used beyond.
    pub beyond: i64,
    /// Units used beyond in the segments before: where the graduated prices go on.
    pub beyond_before: i64,
}

impl PeriodUse {
    /// Leaves out what came and went without a day and without a message, and joins neighbours under the same plan: a change that
    /// was taken back at once never happened.
    pub fn settled(&self) -> Self {
        let mut kept: Vec<Segment> = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let next_day = self.segments.get(index + 1).map(|next| next.first_day);
            let is_gone =
                next_day == Some(segment.first_day) && segment.captured.values().all(|units| *units == 0);
            match kept.last_mut() {
                _ if is_gone => {}
                Some(before) if before.plan.id == segment.plan.id => {
                    for (pool, units) in &segment.captured {
                        *before.captured.entry(pool.clone()).or_default() += units;
                    }
                }
                _ => kept.push(segment.clone()),
            }
        }
        if let Some(first) = kept.first_mut() {
            first.first_day = 0;
        }
        Self {
            days: self.days,
            segments: kept,
        }
    }

    /// Gives how each pool's use divides into what the fees include and what goes beyond, segment by segment.
    ///
    /// # Errors
    /// When there is no segment, or when a number does not fit.
    pub fn shares(&self) -> Result<Vec<PoolShare>, RatingError> {
        if self.days < 1 || self.segments.is_empty() {
            return Err(RatingError::Empty);
        }
        let pools = self.segments.iter().flat_map(|segment| &segment.plan.pools);
        let names: BTreeSet<&str> = pools.map(|pool| pool.name.as_str()).collect();
        let mut shares = Vec::new();
        for name in names {
            self.shares_of(name, &mut shares)?;
        }
        shares.sort_by_key(|share| share.segment);
        Ok(shares)
    }

    fn shares_of(&self, name: &str, shares: &mut Vec<PoolShare>) -> Result<(), RatingError> {
        let (mut weighted, mut included_before, mut beyond_before) = (0_i128, 0, 0);
        for (index, segment) in self.segments.iter().enumerate() {
            let allowance = segment.plan.pool(name).map_or(0, |pool| pool.allowance_units);
            let rest = self.days - segment.first_day;
            let promised = (weighted + i128::from(allowance) * i128::from(rest)) / i128::from(self.days);
            let promised = i64::try_from(promised).map_err(|_| TooLarge)?;
            let used = segment.captured.get(name).copied().unwrap_or(0);
            let included = used.min((promised - included_before).max(0));
            shares.push(PoolShare {
                segment: index,
                pool: name.to_owned(),
                promised,
                included,
                beyond: used - included,
                beyond_before,
            });
            included_before += included;
            beyond_before += used - included;
            let next = self
                .segments
                .get(index + 1)
                .map_or(self.days, |next| next.first_day);
            weighted += i128::from(allowance) * i128::from(next - segment.first_day);
        }
        Ok(())
    }

    /// Gives the period as it would be if another plan came into force on a day.
    pub fn changed_to(&self, plan: Plan, first_day: i64) -> Self {
        let mut changed = self.clone();
        changed.segments.push(Segment {
            plan,
            first_day,
            captured: BTreeMap::new(),
        });
        changed
    }

    /// Gives the limit of a pool now: what may be reserved and used at once under the last segment's plan, and what is promised
    /// so far; the limit is none where there is no end. A pool that the plan does not have has no room.
    ///
    /// # Errors
    /// When the period cannot be priced.
    pub fn room_of(&self, pool: &str) -> Result<Room, RatingError> {
        let settled = self.settled();
        let shares = settled.shares()?;
        let Some(last) = settled.segments.last() else {
            return Err(RatingError::Empty);
        };
        let share = shares.iter().rfind(|share| share.pool == pool);
        let (Some(plan_pool), Some(share)) = (last.plan.pool(pool), share) else {
            return Ok(Room {
                promised: 0,
                limit: Some(0),
            });
        };
        Ok(Room {
            promised: share.promised,
            limit: plan_pool.limit(share.promised, share.beyond_before),
        })
    }
}

/// How much of a pool there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Units that are included in the fees of the period.
    pub promised: i64,
    /// Units that may be reserved and used at once; none where there is no end.
    pub limit: Option<i64>,
}
