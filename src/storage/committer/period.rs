//! The open period of each tenant: which plan is in force, and how much of it is reserved and used.

use std::collections::HashMap;

use actors::ports::BillingHead;
use domain::category::Category;
use domain::ids::{PlanId, TenantId};
use domain::money::Currency;
use domain::period::period_of;
use domain::plan::Policy;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::storage::{Connection, StorageError};

/// The pool from which every unit is taken; plans with several pools are a later version of rating.
pub(super) const POOL: &str = "units";

/// A tenant's open period and its segment.
#[derive(Clone, Debug)]
pub(super) struct OpenPeriod {
    pub(super) number: i32,
    pub(super) segment: i32,
    pub(super) ends_at: Timestamp,
    pub(super) currency: String,
    pub(super) limit: Option<i64>,
    pub(super) held: i64,
    pub(super) captured: i64,
    segment_plan: PlanId,
    plan_in_force: PlanId,
}

impl OpenPeriod {
    /// Gives the head as its owner knows it.
    pub(super) const fn head(&self, seq: i64) -> BillingHead {
        BillingHead {
            seq,
            limit: self.limit,
            held: self.held,
            captured: self.captured,
        }
    }

    fn read(row: &Row) -> Result<Self, StorageError> {
        let policy = Policy::from_parts(row.try_get("policy")?, row.try_get("overage_cap_units")?)
            .ok_or_else(|| StorageError::nonsense("a plan's policy"))?;
        let plan = domain::plan::Plan {
            id: PlanId(row.try_get("plan_id")?),
            currency: Currency::from_code(row.try_get("currency")?).map_err(StorageError::nonsense)?,
            fee: domain::money::Minor(0),
            allowance_units: row.try_get("allowance_units")?,
            policy,
            overage_price: domain::money::Micros(0),
            messages_per_second: None,
            rating_version: 1,
        };
        Ok(Self {
            number: row.try_get("period")?,
            segment: row.try_get("segment")?,
            ends_at: row.try_get("ends_at")?,
            limit: plan.limit(),
            currency: plan.currency.code,
            held: row.try_get("held")?,
            captured: row.try_get("captured")?,
            segment_plan: plan.id,
            plan_in_force: PlanId(row.try_get("plan_in_force")?),
        })
    }
}

const OPEN: &str = "SELECT w.tenant_id, p.number AS period, p.ends_at, s.number AS segment, pl.id AS plan_id, pl.currency,
        pl.allowance_units, pl.policy, pl.overage_cap_units, a.plan_id AS plan_in_force,
        coalesce(c.held, 0)::bigint AS held, coalesce(c.captured, 0)::bigint AS captured
    FROM unnest($1::uuid[]) AS w (tenant_id)
    JOIN LATERAL (SELECT number, ends_at FROM billing_periods WHERE tenant_id = w.tenant_id
        ORDER BY number DESC LIMIT 1) p ON true
    JOIN LATERAL (SELECT number, plan_id FROM period_segments WHERE tenant_id = w.tenant_id AND period = p.number
        ORDER BY number DESC LIMIT 1) s ON true
    JOIN plans pl ON pl.id = s.plan_id
    JOIN LATERAL (SELECT plan_id FROM plan_assignments WHERE tenant_id = w.tenant_id AND effective_from <= now()
        ORDER BY effective_from DESC, created_at DESC LIMIT 1) a ON true
    LEFT JOIN LATERAL (SELECT sum(held) AS held, sum(captured) AS captured FROM pool_counters
        WHERE tenant_id = w.tenant_id AND period = p.number) c ON true";

/// Reads the open periods of tenants whose heads are locked; opens the next period or segment where the time has come.
pub(super) async fn open_periods(
    connection: &mut Connection,
    tenants: &[Uuid],
    now: Timestamp,
) -> Result<HashMap<TenantId, OpenPeriod>, StorageError> {
    let mut found = read(connection, tenants).await?;
    let mut opened = Vec::new();
    for &tenant in tenants {
        let present = found.get(&TenantId(tenant));
        match present {
            Some(period) if now >= period.ends_at => open(connection, tenant, period.number + 1, now).await?,
            None => open(connection, tenant, 1, now).await?,
            Some(period) if period.segment_plan != period.plan_in_force => {
                open_segment(connection, tenant, period, now).await?;
            }
            Some(_) => continue,
        }
        opened.push(tenant);
    }
    if !opened.is_empty() {
        found.extend(read(connection, &opened).await?);
    }
    Ok(found)
}

async fn read(
    connection: &mut Connection,
    tenants: &[Uuid],
) -> Result<HashMap<TenantId, OpenPeriod>, StorageError> {
    let rows = connection.query(OPEN, &[&tenants]).await?;
    rows.iter()
        .map(|row| Ok((TenantId(row.try_get("tenant_id")?), OpenPeriod::read(row)?)))
        .collect()
}

async fn open(
    connection: &mut Connection,
    tenant: Uuid,
    number: i32,
    now: Timestamp,
) -> Result<(), StorageError> {
    let row = connection
        .query_one(
            "SELECT t.timezone, (SELECT a.plan_id FROM plan_assignments a WHERE a.tenant_id = t.id AND a.effective_from <= now()
                ORDER BY a.effective_from DESC, a.created_at DESC LIMIT 1) AS plan_id FROM tenants t WHERE t.id = $1",
            &[&tenant],
        )
        .await?;
    let (zone, plan): (String, Option<Uuid>) = (row.try_get(0)?, row.try_get(1)?);
    let plan = plan.ok_or_else(|| StorageError::nonsense("a tenant without a plan"))?;
    let period = period_of(now, &zone, 1).map_err(StorageError::nonsense)?;
    connection
        .execute(
            "INSERT INTO billing_periods (tenant_id, number, starts_at, ends_at, timezone, anchor_day)
             VALUES ($1, $2, $3, $4, $5, 1)",
            &[&tenant, &number, &period.starts_at, &period.ends_at, &zone],
        )
        .await?;
    connection
        .execute(
            "INSERT INTO period_segments (tenant_id, period, number, plan_id, starts_at, ends_at)
             VALUES ($1, $2, 1, $3, $4, $5)",
            &[&tenant, &number, &plan, &period.starts_at, &period.ends_at],
        )
        .await?;
    Ok(())
}

async fn open_segment(
    connection: &mut Connection,
    tenant: Uuid,
    period: &OpenPeriod,
    now: Timestamp,
) -> Result<(), StorageError> {
    connection
        .execute(
            "INSERT INTO period_segments (tenant_id, period, number, plan_id, starts_at, ends_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                &tenant,
                &period.number,
                &(period.segment + 1),
                &period.plan_in_force.0,
                &now,
                &period.ends_at,
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
    /// Gives where a new attempt is booked.
    pub(super) fn now(tenant: TenantId, period: &OpenPeriod, category: Category) -> Self {
        Self {
            tenant,
            period: period.number,
            segment: period.segment,
            pool: POOL.to_owned(),
            category: category.as_str().to_owned(),
            currency: period.currency.clone(),
        }
    }
}
