//! How many recipients of a campaign are in each state: one row for each kind of writer, summed on reading.

use domain::counts::Counts;
use domain::ids::{CampaignId, TenantId};
use domain::message::MessageState;
use tokio_postgres::Row;

use super::{StorageError, Transaction};

/// Who writes counts. Each kind has a row of its own, so that they do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountsWriter {
    /// Uploads, cancellations, replays.
    Api,
    /// Planned to queued and back.
    Planner,
    /// Everything from the claim on.
    Committer,
}

impl CountsWriter {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Planner => "planner",
            Self::Committer => "committer",
        }
    }
}

/// Adds changes to a writer's row, making the row if it is the first change.
///
/// # Errors
/// What the database says.
pub async fn add(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    writer: CountsWriter,
    changes: &Counts,
) -> Result<(), StorageError> {
    if changes.is_zero() {
        return Ok(());
    }
    let values: Vec<i64> = changes.iter().map(|(_, change)| change).collect();
    transaction
        .execute(
            "INSERT INTO campaign_counts AS c (campaign_id, writer, tenant_id, planned, queued, sending, accepted, sent,
                 delivered, read, failed, unknown, dead, cancelled, suppressed)
             SELECT $1, $2, $3, v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12]
             FROM (SELECT $4::bigint[] AS v) AS given
             ON CONFLICT (campaign_id, writer) DO UPDATE SET
                 planned = c.planned + excluded.planned, queued = c.queued + excluded.queued,
                 sending = c.sending + excluded.sending, accepted = c.accepted + excluded.accepted,
                 sent = c.sent + excluded.sent, delivered = c.delivered + excluded.delivered,
                 read = c.read + excluded.read, failed = c.failed + excluded.failed,
                 unknown = c.unknown + excluded.unknown, dead = c.dead + excluded.dead,
                 cancelled = c.cancelled + excluded.cancelled, suppressed = c.suppressed + excluded.suppressed",
            &[&campaign.0, &writer.as_str(), &tenant.0, &values],
        )
        .await?;
    Ok(())
}

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
