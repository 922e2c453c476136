//! Canaries in the rows: begun with a launch, moved on by any planner, each step once and under the campaign's lock.

use std::time::Duration;

use domain::campaign::PauseReason;
use domain::canary::{Canary, CanaryState, OnSuccess, Step, Tally, next, sample_size};
use domain::counts::Counts;
use domain::ids::{CampaignId, TenantId};
use domain::message::MessageState;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::campaign_events::Actor;
use super::named::named;
use super::{Database, StorageError, Transaction, standings};

/// A canary as it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct NewCanary {
    /// How many percent of the campaign.
    pub percent: f64,
    /// How long outcomes are awaited after the last has left, in seconds.
    pub hold_seconds: i32,
    /// The share of failures that is still well, in percent.
    pub max_failure_percent: f64,
    /// What follows if it goes well.
    pub on_success: OnSuccess,
}

/// A canary as it stands.
#[derive(Clone, Copy, Debug)]
pub struct StoredCanary {
    /// What the rules look at.
    pub canary: Canary,
    /// As it was asked for.
    pub percent: f64,
    /// What follows if it goes well.
    pub on_success: OnSuccess,
    /// How many have an outcome.
    pub done: i64,
    /// How many of these failed.
    pub failed: i64,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
}

/// Gives a campaign that is being launched a canary, or takes it away.
///
/// # Errors
/// What the database says.
pub async fn set(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    new: Option<NewCanary>,
) -> Result<(), StorageError> {
    transaction
        .execute(
            "DELETE FROM campaign_canaries WHERE campaign_id = $1 AND tenant_id = $2",
            &[&campaign.0, &tenant.0],
        )
        .await?;
    let Some(new) = new else { return Ok(()) };
    transaction
        .execute(
            "INSERT INTO campaign_canaries (campaign_id, tenant_id, percent, hold_seconds, max_failure_percent, on_success)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                &campaign.0,
                &tenant.0,
                &new.percent,
                &new.hold_seconds,
                &new.max_failure_percent,
                &new.on_success.as_str(),
            ],
        )
        .await?;
    Ok(())
}

/// Reads a campaign's canary.
///
/// # Errors
/// What the database says.
pub async fn find(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Option<StoredCanary>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT * FROM campaign_canaries WHERE campaign_id = $1 AND tenant_id = $2",
            &[&campaign.0, &tenant.0],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<StoredCanary, StorageError> {
    let hold = u64::try_from(row.try_get::<_, i32>("hold_seconds")?).map_err(StorageError::nonsense)?;
    Ok(StoredCanary {
        canary: Canary {
            state: named(row, "state")?,
            size: row.try_get("size")?,
            hold: Duration::from_secs(hold),
            max_failure_percent: row.try_get("max_failure_percent")?,
            decides_at: row.try_get("decides_at")?,
        },
        percent: row.try_get("percent")?,
        on_success: named(row, "on_success")?,
        done: row.try_get("done")?,
        failed: row.try_get("failed")?,
        decided_at: row.try_get("decided_at")?,
    })
}

/// Moves the canaries of running campaigns on, each in a transaction of its own. Planners that look at the same one do not wait for
/// each other: one moves it.
///
/// # Errors
/// What the database says; what was moved until then stays moved.
pub async fn advance(database: &Database) -> Result<(), StorageError> {
    let open = database
        .get()
        .await?
        .query(
            "SELECT k.campaign_id FROM campaign_canaries k JOIN campaigns c ON c.id = k.campaign_id
             WHERE k.state IN ('choosing', 'sending', 'holding') AND c.state IN ('running', 'finished')",
            &[],
        )
        .await?;
    for row in &open {
        let mut transaction = database.begin().await?;
        advance_one(&mut transaction, row.try_get(0)?).await?;
        transaction.commit().await?;
    }
    Ok(())
}

async fn advance_one(transaction: &mut Transaction, campaign: Uuid) -> Result<(), StorageError> {
    let row = transaction
        .query_opt(
            "SELECT k.* FROM campaigns c JOIN campaign_canaries k ON k.campaign_id = c.id
             WHERE c.id = $1 AND c.state IN ('running', 'finished') AND k.state IN ('choosing', 'sending', 'holding')
             FOR UPDATE OF c, k SKIP LOCKED",
            &[&campaign],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    let stored = read(&row)?;
    if stored.canary.state == CanaryState::Choosing {
        return choose(
            transaction,
            TenantId(row.try_get("tenant_id")?),
            campaign,
            stored.percent,
        )
        .await;
    }
    let tally = tally(transaction, campaign).await?;
    let (state, decides_at) = match next(&stored.canary, &tally, Timestamp::now()) {
        Step::Wait => (stored.canary.state, stored.canary.decides_at),
        Step::Hold(at) => (CanaryState::Holding, Some(at)),
        Step::Pass => (CanaryState::Passed, stored.canary.decides_at),
        Step::Fail => (CanaryState::Failed, stored.canary.decides_at),
    };
    transaction
        .execute(
            "UPDATE campaign_canaries SET state = $2, done = $3, failed = $4, decides_at = $5,
                 decided_at = CASE WHEN $2 IN ('passed', 'failed') THEN now() END
             WHERE campaign_id = $1",
            &[
                &campaign,
                &state.as_str(),
                &tally.done(),
                &tally.failed,
                &decides_at,
            ],
        )
        .await?;
    let reason = match (state, stored.on_success) {
        (CanaryState::Failed, _) => PauseReason::CanaryFailed,
        (CanaryState::Passed, OnSuccess::Wait) => PauseReason::CanaryPassed,
        _ => return Ok(()),
    };
    let evidence = format!(
        "{} of {} canary messages failed, {} have an outcome",
        tally.failed,
        stored.canary.size,
        tally.done()
    );
    standings::pause(transaction, &[campaign], reason, Actor::Planner, &evidence).await?;
    Ok(())
}

/// Draws the members by a hash of their ids: a sample that does not depend on the order of the upload, and the same one if this
/// process dies and another draws again.
async fn choose(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: Uuid,
    percent: f64,
) -> Result<(), StorageError> {
    let row = transaction
        .query_one(
            "SELECT coalesce(sum(planned + queued + sending), 0)::bigint FROM campaign_counts WHERE campaign_id = $1",
            &[&campaign],
        )
        .await?;
    let size = sample_size(row.try_get(0)?, percent);
    let chosen = transaction
        .execute(
            "UPDATE messages SET is_canary = true WHERE tenant_id = $1 AND id IN (
                 SELECT id FROM messages WHERE tenant_id = $1 AND campaign_id = $2 AND due_at IS NOT NULL
                 ORDER BY md5(id::text) LIMIT $3)",
            &[&tenant.0, &campaign, &size],
        )
        .await?;
    let chosen = i64::try_from(chosen).map_err(StorageError::nonsense)?;
    transaction
        .execute(
            "UPDATE campaign_canaries SET state = 'sending', size = $2 WHERE campaign_id = $1",
            &[&campaign, &chosen],
        )
        .await?;
    Ok(())
}

async fn tally(transaction: &mut Transaction, campaign: Uuid) -> Result<Tally, StorageError> {
    let rows = transaction
        .query(
            "SELECT state, count(*) AS number FROM messages WHERE campaign_id = $1 AND is_canary GROUP BY state",
            &[&campaign],
        )
        .await?;
    let mut counts = Counts::default();
    for row in &rows {
        let state: MessageState = named(row, "state")?;
        counts[state] = row.try_get("number")?;
    }
    Ok(Tally::of(&counts))
}
