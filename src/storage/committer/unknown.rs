//! One transaction that settles messages which stayed unknown, as their tenant's policy or its people say. Decided by the owner:
//! under the lock of the tenant's head, and only while its epoch is in force.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use actors::ports::SettledUnknown;
use domain::campaign::Standing;
use domain::ids::{AttemptId, CampaignId, EventId, MessageId, TenantId};
use domain::message::MessageState;
use domain::partition::Epoch;
use domain::unknown::{Doubt, SettledBy, UnknownPolicy, settle};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::storage::campaigns::{self, Moved};
use crate::storage::count_changes::{CountChanges, Writer};
use crate::storage::named::named;
use crate::storage::{Database, StorageError, Transaction};

/// Messages that one transaction settles.
const SETTLED_AT_ONCE: i64 = 500;

/// Which messages are due: those that somebody spoke about, and those that the policy's time has come for; nothing of a cancelled
/// campaign is sent again.
macro_rules! due {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            "m.tenant_id = t.id AND m.unknown_since IS NOT NULL AND (m.unknown_wish IS NOT NULL OR (t.unknown_policy <> 'keep'
                AND m.unknown_since <= now() - t.unknown_after_seconds * interval '1 second'))
             AND NOT EXISTS (SELECT FROM campaigns c WHERE c.id = m.campaign_id AND c.state = 'cancelled'
                AND coalesce(m.unknown_wish, t.unknown_policy) = 'resend')",
            $after
        )
    };
}

const ANYTHING_DUE: &str = due!(
    "SELECT EXISTS (SELECT FROM tenants t JOIN messages m ON ",
    " WHERE t.id = $1)"
);
const TO_REOPEN: &str = due!(
    "SELECT DISTINCT campaign_id FROM (SELECT m.campaign_id FROM tenants t JOIN messages m ON ",
    " WHERE t.id = $1 AND m.campaign_id IS NOT NULL AND coalesce(m.unknown_wish, t.unknown_policy) = 'resend'
        ORDER BY m.id LIMIT $2) due ORDER BY campaign_id"
);
const DUE: &str = due!(
    "SELECT m.id, m.attempt_id, m.campaign_id, m.unknown_wish, t.unknown_policy, t.unknown_after_seconds,
        extract(epoch FROM now() - m.unknown_since)::float8 AS unknown_for
     FROM tenants t JOIN messages m ON ",
    " WHERE t.id = $1 ORDER BY m.id LIMIT $2 FOR UPDATE OF m SKIP LOCKED"
);
const RESEND: &str =
    "UPDATE messages SET state = 'planned', due_at = now(), unknown_since = NULL, unknown_wish = NULL,
        error_code = NULL, error_reason = NULL, updated_at = now() WHERE tenant_id = $1 AND id = ANY($2)";
const FAIL: &str = "UPDATE messages SET state = 'failed', unknown_since = NULL, unknown_wish = NULL, updated_at = now(),
        error_reason = 'given up: it was never known whether Meta took the message' WHERE tenant_id = $1 AND id = ANY($2)";
const EVIDENCE: &str = "INSERT INTO events (tenant_id, id, source, status, attempt_id, occurred_at, raw)
    SELECT $1, w.id, w.source, 'failed', w.attempt_id, now(), json_build_object('settled_by', w.settled_by)
    FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[]) AS w (id, source, attempt_id, settled_by)
    ON CONFLICT DO NOTHING";

/// A message that stayed unknown.
struct Unknown {
    message: MessageId,
    attempt: AttemptId,
    campaign: Option<CampaignId>,
    doubt: Doubt,
}

/// Settles what is due; does nothing when another owner has taken over.
pub(super) async fn settle_due(
    database: &Database,
    tenant: TenantId,
    epoch: Epoch,
) -> Result<SettledUnknown, StorageError> {
    if !anything_due(database, tenant).await? {
        return Ok(SettledUnknown::default());
    }
    let mut transaction = database.begin().await?;
    let head = transaction
        .query_opt(
            "SELECT epoch FROM billing_head WHERE tenant_id = $1 FOR UPDATE",
            &[&tenant.0],
        )
        .await?;
    if head.is_none_or(|row| row.get::<_, i64>(0) != epoch.0) {
        transaction.rollback().await?;
        return Ok(SettledUnknown::default());
    }
    let reopened = reopen(&mut transaction, tenant).await?;
    let found = due(&mut transaction, tenant).await?;
    let more = i64::try_from(found.len()).unwrap_or(i64::MAX) >= SETTLED_AT_ONCE;
    let settled = write(&mut transaction, tenant, &found, &reopened).await?;
    transaction.commit().await?;
    Ok(SettledUnknown { more, ..settled })
}

async fn anything_due(database: &Database, tenant: TenantId) -> Result<bool, StorageError> {
    let mut connection = database.get().await?;
    let row = connection.query_one(ANYTHING_DUE, &[&tenant.0]).await?;
    Ok(row.try_get(0)?)
}

/// Makes finished campaigns run again whose messages are to be sent again. Campaigns are locked before their messages, in the
/// order of their ids, as everywhere.
async fn reopen(
    transaction: &mut Transaction,
    tenant: TenantId,
) -> Result<HashSet<CampaignId>, StorageError> {
    let rows = transaction
        .query(TO_REOPEN, &[&tenant.0, &SETTLED_AT_ONCE])
        .await?;
    let mut reopened = HashSet::new();
    for row in rows {
        let campaign = CampaignId(row.try_get(0)?);
        let moved = campaigns::change(transaction, tenant, campaign, Standing::reopen).await?;
        if matches!(moved, Moved::To { .. }) {
            reopened.insert(campaign);
        }
    }
    Ok(reopened)
}

async fn due(transaction: &mut Transaction, tenant: TenantId) -> Result<Vec<Unknown>, StorageError> {
    let rows = transaction.query(DUE, &[&tenant.0, &SETTLED_AT_ONCE]).await?;
    rows.iter().map(Unknown::read).collect()
}

impl Unknown {
    fn read(row: &Row) -> Result<Self, StorageError> {
        let wish: Option<&str> = row.try_get("unknown_wish")?;
        let after: Option<i32> = row.try_get("unknown_after_seconds")?;
        let unknown_for: f64 = row.try_get("unknown_for")?;
        Ok(Self {
            message: MessageId(row.try_get("id")?),
            attempt: AttemptId(row.try_get("attempt_id")?),
            campaign: row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId),
            doubt: Doubt {
                policy: named(row, "unknown_policy")?,
                policy_after: after.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
                by_hand: wish
                    .map(str::parse::<UnknownPolicy>)
                    .transpose()
                    .map_err(StorageError::nonsense)?,
                unknown_for: Duration::try_from_secs_f64(unknown_for).unwrap_or_default(),
                is_cancelled: false,
            },
        })
    }

    /// Decides; a campaign that cannot run again counts as cancelled.
    fn settled_by(&self, reopened: &HashSet<CampaignId>) -> Option<SettledBy> {
        let is_cancelled = self
            .campaign
            .is_some_and(|campaign| !reopened.contains(&campaign));
        settle(Doubt {
            is_cancelled,
            ..self.doubt
        })
    }
}

async fn write(
    transaction: &mut Transaction,
    tenant: TenantId,
    found: &[Unknown],
    reopened: &HashSet<CampaignId>,
) -> Result<SettledUnknown, StorageError> {
    let (mut events, mut attempts, mut by) = (Vec::new(), Vec::new(), Vec::new());
    let (mut resent, mut failed) = (Vec::new(), Vec::new());
    let mut counts = CountChanges::default();
    for unknown in found {
        let Some(settled_by) = unknown.settled_by(reopened) else {
            continue;
        };
        let next = if settled_by.resends() {
            resent.push(unknown.message.0);
            MessageState::Planned
        } else {
            failed.push(unknown.message.0);
            MessageState::Failed
        };
        counts.moved(tenant, unknown.campaign, MessageState::Unknown, next);
        events.push(Uuid::now_v7());
        attempts.push(unknown.attempt.0);
        by.push(settled_by);
    }
    if events.is_empty() {
        return Ok(SettledUnknown::default());
    }
    let sources: Vec<&str> = by.iter().map(|by| by.source()).collect();
    let names: Vec<&str> = by.iter().map(|by| by.as_str()).collect();
    transaction.execute(RESEND, &[&tenant.0, &resent]).await?;
    transaction.execute(FAIL, &[&tenant.0, &failed]).await?;
    transaction
        .execute(EVIDENCE, &[&tenant.0, &events, &sources, &attempts, &names])
        .await?;
    counts.write(transaction, Writer::Committer).await?;
    let mut sums: BTreeMap<SettledBy, usize> = BTreeMap::new();
    by.iter().for_each(|by| *sums.entry(*by).or_default() += 1);
    Ok(SettledUnknown {
        events: events.into_iter().map(EventId).collect(),
        by: sums.into_iter().collect(),
        more: false,
    })
}
