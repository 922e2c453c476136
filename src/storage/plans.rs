//! Published plans, and which tenant is on which from when.

use domain::ids::{PlanId, TenantId};
use domain::money::{Currency, Micros, Minor};
use domain::plan::{Plan, Policy};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Connection, StorageError, Transaction};

/// A published version.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the columns of the table plans")]
pub struct StoredPlan {
    pub id: PlanId,
    pub code: String,
    pub version: i32,
    pub name: String,
    pub currency: String,
    pub fee_minor: i64,
    pub allowance_units: i64,
    pub policy: String,
    pub overage_cap_units: Option<i64>,
    pub overage_price_micros: i64,
    pub messages_per_second: Option<i32>,
    pub rating_version: i16,
    pub published_at: Timestamp,
}

/// A version to publish.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the columns of the table plans")]
pub struct NewPlan<'a> {
    pub id: PlanId,
    pub code: &'a str,
    pub name: &'a str,
    pub currency: &'a Currency,
    pub fee_minor: i64,
    pub allowance_units: i64,
    pub policy: &'a str,
    pub overage_cap_units: Option<i64>,
    pub overage_price_micros: i64,
    pub messages_per_second: Option<i32>,
}

impl StoredPlan {
    /// Reads a row of `plans`.
    pub(super) fn read(row: &Row) -> Result<Self, StorageError> {
        Ok(Self {
            id: PlanId(row.try_get("id")?),
            code: row.try_get("code")?,
            version: row.try_get("version")?,
            name: row.try_get("name")?,
            currency: row.try_get("currency")?,
            fee_minor: row.try_get("fee_minor")?,
            allowance_units: row.try_get("allowance_units")?,
            policy: row.try_get("policy")?,
            overage_cap_units: row.try_get("overage_cap_units")?,
            overage_price_micros: row.try_get("overage_price_micros")?,
            messages_per_second: row.try_get("messages_per_second")?,
            rating_version: row.try_get("rating_version")?,
            published_at: row.try_get("published_at")?,
        })
    }

    /// Gives the plan as the rules know it.
    ///
    /// # Errors
    /// When the row makes no sense.
    pub fn plan(&self) -> Result<Plan, StorageError> {
        let policy = Policy::from_parts(&self.policy, self.overage_cap_units);
        let rate = self.messages_per_second.map(u32::try_from).transpose();
        Ok(Plan {
            id: self.id,
            currency: Currency::from_code(&self.currency).map_err(StorageError::nonsense)?,
            fee: Minor(self.fee_minor),
            allowance_units: self.allowance_units,
            policy: policy.ok_or_else(|| StorageError::nonsense("a plan's policy"))?,
            overage_price: Micros(self.overage_price_micros),
            messages_per_second: rate.map_err(StorageError::nonsense)?,
            rating_version: self.rating_version,
        })
    }
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
    let exponent = i16::from(new.currency.exponent);
    let row = transaction
        .query_one(
            "INSERT INTO plans (id, code, version, name, currency, currency_exponent, fee_minor, allowance_units, policy,
                overage_cap_units, overage_price_micros, messages_per_second)
             SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM plans WHERE code = $2
             RETURNING *",
            &[
                &new.id.0,
                &new.code,
                &new.name,
                &new.currency.code,
                &exponent,
                &new.fee_minor,
                &new.allowance_units,
                &new.policy,
                &new.overage_cap_units,
                &new.overage_price_micros,
                &new.messages_per_second,
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

/// Gives when the open period of a tenant ends; none before its first message, or when it has ended already.
///
/// # Errors
/// What the database says.
pub async fn open_period_end(
    connection: &mut Connection,
    tenant: TenantId,
) -> Result<Option<Timestamp>, StorageError> {
    let row = connection
        .query_opt(
            "SELECT ends_at FROM billing_periods WHERE tenant_id = $1 AND ends_at > now() ORDER BY number DESC LIMIT 1",
            &[&tenant.0],
        )
        .await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}
