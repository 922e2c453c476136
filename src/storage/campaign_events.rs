//! The history of campaigns: who moved each one, when, and on what evidence. The rows are written by a trigger, so that no change of
//! state goes unrecorded; this file says who and why, and reads them.

use domain::ids::{CampaignId, TenantId};
use jiff::Timestamp;

use super::{Connection, StorageError, Transaction};

/// Who moves campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The tenant, through the API.
    Tenant,
    /// An owner of the tenant, by what Meta or the plan answered.
    Worker,
    /// The planner, by what the rows say.
    Planner,
    /// Meta, by a webhook or an answer about templates.
    Meta,
    /// An operator, through the operators' API.
    Operator,
}

impl Actor {
    /// Gives its name in the history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Worker => "worker",
            Self::Planner => "planner",
            Self::Meta => "meta",
            Self::Operator => "operator",
        }
    }
}

/// A change of a campaign's state.
#[derive(Clone, Debug)]
pub struct CampaignEvent {
    /// When.
    pub at: Timestamp,
    /// The state before.
    pub from_state: String,
    /// Why it was paused before.
    pub from_reason: Option<String>,
    /// The state after.
    pub to_state: String,
    /// Why it is paused.
    pub to_reason: Option<String>,
    /// Who did it.
    pub actor: String,
    /// What for.
    pub evidence: Option<String>,
}

/// Says who moves campaigns in this transaction from now on, and on what evidence.
///
/// # Errors
/// What the database says.
pub async fn because(connection: &mut Connection, actor: Actor, evidence: &str) -> Result<(), StorageError> {
    connection
        .execute(
            "SELECT set_config('malote.by', $1, true), set_config('malote.evidence', $2, true)",
            &[&actor.as_str(), &evidence],
        )
        .await?;
    Ok(())
}

/// Reads the last `most` changes of a campaign, the oldest of them first.
///
/// # Errors
/// What the database says.
pub async fn history(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    most: i64,
) -> Result<Vec<CampaignEvent>, StorageError> {
    let rows = transaction
        .query(
            "SELECT * FROM (SELECT id, at, from_state, from_reason, to_state, to_reason, actor, evidence FROM campaign_events
                 WHERE tenant_id = $1 AND campaign_id = $2 ORDER BY id DESC LIMIT $3) AS newest ORDER BY id",
            &[&tenant.0, &campaign.0, &most],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(CampaignEvent {
                at: row.try_get("at")?,
                from_state: row.try_get("from_state")?,
                from_reason: row.try_get("from_reason")?,
                to_state: row.try_get("to_state")?,
                to_reason: row.try_get("to_reason")?,
                actor: row.try_get("actor")?,
                evidence: row.try_get("evidence")?,
            })
        })
        .collect()
}
