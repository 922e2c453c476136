//! How many recipients of a campaign are in each state: the rows of all writers, summed on reading.

use domain::counts::Counts;
use domain::ids::{CampaignId, TenantId};
use domain::message::MessageState;
use tokio_postgres::Row;

use super::{StorageError, Transaction};

/// Reads the counts of one campaign.
///
/// # Errors
/// What the database says.
pub async fn of_campaign(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Counts, StorageError> {
    let row = transaction
        .query_one(
            "SELECT array[coalesce(sum(planned), 0), coalesce(sum(queued), 0), coalesce(sum(sending), 0),
                 coalesce(sum(accepted), 0), coalesce(sum(sent), 0), coalesce(sum(delivered), 0), coalesce(sum(read), 0),
                 coalesce(sum(failed), 0), coalesce(sum(unknown), 0), coalesce(sum(dead), 0),
                 coalesce(sum(cancelled), 0), coalesce(sum(suppressed), 0)]::bigint[] AS counts
             FROM campaign_counts WHERE campaign_id = $1 AND tenant_id = $2",
            &[&campaign.0, &tenant.0],
        )
        .await?;
    from_row(&row)
}

/// Reads the column `counts`: an array with a number for each state, in the order of [`MessageState::ALL`].
pub(super) fn from_row(row: &Row) -> Result<Counts, StorageError> {
    let numbers: Vec<i64> = row.try_get("counts")?;
    let mut counts = Counts::default();
    if numbers.len() != MessageState::ALL.len() {
        return Err(StorageError::nonsense("counts without one number for each state"));
    }
    for (&state, number) in MessageState::ALL.iter().zip(numbers) {
        counts[state] = number;
    }
    Ok(counts)
}
