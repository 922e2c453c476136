//! Unknown messages beyond their owner: what a tenant's people ask to be done about them, and which tenants' owners are to be woken.

use domain::ids::{CampaignId, MessageId, TenantId};
use domain::unknown::UnknownPolicy;
use uuid::Uuid;

use super::{Database, StorageError, Transaction};

/// Tenants that one round wakes.
const WOKEN_AT_ONCE: i64 = 1_000;

/// Which unknown messages are meant; all of the tenant's if nothing is said.
#[derive(Clone, Debug, Default)]
pub struct UnknownFilter {
    /// Of this campaign only.
    pub campaign: Option<CampaignId>,
    /// These only.
    pub ids: Option<Vec<MessageId>>,
}

/// Notes what is to be done about unknown messages; their owner does it. Tells how many there are.
///
/// # Errors
/// What the database says.
pub async fn wish(
    transaction: &mut Transaction,
    tenant: TenantId,
    filter: &UnknownFilter,
    wish: UnknownPolicy,
) -> Result<u64, StorageError> {
    let ids: Option<Vec<Uuid>> = filter.ids.as_ref().map(|ids| ids.iter().map(|id| id.0).collect());
    transaction
        .execute(
            "UPDATE messages SET unknown_wish = $4 WHERE tenant_id = $1 AND unknown_since IS NOT NULL
                AND ($2::uuid IS NULL OR campaign_id = $2) AND ($3::uuid[] IS NULL OR id = ANY($3))",
            &[&tenant.0, &filter.campaign.map(Uuid::from), &ids, &wish.as_str()],
        )
        .await
}

/// Lists tenants whose owner has something to do and may sleep: attempts past their deadline, unknown messages whose settlement is
/// due.
///
/// # Errors
/// What the database says.
pub async fn to_wake(database: &Database) -> Result<Vec<TenantId>, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "SELECT DISTINCT tenant_id FROM messages WHERE deadline IS NOT NULL AND deadline < now()
             UNION
             SELECT DISTINCT m.tenant_id FROM messages m JOIN tenants t ON t.id = m.tenant_id
             WHERE m.unknown_since IS NOT NULL AND (m.unknown_wish IS NOT NULL OR (t.unknown_policy <> 'keep'
                AND m.unknown_since <= now() - t.unknown_after_seconds * interval '1 second'))
             LIMIT $1",
            &[&WOKEN_AT_ONCE],
        )
        .await?;
    rows.iter().map(|row| Ok(TenantId(row.try_get(0)?))).collect()
}
