//! What must be known to say what a campaign would cost and when it would end.

use domain::ids::{CampaignId, PlanId, TenantId};
use domain::money::{Currency, Micros, Minor};
use domain::plan::{Plan, Policy};
use tokio_postgres::Row;

use super::{StorageError, Transaction};

/// The plan in force and what is used of it.
#[derive(Clone, Debug)]
pub struct PlanUse {
    /// The plan.
    pub plan: Plan,
    /// Units reserved in the present period.
    pub held: i64,
    /// Units used in the present period.
    pub captured: i64,
}

/// What a campaign leaves through.
#[derive(Clone, Debug)]
pub struct Route {
    /// The number's rate.
    pub messages_per_second: u32,
    /// What Meta last said of the template.
    pub template_status: Option<String>,
}

/// Reads the plan in force; none while the tenant has none.
///
/// # Errors
/// What the database says.
pub async fn plan_use(
    transaction: &mut Transaction,
    tenant: TenantId,
) -> Result<Option<PlanUse>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT p.id, p.currency, p.fee_minor, p.allowance_units, p.policy, p.overage_cap_units, p.overage_price_micros,
                 p.messages_per_second, p.rating_version, coalesce(u.held, 0)::bigint AS held,
                 coalesce(u.captured, 0)::bigint AS captured
             FROM (SELECT plan_id FROM plan_assignments WHERE tenant_id = $1 AND effective_from <= now()
                 ORDER BY effective_from DESC, created_at DESC LIMIT 1) AS a
             JOIN plans p ON p.id = a.plan_id
             LEFT JOIN LATERAL (
                 SELECT sum(c.held) AS held, sum(c.captured) AS captured FROM billing_periods b
                 JOIN pool_counters c ON c.tenant_id = b.tenant_id AND c.period = b.number
                 WHERE b.tenant_id = $1 AND b.starts_at <= now() AND b.ends_at > now()) AS u ON true",
            &[&tenant.0],
        )
        .await?;
    row.as_ref().map(plan_use_of).transpose()
}

fn plan_use_of(row: &Row) -> Result<PlanUse, StorageError> {
    let policy = Policy::from_parts(row.try_get("policy")?, row.try_get("overage_cap_units")?)
        .ok_or_else(|| StorageError::nonsense("a plan's policy"))?;
    let rate = row.try_get::<_, Option<i32>>("messages_per_second")?;
    Ok(PlanUse {
        plan: Plan {
            id: PlanId(row.try_get("id")?),
            currency: Currency::from_code(row.try_get("currency")?).map_err(StorageError::nonsense)?,
            fee: Minor(row.try_get("fee_minor")?),
            allowance_units: row.try_get("allowance_units")?,
            policy,
            overage_price: Micros(row.try_get("overage_price_micros")?),
            messages_per_second: rate
                .map(u32::try_from)
                .transpose()
                .map_err(StorageError::nonsense)?,
            rating_version: row.try_get("rating_version")?,
        },
        held: row.try_get("held")?,
        captured: row.try_get("captured")?,
    })
}

/// Reads what a campaign leaves through; none when there is no such campaign.
///
/// # Errors
/// What the database says.
pub async fn route(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Option<Route>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT s.messages_per_second, t.status FROM campaigns c JOIN senders s ON s.id = c.sender_id
             LEFT JOIN templates t ON t.tenant_id = c.tenant_id AND t.waba_id = s.waba_id AND t.name = c.template ->> 'name'
                 AND t.language = coalesce(c.template #>> '{language,code}', c.template ->> 'language')
             WHERE c.id = $1 AND c.tenant_id = $2",
            &[&campaign.0, &tenant.0],
        )
        .await?;
    row.map(|row| {
        let rate: i32 = row.try_get("messages_per_second")?;
        Ok(Route {
            messages_per_second: u32::try_from(rate).map_err(StorageError::nonsense)?,
            template_status: row.try_get("status")?,
        })
    })
    .transpose()
}
