//! Messages that used up their attempts: listed, replayed, purged.

use domain::ids::{CampaignId, MessageId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::messages::MessageView;
use super::refused::Refused;
use crate::storage::Database;
use crate::storage::dead_letters::{self, Burial, DeadFilter};

/// Messages that one request may name.
const MOST_IDS: usize = 10_000;

/// Which dead messages to replay; all of them if nothing is said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayBody {
    /// Of this campaign only.
    #[serde(default)]
    pub campaign_id: Option<Uuid>,
    /// These only.
    #[serde(default)]
    pub ids: Option<Vec<Uuid>>,
    /// Also those whose last error says that a repetition cannot help or may harm.
    #[serde(default)]
    pub force: bool,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Replayed {
    /// Messages that will be tried again.
    pub replayed: i64,
    /// Messages that stay dead: not safe to repeat, their campaign was cancelled, or no dead message of that id.
    pub skipped: i64,
}

/// Which dead messages to give up on. Something must be said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeBody {
    /// Of this campaign only.
    #[serde(default)]
    pub campaign_id: Option<Uuid>,
    /// These only.
    #[serde(default)]
    pub ids: Option<Vec<Uuid>>,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Purged {
    /// Messages that are `failed` now.
    pub purged: i64,
}

/// Lists dead messages, newest first, `most` of them older than `before`.
///
/// # Errors
/// What the database says.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    campaign: Option<CampaignId>,
    before: Option<MessageId>,
    most: i64,
) -> Result<Vec<MessageView>, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let found = dead_letters::list(&mut transaction, tenant, campaign, before, most).await?;
    transaction.commit().await?;
    Ok(found.into_iter().map(MessageView::from).collect())
}

/// Plans dead messages again.
///
/// # Errors
/// When too many are named.
pub async fn replay(database: &Database, tenant: TenantId, body: ReplayBody) -> Result<Replayed, Refused> {
    let filter = filter(body.campaign_id, body.ids)?;
    let asked = filter.ids.as_ref().map_or(0, Vec::len);
    let what = Burial::Replay { force: body.force };
    let done = dead_letters::bury(database, tenant, &filter, what).await?;
    let asked = i64::try_from(asked).unwrap_or(i64::MAX);
    Ok(Replayed {
        replayed: done.moved,
        skipped: done.skipped.max(asked - done.moved),
    })
}

/// Gives up on dead messages: they become `failed`.
///
/// # Errors
/// When nothing is said, or too many are named.
pub async fn purge(database: &Database, tenant: TenantId, body: PurgeBody) -> Result<Purged, Refused> {
    if body.campaign_id.is_none() && body.ids.is_none() {
        return Err(Refused::invalid("ids", "say which: ids, or a campaign_id"));
    }
    let filter = filter(body.campaign_id, body.ids)?;
    let done = dead_letters::bury(database, tenant, &filter, Burial::Purge).await?;
    Ok(Purged { purged: done.moved })
}

fn filter(campaign: Option<Uuid>, ids: Option<Vec<Uuid>>) -> Result<DeadFilter, Refused> {
    let ids = ids.map(|mut ids| {
        ids.sort_unstable();
        ids.dedup();
        ids
    });
    if ids.as_ref().is_some_and(|ids| ids.len() > MOST_IDS) {
        return Err(Refused::invalid("ids", format!("at most {MOST_IDS}")));
    }
    Ok(DeadFilter {
        campaign: campaign.map(CampaignId),
        ids: ids.map(|ids| ids.into_iter().map(MessageId).collect()),
    })
}
