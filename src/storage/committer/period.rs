//! The open period of each tenant: which plan is in force, and how much of it is reserved and used.

use std::collections::{BTreeMap, HashMap};

use actors::ports::BillingHead;
use domain::booking::{BookedPeriod, BookedSegment};
use domain::category::Category;
use domain::ids::{PlanId, TenantId};
use domain::plan::{reached, reservable};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::storage::booked::{self, OpenPeriod as Booked, Standing};
use crate::storage::plans::Plans;
use crate::storage::{Connection, StorageError};

/// A pool of the plan in force.
#[derive(Clone, Debug)]
struct PoolUse {
    promised: i64,
    limit: Option<i64>,
    held: i64,
    captured: i64,
    /// Reserved and used, and used, at the beginning of the transaction; nothing where a plan came into force in it.
    before: (i64, i64),
}

/// A tenant's open period and its segment.
#[derive(Clone, Debug)]
pub(super) struct OpenPeriod {
    pub(super) number: i32,
    pub(super) segment: i32,
    booked: Booked,
    pools: BTreeMap<String, PoolUse>,
}

/// A share of an allowance that was reached.
pub(super) struct Warning<'a> {
    pub(super) pool: &'a str,
    pub(super) measure: &'static str,
    pub(super) percent: u8,
}

impl OpenPeriod {
    fn of(booked: Booked, is_new: bool) -> Result<Self, StorageError> {
        let (used, plan) = (booked.used()?, &booked.plan()?.plan);
        let mut pools = BTreeMap::new();
        for pool in &plan.pools {
            let room = used.room_of(&pool.name).map_err(StorageError::nonsense)?;
            let units = booked.units_of(Some(&pool.name));
            let before = (units.held + units.captured, units.captured);
            let use_of = PoolUse {
                promised: room.promised,
                limit: room.limit,
                held: units.held,
                captured: units.captured,
                before: if is_new { (0, 0) } else { before },
            };
            pools.insert(pool.name.clone(), use_of);
        }
        Ok(Self {
            number: booked.booked.number,
            segment: i32::try_from(booked.booked.segments.len()).map_err(StorageError::nonsense)?,
            booked,
            pools,
        })
    }

    /// Gives the head as its owner knows it: over all pools, as far as one of them has room.
    pub(super) fn head(&self, seq: i64) -> BillingHead {
        let held = self.pools.values().map(|pool| pool.held).sum();
        let captured = self.pools.values().map(|pool| pool.captured).sum();
        let mut rooms = self.pools.values().map(|pool| {
            let limit = pool.limit?;
            Some(reservable(Some(limit), pool.held, pool.captured, i64::MAX))
        });
        let room = rooms.try_fold(0_i64, |sum, room| Some(sum.saturating_add(room?)));
        BillingHead {
            seq,
            limit: room.map(|room| room.saturating_add(held).saturating_add(captured)),
            held,
            captured,
        }
    }

    /// Tells whether the plan allows one more message of a category.
    pub(super) fn has_room(&self, category: Category) -> Result<bool, StorageError> {
        let pool = self.pools.get(self.booked.pool_of(category)?);
        let pool = pool.ok_or_else(|| StorageError::nonsense("a pool without its use"))?;
        Ok(reservable(pool.limit, pool.held, pool.captured, 1) > 0)
    }

    /// Counts what a row moves.
    pub(super) fn count(&mut self, booking: &Booking, held: i64, captured: i64) {
        if booking.period != self.number {
            return;
        }
        if let Some(pool) = self.pools.get_mut(&booking.pool) {
            pool.held += held;
            pool.captured += captured;
        }
    }

    /// Gives the shares of allowances that were reached in this transaction.
    pub(super) fn warnings(&self) -> Result<Vec<Warning<'_>>, StorageError> {
        let thresholds = &self.booked.plan()?.plan.thresholds;
        let mut warnings = Vec::new();
        for (name, pool) in &self.pools {
            let after = (pool.held + pool.captured, pool.captured);
            let measures = [
                ("reserved", pool.before.0, after.0),
                ("used", pool.before.1, after.1),
            ];
            for (measure, before, after) in measures {
                let new = reached(thresholds, pool.promised, before, after).into_iter();
                warnings.extend(new.map(|percent| Warning {
                    pool: name,
                    measure,
                    percent,
                }));
            }
        }
        Ok(warnings)
    }
}

/// Reads the open periods of tenants whose heads are locked; books the periods and segments whose time has come.
pub(super) async fn open_periods(
    connection: &mut Connection,
    tenants: &[Uuid],
    now: Timestamp,
) -> Result<HashMap<TenantId, OpenPeriod>, StorageError> {
    let mut open = HashMap::with_capacity(tenants.len());
    for (tenant, standing) in booked::standings(connection, tenants).await? {
        let is_new = book_due(connection, tenant, &standing, now).await?;
        let period = standing.at(now)?;
        let period = period.ok_or_else(|| StorageError::nonsense("a tenant without a plan"))?;
        open.insert(tenant, OpenPeriod::of(period, is_new)?);
    }
    Ok(open)
}

/// Books what is due; tells whether that was anything.
async fn book_due(
    connection: &mut Connection,
    tenant: TenantId,
    standing: &Standing,
    now: Timestamp,
) -> Result<bool, StorageError> {
    let known = standing.newest.as_ref();
    let mut is_new = false;
    for period in standing.advance(now).map_err(StorageError::nonsense)? {
        let booked = known.filter(|known| known.number == period.number);
        if booked.is_none() {
            book_period(connection, tenant, &period).await?;
        }
        let from = booked.map_or(0, |known| known.segments.len());
        for (segment, number) in period.segments.iter().zip(1_i32..).skip(from) {
            book_segment(connection, tenant, &period, (number, segment)).await?;
            is_new = true;
        }
    }
    Ok(is_new)
}

async fn book_period(
    connection: &mut Connection,
    tenant: TenantId,
    period: &BookedPeriod,
) -> Result<(), StorageError> {
    let (from, to) = (period.period.starts_at, period.period.ends_at);
    let anchor_day = i16::from(period.anchor_day);
    connection
        .execute(
            "INSERT INTO billing_periods (tenant_id, number, starts_at, ends_at, timezone, anchor_day)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[&tenant.0, &period.number, &from, &to, &period.zone, &anchor_day],
        )
        .await?;
    Ok(())
}

async fn book_segment(
    connection: &mut Connection,
    tenant: TenantId,
    period: &BookedPeriod,
    (number, segment): (i32, &BookedSegment),
) -> Result<(), StorageError> {
    connection
        .execute(
            "INSERT INTO period_segments (tenant_id, period, number, plan_id, starts_at, ends_at, assigned_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                &tenant.0,
                &period.number,
                &number,
                &segment.plan.0,
                &segment.starts_at,
                &period.period.ends_at,
                &segment.assigned_at,
            ],
        )
        .await?;
    Ok(())
}

/// Where the units of an attempt are booked: fixed when they are reserved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Booking {
    pub(super) tenant: TenantId,
    pub(super) period: i32,
    pub(super) segment: i32,
    pub(super) pool: String,
    pub(super) category: String,
    pub(super) currency: String,
}

impl Booking {
    /// Reads it from a row of the ledger.
    pub(super) fn read(tenant: TenantId, row: &Row) -> Result<Self, StorageError> {
        Ok(Self {
            tenant,
            period: row.try_get("period")?,
            segment: row.try_get("segment")?,
            pool: row.try_get("pool")?,
            category: row.try_get("category")?,
            currency: row.try_get("currency")?,
        })
    }

    /// Gives where a new attempt is booked.
    pub(super) fn now(
        tenant: TenantId,
        period: &OpenPeriod,
        category: Category,
    ) -> Result<Self, StorageError> {
        Ok(Self {
            tenant,
            period: period.number,
            segment: period.segment,
            pool: period.booked.pool_of(category)?.to_owned(),
            category: category.as_str().to_owned(),
            currency: period.booked.plan()?.plan.currency.code.clone(),
        })
    }

    /// Gives where it is billed under the plan that it was reserved under, if Meta bills it as another category.
    pub(super) fn billed_as(
        &self,
        category: Category,
        plan: PlanId,
        plans: &Plans,
    ) -> Result<Self, StorageError> {
        let stored = plans.get(&plan).and_then(|stored| stored.plan.pool_of(category));
        let pool = stored.ok_or_else(|| StorageError::nonsense("a segment without its plan"))?;
        Ok(Self {
            pool: pool.name.clone(),
            category: category.as_str().to_owned(),
            ..self.clone()
        })
    }
}
