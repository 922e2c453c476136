//! What must be known to say what a campaign would cost and when it would end.

use domain::category::Category;
use domain::ids::{CampaignId, TenantId};

use super::{StorageError, Transaction};

/// What a campaign leaves through.
#[derive(Clone, Debug)]
pub struct Route {
    /// The number's rate.
    pub messages_per_second: u32,
    /// What Meta last said of the template.
    pub template_status: Option<String>,
    /// What its messages are billed as; none while it has none.
    pub category: Option<Category>,
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
            "SELECT s.messages_per_second, t.status, (SELECT m.category FROM messages m
                 WHERE m.tenant_id = c.tenant_id AND m.campaign_id = c.id LIMIT 1) AS category
             FROM campaigns c JOIN senders s ON s.id = c.sender_id
             LEFT JOIN templates t ON t.tenant_id = c.tenant_id AND t.waba_id = s.waba_id AND t.name = c.template ->> 'name'
                 AND t.language = coalesce(c.template #>> '{language,code}', c.template ->> 'language')
             WHERE c.id = $1 AND c.tenant_id = $2",
            &[&campaign.0, &tenant.0],
        )
        .await?;
    row.map(|row| {
        let rate: i32 = row.try_get("messages_per_second")?;
        let category: Option<&str> = row.try_get("category")?;
        Ok(Route {
            messages_per_second: u32::try_from(rate).map_err(StorageError::nonsense)?,
            template_status: row.try_get("status")?,
            category: category
                .map(str::parse)
                .transpose()
                .map_err(StorageError::nonsense)?,
        })
    })
    .transpose()
}
