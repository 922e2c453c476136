//! Published plans, and which tenant is on which from when.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use domain::category::Category;
use domain::ids::{PlanId, TenantId};
use domain::money::{Currency, Micros, Minor};
use domain::plan::{ONLY_POOL, Plan, Policy, Pool, Tier};
use domain::plan_change::{Assignment, Assignments};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Connection, StorageError, Transaction};

/// A published version.
#[derive(Clone, Debug)]
pub struct StoredPlan {
    /// By which tenants are put on it.
    pub code: String,
    /// Its number among the versions of its code.
    pub version: i32,
    /// For people.
    pub name: String,
    /// What it says.
    pub plan: Plan,
    /// When it was published.
    pub published_at: Timestamp,
}

/// A version to publish.
#[derive(Clone, Debug)]
pub struct NewPlan<'a> {
    /// By which tenants are put on it.
    pub code: &'a str,
    /// For people.
    pub name: &'a str,
    /// What it says.
    pub plan: &'a Plan,
}

/// A pool as it is stored and as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolShape {
    /// Its name: the same in every version, so that a change of plan goes on with what was used.
    pub name: String,
    /// `marketing`, `utility`, `authentication`, `service`; each is in exactly one pool of a plan.
    pub categories: Vec<String>,
    /// Units included in the fee of a whole period.
    pub allowance_units: i64,
    /// What happens beyond them: `hard`, `overage` or `soft`.
    pub policy: String,
    /// With `overage`: units beyond the allowance at which it blocks after all.
    #[serde(default)]
    pub overage_cap_units: Option<i64>,
    /// With `overage`: what units beyond the allowance may cost in a period, in millionths of the currency's main unit.
    #[serde(default)]
    pub overage_cap_micros: Option<i64>,
    /// Graduated prices of units beyond the allowance; free of charge if empty.
    #[serde(default)]
    pub tiers: Vec<TierShape>,
}

/// A step of graduated prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TierShape {
    /// The last unit beyond the allowance that costs this, counted from 1; absent in the last step.
    #[serde(default)]
    pub up_to: Option<i64>,
    /// The price of one unit, in millionths of the currency's main unit.
    pub price_micros: i64,
}

impl From<&Pool> for PoolShape {
    fn from(pool: &Pool) -> Self {
        let (cap_units, cap_money) = match pool.policy {
            Policy::Overage { cap_units, cap_money } => (cap_units, cap_money),
            Policy::Hard | Policy::Soft => (None, None),
        };
        let tiers = pool.tiers.iter().map(|tier| TierShape {
            up_to: tier.up_to,
            price_micros: tier.price.0,
        });
        Self {
            name: pool.name.clone(),
            categories: pool
                .categories
                .iter()
                .map(|one| one.as_str().to_owned())
                .collect(),
            allowance_units: pool.allowance_units,
            policy: pool.policy.as_str().to_owned(),
            overage_cap_units: cap_units,
            overage_cap_micros: cap_money.map(|money| money.0),
            tiers: tiers.collect(),
        }
    }
}

impl TryFrom<&PoolShape> for Pool {
    type Error = String;

    /// Takes a pool's form; says which value cannot be taken.
    fn try_from(shape: &PoolShape) -> Result<Self, Self::Error> {
        let categories = shape.categories.iter().map(|name| name.parse::<Category>());
        let categories = categories
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let cap_money = shape.overage_cap_micros.map(Micros);
        let policy = Policy::from_parts(&shape.policy, shape.overage_cap_units, cap_money);
        Ok(Self {
            name: shape.name.clone(),
            categories,
            allowance_units: shape.allowance_units,
            policy: policy.ok_or("policy: hard, overage or soft, with caps only for overage")?,
            tiers: shape
                .tiers
                .iter()
                .map(|tier| Tier {
                    up_to: tier.up_to,
                    price: Micros(tier.price_micros),
                })
                .collect(),
        })
    }
}

impl StoredPlan {
    /// Reads a row of `plans`.
    pub(super) fn read(row: &Row) -> Result<Self, StorageError> {
        let rate: Option<i32> = row.try_get("messages_per_second")?;
        let thresholds: Vec<i16> = row.try_get("thresholds")?;
        let thresholds = thresholds.into_iter().map(u8::try_from).collect::<Result<_, _>>();
        let anchor_day: i16 = row.try_get("anchor_day")?;
        Ok(Self {
            code: row.try_get("code")?,
            version: row.try_get("version")?,
            name: row.try_get("name")?,
            published_at: row.try_get("published_at")?,
            plan: Plan {
                id: PlanId(row.try_get("id")?),
                currency: Currency::from_code(row.try_get("currency")?).map_err(StorageError::nonsense)?,
                fee: Minor(row.try_get("fee_minor")?),
                pools: pools_of(row)?,
                thresholds: thresholds.map_err(StorageError::nonsense)?,
                anchor_day: i8::try_from(anchor_day).map_err(StorageError::nonsense)?,
                messages_per_second: rate
                    .map(u32::try_from)
                    .transpose()
                    .map_err(StorageError::nonsense)?,
                rating_version: row.try_get("rating_version")?,
            },
        })
    }
}

/// The pools as stored, or the one pool that the older columns describe.
fn pools_of(row: &Row) -> Result<Vec<Pool>, StorageError> {
    if let Some(stored) = row.try_get::<_, Option<serde_json::Value>>("pools")? {
        let shapes: Vec<PoolShape> = serde_json::from_value(stored).map_err(StorageError::nonsense)?;
        let pools = shapes.iter().map(Pool::try_from).collect::<Result<_, _>>();
        return pools.map_err(StorageError::nonsense);
    }
    let cap_units = row.try_get("overage_cap_units")?;
    let policy = Policy::from_parts(row.try_get("policy")?, cap_units, None);
    Ok(vec![Pool {
        name: ONLY_POOL.to_owned(),
        categories: Category::ALL.to_vec(),
        allowance_units: row.try_get("allowance_units")?,
        policy: policy.ok_or_else(|| StorageError::nonsense("a plan's policy"))?,
        tiers: vec![Tier {
            up_to: None,
            price: Micros(row.try_get("overage_price_micros")?),
        }],
    }])
}

/// Publishes the next version of a plan. Two at once get two versions.
///
/// # Errors
/// What the database says.
pub async fn publish(transaction: &mut Transaction, new: &NewPlan<'_>) -> Result<StoredPlan, StorageError> {
    transaction
        .execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
            &[&new.code],
        )
        .await?;
    let plan = new.plan;
    let shapes: Vec<PoolShape> = plan.pools.iter().map(PoolShape::from).collect();
    let pools = serde_json::to_value(&shapes).map_err(StorageError::nonsense)?;
    // The columns from before there were pools say what they can: reports read them.
    let first = shapes.first().filter(|_| shapes.len() == 1);
    let policy = first.map_or("soft", |pool| pool.policy.as_str());
    let cap_units = first.and_then(|pool| pool.overage_cap_units);
    let price = shapes.iter().find_map(|pool| pool.tiers.first());
    let thresholds: Vec<i16> = plan
        .thresholds
        .iter()
        .map(|percent| i16::from(*percent))
        .collect();
    let rate = plan.messages_per_second.map(i32::try_from).transpose();
    let row = transaction
        .query_one(
            "INSERT INTO plans (id, code, version, name, currency, currency_exponent, fee_minor, allowance_units, policy,
                overage_cap_units, overage_price_micros, messages_per_second, pools, thresholds, anchor_day)
             SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
             FROM plans WHERE code = $2
             RETURNING *",
            &[
                &plan.id.0,
                &new.code,
                &new.name,
                &plan.currency.code,
                &i16::from(plan.currency.exponent),
                &plan.fee.0,
                &plan.allowance_units(),
                &policy,
                &cap_units,
                &price.map_or(0, |tier| tier.price_micros),
                &rate.map_err(StorageError::nonsense)?,
                &pools,
                &thresholds,
                &i16::from(plan.anchor_day),
            ],
        )
        .await?;
    StoredPlan::read(&row)
}

/// Lists versions, newest first, those older than `before`.
///
/// # Errors
/// What the database says.
pub async fn list(
    connection: &mut Connection,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<StoredPlan>, StorageError> {
    let before = before.unwrap_or(Uuid::max());
    let rows = connection
        .query(
            "SELECT * FROM plans WHERE id < $1 ORDER BY id DESC LIMIT $2",
            &[&before, &most],
        )
        .await?;
    rows.iter().map(StoredPlan::read).collect()
}

/// Finds the newest version of a plan.
///
/// # Errors
/// What the database says.
pub async fn newest(connection: &mut Connection, code: &str) -> Result<Option<StoredPlan>, StorageError> {
    let row = connection
        .query_opt(
            "SELECT * FROM plans WHERE code = $1 ORDER BY version DESC LIMIT 1",
            &[&code],
        )
        .await?;
    row.as_ref().map(StoredPlan::read).transpose()
}

/// Versions remembered at most; beyond it all are forgotten and read again.
const REMEMBERED_MOST: usize = 10_000;
/// Versions that were read. A published version never changes, so they are remembered as long as the process lives.
static REMEMBERED: LazyLock<Mutex<HashMap<PlanId, Arc<StoredPlan>>>> = LazyLock::new(Mutex::default);

/// Plans by their ids.
pub type Plans = HashMap<PlanId, Arc<StoredPlan>>;

/// Gives versions by their ids, reading those that are not known yet.
///
/// # Errors
/// What the database says; also when one of them does not exist.
pub async fn by_id(
    connection: &mut Connection,
    ids: impl IntoIterator<Item = PlanId>,
) -> Result<Plans, StorageError> {
    let (mut found, mut missing) = (Plans::new(), Vec::new());
    {
        let known = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            match known.get(&id) {
                Some(plan) => drop(found.insert(id, Arc::clone(plan))),
                None => missing.push(id.0),
            }
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let rows = connection
        .query("SELECT * FROM plans WHERE id = ANY($1)", &[&missing])
        .await?;
    for row in &rows {
        let plan = Arc::new(StoredPlan::read(row)?);
        found.insert(plan.plan.id, plan);
    }
    if missing.iter().any(|id| !found.contains_key(&PlanId(*id))) {
        return Err(StorageError::nonsense("a plan that does not exist"));
    }
    let mut known = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() + missing.len() > REMEMBERED_MOST {
        known.clear();
    }
    known.extend(found.iter().map(|(id, plan)| (*id, Arc::clone(plan))));
    Ok(found)
}

/// Puts a tenant on a plan from a moment on.
///
/// # Errors
/// What the database says; `Dangling` when there is no such tenant.
pub async fn assign(
    connection: &mut Connection,
    tenant: TenantId,
    plan: PlanId,
    from: Timestamp,
    timing: &str,
) -> Result<(), StorageError> {
    connection
        .execute(
            "INSERT INTO plan_assignments (tenant_id, effective_from, plan_id, timing) VALUES ($1, $2, $3, $4)",
            &[&tenant.0, &from, &plan.0, &timing],
        )
        .await?;
    Ok(())
}

/// Reads all that a tenant was ever put on.
///
/// # Errors
/// What the database says.
pub async fn assignments(connection: &mut Connection, tenant: TenantId) -> Result<Assignments, StorageError> {
    let rows = connection
        .query(
            "SELECT plan_id, effective_from, created_at FROM plan_assignments WHERE tenant_id = $1",
            &[&tenant.0],
        )
        .await?;
    let all = rows.iter().map(|row| {
        Ok(Assignment {
            plan: PlanId(row.try_get(0)?),
            effective_from: row.try_get(1)?,
            created_at: row.try_get(2)?,
        })
    });
    Ok(Assignments::new(all.collect::<Result<_, StorageError>>()?))
}
