//! The present period of tenants: what is booked, what of it is reserved and used, and how it goes on from there.

use std::collections::{BTreeMap, HashMap};

use domain::booking::{BookedPeriod, BookedSegment, Course};
use domain::category::Category;
use domain::ids::{PlanId, TenantId};
use domain::ledger::CounterChange;
use domain::period::{Period, PeriodError};
use domain::plan_change::{Assignment, Assignments};
use domain::rating::{PeriodUse, RatingError, Room, Segment};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::plans::{self, Plans, StoredPlan};
use super::{Connection, StorageError};

/// Units by the segment and the pool that they are booked on.
pub type Units = BTreeMap<(i32, String), CounterChange>;

/// A period, its plans and its units.
#[derive(Clone, Debug)]
pub struct OpenPeriod {
    /// The period.
    pub booked: BookedPeriod,
    /// The plans of its segments.
    pub plans: Plans,
    /// What became of its units.
    pub units: Units,
}

/// What is booked of a tenant so far, and what decides how it goes on.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The newest period; none before the first one.
    pub newest: Option<BookedPeriod>,
    /// What became of its units.
    pub units: Units,
    /// All that the tenant was ever put on.
    pub assignments: Assignments,
    /// The tenant's time zone.
    pub zone: String,
    /// The plans of the assignments.
    pub plans: Plans,
}

const STANDINGS: &str = "SELECT w.tenant_id, t.timezone AS zone, p.number, p.starts_at, p.ends_at, p.timezone, p.anchor_day,
        s.plans, s.starts, s.assigned, a.plans AS assigned_plans, a.froms, a.created,
        c.segments, c.pools, c.held, c.captured, c.free, c.voided, c.expired, c.forced
    FROM unnest($1::uuid[]) AS w (tenant_id) JOIN tenants t ON t.id = w.tenant_id
    LEFT JOIN LATERAL (SELECT number, starts_at, ends_at, timezone, anchor_day FROM billing_periods
        WHERE tenant_id = w.tenant_id ORDER BY number DESC LIMIT 1) p ON true
    LEFT JOIN LATERAL (SELECT array_agg(plan_id ORDER BY number) AS plans, array_agg(starts_at ORDER BY number) AS starts,
        array_agg(coalesce(assigned_at, starts_at) ORDER BY number) AS assigned FROM period_segments
        WHERE tenant_id = w.tenant_id AND period = p.number) s ON true
    LEFT JOIN LATERAL (SELECT array_agg(plan_id) AS plans, array_agg(effective_from) AS froms, array_agg(created_at) AS created
        FROM plan_assignments WHERE tenant_id = w.tenant_id) a ON true
    LEFT JOIN LATERAL (SELECT array_agg(segment) AS segments, array_agg(pool) AS pools, array_agg(held) AS held,
        array_agg(captured) AS captured, array_agg(free) AS free, array_agg(voided) AS voided, array_agg(expired) AS expired,
        array_agg(forced) AS forced FROM (
            SELECT segment, pool, sum(held)::bigint AS held, sum(captured)::bigint AS captured, sum(free)::bigint AS free,
                sum(voided)::bigint AS voided, sum(expired)::bigint AS expired, sum(forced)::bigint AS forced
            FROM pool_counters WHERE tenant_id = w.tenant_id AND period = p.number GROUP BY segment, pool) k) c ON true";

/// Reads what is booked of tenants.
///
/// # Errors
/// What the database says.
pub async fn standings(
    connection: &mut Connection,
    tenants: &[Uuid],
) -> Result<HashMap<TenantId, Standing>, StorageError> {
    let rows = connection.query(STANDINGS, &[&tenants]).await?;
    let mut read = Vec::with_capacity(rows.len());
    for row in &rows {
        read.push((TenantId(row.try_get("tenant_id")?), Standing::read(row)?));
    }
    let ids = read
        .iter()
        .flat_map(|(_, standing)| standing.plan_ids())
        .collect::<Vec<_>>();
    let plans = plans::by_id(connection, ids).await?;
    Ok(read
        .into_iter()
        .map(|(tenant, mut standing)| {
            let own = standing.plan_ids();
            standing.plans = own
                .into_iter()
                .filter_map(|id| Some((id, plans.get(&id)?.clone())))
                .collect();
            (tenant, standing)
        })
        .collect())
}

/// Reads the period in which a tenant is now, or would be with its next message; none while it has no plan.
///
/// # Errors
/// What the database says.
pub async fn present(
    connection: &mut Connection,
    tenant: TenantId,
    now: Timestamp,
) -> Result<Option<OpenPeriod>, StorageError> {
    let found = standings(connection, &[tenant.0]).await?.remove(&tenant);
    let Some(standing) = found else { return Ok(None) };
    standing.at(now)
}

fn list<T>(row: &Row, column: &str) -> Result<Vec<T>, StorageError>
where
    Vec<T>: for<'a> tokio_postgres::types::FromSql<'a>,
{
    Ok(row.try_get::<_, Option<Vec<T>>>(column)?.unwrap_or_default())
}

impl Standing {
    fn read(row: &Row) -> Result<Self, StorageError> {
        let (plans, created): (Vec<Uuid>, Vec<Timestamp>) =
            (list(row, "assigned_plans")?, list(row, "created")?);
        let all = plans
            .into_iter()
            .zip(list::<Timestamp>(row, "froms")?)
            .zip(created);
        let all = all.map(|((plan, effective_from), created_at)| Assignment {
            plan: PlanId(plan),
            effective_from,
            created_at,
        });
        Ok(Self {
            newest: newest(row)?,
            units: units(row)?,
            assignments: Assignments::new(all.collect()),
            zone: row.try_get("zone")?,
            plans: Plans::new(),
        })
    }

    fn plan_ids(&self) -> Vec<PlanId> {
        let booked = self.newest.iter().flat_map(|period| &period.segments);
        let booked = booked.map(|segment| segment.plan);
        booked.chain(self.assignments.all().map(|one| one.plan)).collect()
    }

    /// Gives the periods that there must be at `now`: the newest that is booked, with the segments whose time has come, and those
    /// that follow it.
    ///
    /// # Errors
    /// When a zone is unknown or the calendar ends.
    pub fn advance(&self, now: Timestamp) -> Result<Vec<BookedPeriod>, PeriodError> {
        let plans = &self.plans;
        let course = Course {
            assignments: &self.assignments,
            zone: &self.zone,
            anchor_of: &|plan| plans.get(&plan).map_or(1, |stored| stored.plan.anchor_day),
        };
        course.advance(self.newest.clone(), now)
    }

    /// Gives the period in which the tenant is at `now`; none while it has no plan.
    ///
    /// # Errors
    /// When its rows make no sense.
    pub fn at(&self, now: Timestamp) -> Result<Option<OpenPeriod>, StorageError> {
        let booked = self.advance(now).map_err(StorageError::nonsense)?.pop();
        Ok(booked.map(|booked| {
            let is_same = self
                .newest
                .as_ref()
                .is_some_and(|newest| newest.number == booked.number);
            OpenPeriod {
                booked,
                plans: self.plans.clone(),
                units: if is_same { self.units.clone() } else { Units::new() },
            }
        }))
    }
}

fn newest(row: &Row) -> Result<Option<BookedPeriod>, StorageError> {
    let Some(number) = row.try_get::<_, Option<i32>>("number")? else {
        return Ok(None);
    };
    let (zone, anchor_day): (String, i16) = (row.try_get("timezone")?, row.try_get("anchor_day")?);
    let period = Period {
        starts_at: row.try_get("starts_at")?,
        ends_at: row.try_get("ends_at")?,
    };
    let (starts, assigned): (Vec<Timestamp>, Vec<Timestamp>) = (list(row, "starts")?, list(row, "assigned")?);
    let mut segments = Vec::new();
    for ((plan, starts_at), assigned_at) in list::<Uuid>(row, "plans")?.into_iter().zip(starts).zip(assigned)
    {
        segments.push(BookedSegment {
            plan: PlanId(plan),
            starts_at,
            first_day: period.day_of(starts_at, &zone).map_err(StorageError::nonsense)?,
            assigned_at,
        });
    }
    Ok(Some(BookedPeriod {
        number,
        period,
        zone,
        anchor_day: i8::try_from(anchor_day).map_err(StorageError::nonsense)?,
        segments,
    }))
}

fn units(row: &Row) -> Result<Units, StorageError> {
    let (segments, pools): (Vec<i32>, Vec<String>) = (list(row, "segments")?, list(row, "pools")?);
    let column = |name| list::<i64>(row, name);
    let (held, captured, free) = (column("held")?, column("captured")?, column("free")?);
    let (voided, expired, forced) = (column("voided")?, column("expired")?, column("forced")?);
    let keys = segments.into_iter().zip(pools).enumerate();
    Ok(keys
        .map(|(at, key)| {
            let change = CounterChange {
                held: held[at],
                captured: captured[at],
                free: free[at],
                voided: voided[at],
                expired: expired[at],
                forced: forced[at],
            };
            (key, change)
        })
        .collect())
}

impl OpenPeriod {
    /// Gives the plan of the last segment.
    ///
    /// # Errors
    /// When the period has no segment.
    pub fn plan(&self) -> Result<&StoredPlan, StorageError> {
        let last = self
            .booked
            .segments
            .last()
            .and_then(|segment| self.plans.get(&segment.plan));
        last.map(AsRef::as_ref)
            .ok_or_else(|| StorageError::nonsense("a period without a plan"))
    }

    /// Gives the pool from which a category takes now.
    ///
    /// # Errors
    /// When the plan leaves the category out.
    pub fn pool_of(&self, category: Category) -> Result<&str, StorageError> {
        let pool = self.plan()?.plan.pool_of(category);
        let pool =
            pool.ok_or_else(|| StorageError::nonsense(format!("a plan without {}", category.as_str())))?;
        Ok(&pool.name)
    }

    /// Gives what its price depends on.
    ///
    /// # Errors
    /// When its rows make no sense.
    pub fn used(&self) -> Result<PeriodUse, StorageError> {
        let mut segments = Vec::new();
        for (segment, number) in self.booked.segments.iter().zip(1..) {
            let stored = self.plans.get(&segment.plan);
            let stored = stored.ok_or_else(|| StorageError::nonsense("a segment without its plan"))?;
            let captured = self.units.iter().filter(|((of, _), _)| *of == number);
            segments.push(Segment {
                plan: stored.plan.clone(),
                first_day: segment.first_day,
                captured: captured
                    .map(|((_, pool), units)| (pool.clone(), units.captured))
                    .collect(),
            });
        }
        let days = self.booked.period.days(&self.booked.zone);
        Ok(PeriodUse {
            days: days.map_err(StorageError::nonsense)?,
            segments,
        })
    }

    /// Gives how much there is of a pool.
    ///
    /// # Errors
    /// When the period cannot be priced.
    pub fn room_of(&self, pool: &str) -> Result<Room, StorageError> {
        let room = self.used()?.room_of(pool);
        room.map_err(|error: RatingError| StorageError::nonsense(error))
    }

    /// Sums the units of a pool, or of all pools.
    pub fn units_of(&self, pool: Option<&str>) -> CounterChange {
        let mut sum = CounterChange::default();
        let wanted = self
            .units
            .iter()
            .filter(|((_, of), _)| pool.is_none_or(|pool| pool == of));
        wanted.for_each(|(_, units)| sum.add(*units));
        sum
    }
}
