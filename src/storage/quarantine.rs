//! Quarantines of tenants, as their rows say: entered by the owner whose actors of the tenant kept failing, respected by every
//! owner after it, ended by an operator or by time.

use std::time::Duration;

use actors::ports::{Answer, Quarantine, QuarantineRow, QuarantineWish, Unavailable};
use domain::campaign::{CampaignState, PauseReason, Standing};
use domain::ids::TenantId;
use domain::partition::Partition;
use domain::quarantine::{lasts, number};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::campaign_events::Actor;
use super::{Connection, Database, StorageError, Transaction, standings};

/// Quarantined tenants that a node reads at most; beyond it something else is broken.
const READ_MOST: i64 = 10_000;

const RUNNING: Standing = Standing {
    state: CampaignState::Running,
    reason: None,
};
const LIST: &str = "SELECT id, name, quarantined_at, quarantine_reason, quarantine_error, quarantined_until,
        coalesce(quarantined_until <= now(), true) AS is_over
    FROM tenants WHERE quarantined_at IS NOT NULL AND ($1::uuid IS NULL OR id < $1) ORDER BY id DESC LIMIT $2";

/// A tenant in quarantine.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// Which.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// What kept failing.
    pub reason: String,
    /// What it said last.
    pub error: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is released by itself.
    pub until: Timestamp,
    /// Whether that time has come.
    pub is_over: bool,
}

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It goes on, with so many campaigns that the quarantine had paused.
    Now {
        /// How many campaigns run again.
        campaigns: u64,
    },
    /// It was not in quarantine.
    NotThere,
    /// There is no such tenant.
    Unknown,
}

/// The quarantines of all tenants.
#[derive(Clone)]
pub struct Quarantines {
    /// Sees all tenants.
    pub database: Database,
    /// How many partitions there are.
    pub partitions: u16,
    /// How long the first quarantine lasts.
    pub first: Duration,
}

impl Quarantines {
    async fn try_enter(&self, wish: &QuarantineWish) -> Result<Option<QuarantineRow>, StorageError> {
        let mut transaction = self.database.begin().await?;
        // Under the lock that a takeover needs: either it comes later and finds the row, or it came before and decides.
        let mine = transaction
            .query_opt(
                "SELECT 1 FROM billing_head WHERE tenant_id = $1 AND epoch <= $2 FOR UPDATE",
                &[&wish.tenant.0, &wish.epoch.0],
            )
            .await?;
        if mine.is_none() {
            return Ok(None);
        }
        self.write(&mut transaction, wish).await?;
        let row = transaction
            .query_one(
                "SELECT id, name, quarantined_at, quarantine_reason, quarantine_error, quarantined_until, false AS is_over
                 FROM tenants WHERE id = $1",
                &[&wish.tenant.0],
            )
            .await?;
        let entered = read(&row)?;
        transaction.commit().await?;
        Ok(Some(self.row(entered)))
    }

    /// Writes the row and pauses the campaigns, unless the tenant is in quarantine already.
    async fn write(&self, transaction: &mut Transaction, wish: &QuarantineWish) -> Result<(), StorageError> {
        let row = transaction
            .query_opt(
                "SELECT quarantine_number, extract(epoch FROM now() - quarantine_released_at)::float8
                 FROM tenants WHERE id = $1 AND quarantined_at IS NULL FOR UPDATE",
                &[&wish.tenant.0],
            )
            .await?;
        let Some(row) = row else { return Ok(()) };
        let before = u32::try_from(row.try_get::<_, i32>(0)?).map_err(StorageError::nonsense)?;
        let served_for: Option<f64> = row.try_get(1)?;
        let served_for = served_for.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let number = number(before, served_for);
        let seconds = lasts(self.first, number).as_secs_f64();
        transaction
            .execute(
                "UPDATE tenants SET quarantined_at = now(), quarantine_reason = $2, quarantine_error = $3,
                     quarantine_number = $4, quarantined_until = now() + $5 * interval '1 second' WHERE id = $1",
                &[
                    &wish.tenant.0,
                    &wish.reason,
                    &wish.error,
                    &i32::try_from(number).unwrap_or(i32::MAX),
                    &seconds,
                ],
            )
            .await?;
        let running = campaigns_of(transaction, wish.tenant, RUNNING).await?;
        let evidence = format!("{}: {}", wish.reason, wish.error);
        let why = PauseReason::Quarantined;
        standings::pause(transaction, &running, why, Actor::Worker, &evidence).await?;
        Ok(())
    }

    async fn try_look(&self) -> Result<Vec<QuarantineRow>, StorageError> {
        let all = list(&mut self.database.get().await?, None, READ_MOST).await?;
        let mut left = Vec::with_capacity(all.len());
        for found in all {
            if found.is_over {
                release(
                    &self.database,
                    found.tenant,
                    Actor::Worker,
                    "the quarantine's time is over",
                )
                .await?;
                tracing::info!(tenant.id = %found.tenant, "the quarantine's time is over: the tenant is tried again");
            } else {
                left.push(self.row(found));
            }
        }
        Ok(left)
    }

    fn row(&self, found: Quarantined) -> QuarantineRow {
        QuarantineRow {
            tenant: found.tenant,
            partition: Partition::of(found.tenant, self.partitions),
            reason: found.reason,
            error: found.error,
            since: found.since,
            until: found.until,
        }
    }
}

impl Quarantine for Quarantines {
    fn enter(&self, wish: QuarantineWish) -> Answer<Result<Option<QuarantineRow>, Unavailable>> {
        let quarantines = self.clone();
        Box::pin(async move { Ok(quarantines.try_enter(&wish).await?) })
    }

    fn look(&self) -> Answer<Result<Vec<QuarantineRow>, Unavailable>> {
        let quarantines = self.clone();
        Box::pin(async move { Ok(quarantines.try_look().await?) })
    }
}

/// Gives the tenant's campaigns that stand there, locked.
async fn campaigns_of(
    transaction: &mut Transaction,
    tenant: TenantId,
    standing: Standing,
) -> Result<Vec<Uuid>, StorageError> {
    let rows = transaction
        .query(
            "SELECT id FROM campaigns WHERE tenant_id = $1 AND state = $2 AND reason IS NOT DISTINCT FROM $3
             ORDER BY id FOR UPDATE",
            &[
                &tenant.0,
                &standing.state.as_str(),
                &standing.reason.map(PauseReason::as_str),
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Ends a tenant's quarantine, as an operator asks.
///
/// # Errors
/// What the database says.
pub async fn release_now(database: &Database, tenant: TenantId) -> Result<Released, StorageError> {
    release(
        database,
        tenant,
        Actor::Operator,
        "an operator released the tenant",
    )
    .await
}

/// Ends a tenant's quarantine; the campaigns that it paused run again, those paused for another reason do not.
async fn release(
    database: &Database,
    tenant: TenantId,
    actor: Actor,
    evidence: &str,
) -> Result<Released, StorageError> {
    let mut transaction = database.begin().await?;
    let row = transaction
        .query_opt(
            "SELECT quarantined_at IS NOT NULL FROM tenants WHERE id = $1 FOR UPDATE",
            &[&tenant.0],
        )
        .await?;
    let Some(row) = row else {
        return Ok(Released::Unknown);
    };
    if !row.try_get::<_, bool>(0)? {
        return Ok(Released::NotThere);
    }
    transaction
        .execute(
            "UPDATE tenants SET quarantined_at = NULL, quarantine_reason = NULL, quarantine_error = NULL,
                 quarantined_until = NULL, quarantine_released_at = now() WHERE id = $1",
            &[&tenant.0],
        )
        .await?;
    let over = PauseReason::Quarantined;
    let paused = Standing {
        state: CampaignState::Paused,
        reason: Some(over),
    };
    let paused = campaigns_of(&mut transaction, tenant, paused).await?;
    let campaigns = standings::resume(&mut transaction, &paused, over, actor, evidence).await?;
    transaction.commit().await?;
    Ok(Released::Now { campaigns })
}

/// Lists tenants in quarantine, newest first, those older than `before`.
///
/// # Errors
/// What the database says.
pub async fn list(
    connection: &mut Connection,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<Quarantined>, StorageError> {
    let rows = connection.query(LIST, &[&before, &most]).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Quarantined, StorageError> {
    let text = |column| {
        row.try_get::<_, Option<String>>(column)
            .map(Option::unwrap_or_default)
    };
    let since: Timestamp = row.try_get("quarantined_at")?;
    Ok(Quarantined {
        tenant: TenantId(row.try_get("id")?),
        name: row.try_get("name")?,
        reason: text("quarantine_reason")?,
        error: text("quarantine_error")?,
        since,
        // Without an end, somebody set the row by hand: it is over at the next look.
        until: row
            .try_get::<_, Option<Timestamp>>("quarantined_until")?
            .unwrap_or(since),
        is_over: row.try_get("is_over")?,
    })
}
