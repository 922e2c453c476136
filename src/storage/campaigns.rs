//! Campaigns: created as drafts, moved by the rules of `domain::campaign`, listed with their counts.

use domain::campaign::{CampaignState, PauseReason, Standing, TransitionRefused};
use domain::category::Category;
use domain::counts::Counts;
use domain::ids::{CampaignId, SenderId, TenantId};
use domain::sending_window::SendingWindow;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{StorageError, Transaction, campaign_counts, sending_windows};

/// A campaign with its counts.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Its name, for people.
    pub name: String,
    /// The number it leaves from.
    pub sender: SenderId,
    /// The JSON of its template, `{{columns}}` included.
    pub template: String,
    /// What its messages are billed as.
    pub category: Category,
    /// Where it is, and why it is paused.
    pub standing: Standing,
    /// When it launches by itself.
    pub schedule_at: Option<Timestamp>,
    /// When it first ran.
    pub launched_at: Option<Timestamp>,
    /// When nothing was left to send; also of a cancelled campaign, once all its rows are swept.
    pub finished_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its recipients may be written to; none means always.
    pub window: Option<SendingWindow>,
    /// The tenant's IANA zone.
    pub timezone: String,
    /// How many recipients are in each state.
    pub counts: Counts,
}

/// A campaign to create.
#[derive(Clone, Debug)]
pub struct NewCampaign<'a> {
    /// Its id.
    pub id: CampaignId,
    /// Its name, for people.
    pub name: &'a str,
    /// The number it leaves from.
    pub sender: SenderId,
    /// The JSON of its template.
    pub template: &'a str,
    /// The template's name at Meta.
    pub template_name: &'a str,
    /// The template's language at Meta.
    pub template_language: &'a str,
    /// What its messages are billed as, where the tenant says; Meta's category of a synchronised template goes first.
    pub category: Option<Category>,
    /// When it launches by itself, once it is launched.
    pub schedule_at: Option<Timestamp>,
    /// When its recipients may be written to; none means always.
    pub window: Option<SendingWindow>,
}

/// How a change of state ended.
#[derive(Clone, Debug)]
pub enum Moved {
    /// The campaign stands there now, with this from before.
    To {
        /// Before.
        from: Standing,
        /// Now.
        to: Standing,
    },
    /// Nothing was changed.
    Refused(TransitionRefused),
    /// There is no such campaign.
    Unknown,
}

/// Creates a draft. Answers whether the sender is the tenant's; if not, nothing was created.
///
/// # Errors
/// What the database says.
pub async fn create(
    transaction: &mut Transaction,
    tenant: TenantId,
    new: &NewCampaign<'_>,
) -> Result<bool, StorageError> {
    let created = transaction
        .execute(
            "INSERT INTO campaigns (id, tenant_id, sender_id, name, template, category, schedule_at, sending_window)
             SELECT $1, s.tenant_id, s.id, $4, $5::text::json, coalesce(t.category, $8, 'marketing'), $9, $10
             FROM senders s LEFT JOIN templates t
                 ON t.tenant_id = s.tenant_id AND t.waba_id = s.waba_id AND t.name = $6 AND t.language = $7
             WHERE s.id = $3 AND s.tenant_id = $2",
            &[
                &new.id.0,
                &tenant.0,
                &new.sender.0,
                &new.name,
                &new.template,
                &new.template_name,
                &new.template_language,
                &new.category.map(Category::as_str),
                &new.schedule_at,
                &new.window.as_ref().map(sending_windows::write),
            ],
        )
        .await?;
    Ok(created == 1)
}

/// Reads one campaign.
///
/// # Errors
/// What the database says.
pub async fn find(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Option<Campaign>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT id, name, sender_id, template::text, category, state, reason, schedule_at, launched_at, finished_at,
                 created_at, sending_window, (SELECT timezone FROM tenants WHERE id = $2) AS timezone, array[0,0,0,0,0,0,0,0,0,0,0,0]::bigint[] AS counts
             FROM campaigns WHERE id = $1 AND tenant_id = $2",
            &[&campaign.0, &tenant.0],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut found = from_row(&row)?;
    found.counts = campaign_counts::of_campaign(transaction, tenant, campaign).await?;
    Ok(Some(found))
}

/// Lists campaigns, newest first, those older than `before`.
///
/// # Errors
/// What the database says.
pub async fn list(
    transaction: &mut Transaction,
    tenant: TenantId,
    before: Option<CampaignId>,
    most: i64,
) -> Result<Vec<Campaign>, StorageError> {
    let before = before.map_or(Uuid::max(), Uuid::from);
    let rows = transaction
        .query(
            "SELECT c.id, c.name, c.sender_id, c.template::text, c.category, c.state, c.reason, c.schedule_at, c.launched_at,
                 c.finished_at, c.created_at, c.sending_window, (SELECT timezone FROM tenants WHERE id = $1) AS timezone, n.counts
             FROM (SELECT * FROM campaigns WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3) AS c
             CROSS JOIN LATERAL (
                 SELECT array[coalesce(sum(planned), 0), coalesce(sum(queued), 0), coalesce(sum(sending), 0),
                     coalesce(sum(accepted), 0), coalesce(sum(sent), 0), coalesce(sum(delivered), 0),
                     coalesce(sum(read), 0), coalesce(sum(failed), 0), coalesce(sum(unknown), 0), coalesce(sum(dead), 0),
                     coalesce(sum(cancelled), 0), coalesce(sum(suppressed), 0)]::bigint[] AS counts
                 FROM campaign_counts WHERE campaign_id = c.id) AS n
             ORDER BY c.id DESC",
            &[&tenant.0, &before, &most],
        )
        .await?;
    rows.iter().map(from_row).collect()
}

/// Moves a campaign by a rule of `domain`, under its row's lock. Nothing else of it changes.
///
/// # Errors
/// What the database says.
pub async fn change(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    rule: impl FnOnce(Standing) -> Result<Standing, TransitionRefused>,
) -> Result<Moved, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT state, reason FROM campaigns WHERE id = $1 AND tenant_id = $2 FOR UPDATE",
            &[&campaign.0, &tenant.0],
        )
        .await?;
    let Some(row) = row else { return Ok(Moved::Unknown) };
    let from = standing_of(&row)?;
    let to = match rule(from) {
        Ok(to) => to,
        Err(refused) => return Ok(Moved::Refused(refused)),
    };
    if to != from {
        transaction
            .execute(
                "UPDATE campaigns SET state = $3, reason = $4,
                     launched_at = CASE WHEN $3 = 'running' THEN coalesce(launched_at, now()) ELSE launched_at END,
                     finished_at = CASE WHEN $3 = 'finished' THEN now() END
                 WHERE id = $1 AND tenant_id = $2",
                &[
                    &campaign.0,
                    &tenant.0,
                    &to.state.as_str(),
                    &to.reason.map(PauseReason::as_str),
                ],
            )
            .await?;
    }
    Ok(Moved::To { from, to })
}

/// Reads the tenant's time zone.
///
/// # Errors
/// What the database says.
pub async fn timezone(transaction: &mut Transaction, tenant: TenantId) -> Result<String, StorageError> {
    let row = transaction
        .query_one("SELECT timezone FROM tenants WHERE id = $1", &[&tenant.0])
        .await?;
    Ok(row.try_get(0)?)
}

/// Sets when a campaign that has not started yet starts by itself.
///
/// # Errors
/// What the database says.
pub async fn set_schedule(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    at: Option<Timestamp>,
) -> Result<(), StorageError> {
    transaction
        .execute(
            "UPDATE campaigns SET schedule_at = $3
             WHERE id = $1 AND tenant_id = $2 AND state IN ('draft', 'scheduled') AND schedule_at IS DISTINCT FROM $3",
            &[&campaign.0, &tenant.0, &at],
        )
        .await?;
    Ok(())
}

/// What is read for those who watch a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which campaign.
    pub campaign: CampaignId,
    /// Where it is.
    pub standing: Standing,
    /// How many recipients are in each state.
    pub counts: Counts,
}

/// Reads the progress of several campaigns, of any tenants, in one statement. For `app_system`.
///
/// # Errors
/// What the database says.
pub async fn progress(
    connection: &mut super::Connection,
    campaigns: &[CampaignId],
) -> Result<Vec<Progress>, StorageError> {
    let ids: Vec<Uuid> = campaigns.iter().map(|campaign| campaign.0).collect();
    let rows = connection
        .query(
            "SELECT c.id, c.state, c.reason,
                 array[coalesce(sum(planned), 0), coalesce(sum(queued), 0), coalesce(sum(sending), 0),
                     coalesce(sum(accepted), 0), coalesce(sum(sent), 0), coalesce(sum(delivered), 0),
                     coalesce(sum(read), 0), coalesce(sum(failed), 0), coalesce(sum(unknown), 0), coalesce(sum(dead), 0),
                     coalesce(sum(cancelled), 0), coalesce(sum(suppressed), 0)]::bigint[] AS counts
             FROM campaigns c LEFT JOIN campaign_counts n ON n.campaign_id = c.id
             WHERE c.id = ANY ($1) GROUP BY c.id",
            &[&ids],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Progress {
                campaign: CampaignId(row.try_get("id")?),
                standing: standing_of(row)?,
                counts: campaign_counts::from_row(row)?,
            })
        })
        .collect()
}

fn standing_of(row: &Row) -> Result<Standing, StorageError> {
    let state: CampaignState = row
        .try_get::<_, &str>("state")?
        .parse()
        .map_err(StorageError::nonsense)?;
    let reason = row
        .try_get::<_, Option<&str>>("reason")?
        .map(str::parse::<PauseReason>)
        .transpose()
        .map_err(StorageError::nonsense)?;
    Ok(Standing { state, reason })
}

fn from_row(row: &Row) -> Result<Campaign, StorageError> {
    Ok(Campaign {
        id: CampaignId(row.try_get("id")?),
        name: row.try_get("name")?,
        sender: SenderId(row.try_get("sender_id")?),
        template: row.try_get("template")?,
        category: row
            .try_get::<_, &str>("category")?
            .parse()
            .map_err(StorageError::nonsense)?,
        standing: standing_of(row)?,
        schedule_at: row.try_get("schedule_at")?,
        launched_at: row.try_get("launched_at")?,
        finished_at: row.try_get("finished_at")?,
        created_at: row.try_get("created_at")?,
        window: sending_windows::read(
            row.try_get::<_, Option<serde_json::Value>>("sending_window")?
                .as_ref(),
        )?,
        timezone: row.try_get("timezone")?,
        counts: campaign_counts::from_row(row)?,
    })
}
