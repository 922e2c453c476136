//! What a tenant does with campaigns: create, fill, launch, pause, resume, cancel.

use std::time::Duration;

use domain::campaign::{CampaignState, PauseReason, Standing, TransitionRefused};
use domain::category::Category;
use domain::ids::{CampaignId, SenderId, TenantId};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::launch::{CanaryView, LaunchBody, checked_schedule, checked_window, launch_in};
use super::life::HistoryView;
use super::progress;
use super::shapes::{CampaignBody, CampaignView};
use crate::api::refused::{Refused, end};
use crate::api::upload::{self, RowReader, UploadReport};
use crate::content::Template;
use crate::storage::campaign_events::{self, Actor, CampaignEvent, because};
use crate::storage::campaigns::{self, Campaign, Moved, NewCampaign};
use crate::storage::canaries::{self, StoredCanary};
use crate::storage::{Database, Redis, Transaction, number_holds, recipients, standings};

/// Recipients that may come with the campaign itself.
const MOST_INLINE_RECIPIENTS: usize = 1_000;
const MOST_NAME_CHARACTERS: usize = 200;
/// Changes of state that a campaign shows; the newest.
const HISTORY_MOST: i64 = 100;
/// How long a cancellation waits for its rows to move; the rest moves behind it.
const CANCEL_WAITS: Duration = Duration::from_secs(1);

/// Creates a draft, with its first recipients if there are any. Wrong recipients are reported and cost the others nothing.
///
/// # Errors
/// When the campaign makes no sense.
pub async fn create(
    transaction: &mut Transaction,
    tenant: TenantId,
    body: CampaignBody,
) -> Result<CampaignView, Refused> {
    let inline = body.recipients.unwrap_or_default();
    if inline.len() > MOST_INLINE_RECIPIENTS {
        return Err(Refused::invalid(
            "recipients",
            format!("at most {MOST_INLINE_RECIPIENTS} here; upload the others to the campaign"),
        ));
    }
    let template = Template::check(&body.template)?;
    let schedule_at = match &body.schedule_at {
        Some(text) => Some(checked_schedule(
            text,
            &campaigns::timezone(transaction, tenant).await?,
        )?),
        None => None,
    };
    let id = CampaignId(Uuid::now_v7());
    let new = NewCampaign {
        id,
        name: checked_name(&body.name)?,
        sender: SenderId(body.sender_id),
        template: template.json(),
        template_name: template.name(),
        template_language: template.language(),
        category: checked_category(body.category.as_deref())?,
        schedule_at,
        window: checked_window(body.window.as_ref())?,
    };
    if !campaigns::create(transaction, tenant, &new).await? {
        return Err(Refused::NotFound("sender"));
    }
    let report = add_inline(transaction, tenant, id, template, &inline).await?;
    let mut view = CampaignView::try_from(found(transaction, tenant, id).await?)?;
    view.recipients = report;
    Ok(view)
}

async fn add_inline(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    template: Template,
    inline: &[Map<String, Value>],
) -> Result<Option<UploadReport>, Refused> {
    if inline.is_empty() {
        return Ok(None);
    }
    let reader = RowReader::new(template);
    let rows = inline.iter().map(|row| reader.read_object(row));
    let report = upload::add_few(transaction, tenant, campaign, rows).await?;
    Ok(Some(report))
}

fn checked_name(name: &str) -> Result<&str, Refused> {
    let name = name.trim();
    let characters = name.chars().count();
    if characters == 0 || characters > MOST_NAME_CHARACTERS || name.contains('\0') {
        return Err(Refused::invalid(
            "name",
            format!("must have 1 to {MOST_NAME_CHARACTERS} characters"),
        ));
    }
    Ok(name)
}

/// Reads a category that a tenant names, if it does.
pub(in crate::api) fn checked_category(category: Option<&str>) -> Result<Option<Category>, Refused> {
    category
        .map(str::parse)
        .transpose()
        .map_err(|error| Refused::invalid("category", error))
}

/// Gives what reads the rows of a draft's uploads.
///
/// # Errors
/// When there is no such campaign, or it takes no more recipients.
pub async fn row_reader(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<RowReader, Refused> {
    let found = stored(database, tenant, campaign).await?;
    let state = found.standing.state;
    if state != CampaignState::Draft {
        return Err(upload::UploadRefused::NotDraft(state).into());
    }
    Ok(RowReader::new(Template::from_stored(&found.template)?))
}

/// Launches a campaign: at once, or at its time if that is still to come; whole, or with a canary first.
///
/// # Errors
/// When it has no recipients, its time is over, or its state does not allow it.
pub async fn launch(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
    body: &LaunchBody,
) -> Result<CampaignView, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let launched = launch_in(&mut transaction, tenant, campaign, body).await;
    Ok(end(transaction, launched).await?.try_into()?)
}

/// Pauses a campaign by hand: what is not claimed yet waits.
///
/// # Errors
/// When its state does not allow it.
pub async fn pause(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<CampaignView, Refused> {
    change(database, tenant, campaign, |standing| {
        standing.pause(PauseReason::Manual)
    })
    .await
}

/// Lets a paused campaign go on.
///
/// # Errors
/// When its state does not allow it.
pub async fn resume(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<CampaignView, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let resumed = resume_in(&mut transaction, tenant, campaign).await;
    Ok(end(transaction, resumed).await?.try_into()?)
}

/// What was put off because of the pause is due now, and a number that rests is tried again.
async fn resume_in(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Campaign, Refused> {
    let before = found(transaction, tenant, campaign).await?;
    let resumed = change_in(transaction, tenant, campaign, Standing::resume).await?;
    if before.standing.reason == Some(PauseReason::NumberHold) {
        number_holds::end_rest(transaction, tenant, before.sender).await?;
    }
    if before.standing.state == CampaignState::Paused {
        standings::bring_forward(transaction, &[campaign.0]).await?;
    }
    Ok(resumed)
}

/// Ends a campaign early. The state changes first, so that nothing more is claimed; then the rows that nobody claimed
/// move, behind the answer if there are many. Should this process stop meanwhile, the planner's sweep ends the work.
///
/// # Errors
/// When its state does not allow it.
pub async fn cancel(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<CampaignView, Refused> {
    change(database, tenant, campaign, Standing::cancel).await?;
    let sweep = {
        let database = database.clone();
        tokio::spawn(async move {
            if let Err(error) = recipients::cancel_rows(&database, tenant, campaign).await {
                tracing::warn!(campaign.id = %campaign, %error, "cancelled rows are left to the planner's sweep");
            }
        })
    };
    // Done in time or not, the answer says how far it is.
    let _ = tokio::time::timeout(CANCEL_WAITS, sweep).await;
    Ok(stored(database, tenant, campaign).await?.try_into()?)
}

async fn change(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
    rule: impl FnOnce(Standing) -> Result<Standing, TransitionRefused>,
) -> Result<CampaignView, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let changed = change_in(&mut transaction, tenant, campaign, rule).await;
    Ok(end(transaction, changed).await?.try_into()?)
}

pub(super) async fn change_in(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    rule: impl FnOnce(Standing) -> Result<Standing, TransitionRefused>,
) -> Result<Campaign, Refused> {
    because(transaction, Actor::Tenant, "asked for through the API").await?;
    match campaigns::change(transaction, tenant, campaign, rule).await? {
        Moved::To { .. } => found(transaction, tenant, campaign).await,
        Moved::Refused(refused) => Err(refused.into()),
        Moved::Unknown => Err(Refused::NotFound("campaign")),
    }
}

/// Reads one campaign with its history, its canary and what explains its pace.
///
/// # Errors
/// When there is no such campaign.
pub async fn read(
    database: &Database,
    redis: &Redis,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<CampaignView, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let whole = whole(&mut transaction, tenant, campaign).await;
    let Whole {
        campaign,
        history,
        canary,
        known,
    } = end(transaction, whole).await?;
    let progress = match &known {
        Some(known) => progress::explained(redis, &campaign, canary.as_ref(), known).await,
        None => None,
    };
    let mut view = CampaignView::try_from(campaign)?;
    view.history = Some(history.into_iter().map(HistoryView::from).collect());
    view.canary = canary.map(CanaryView::from);
    view.progress = progress;
    Ok(view)
}

/// All that is shown of one campaign.
struct Whole {
    campaign: Campaign,
    history: Vec<CampaignEvent>,
    canary: Option<StoredCanary>,
    known: Option<progress::Known>,
}

async fn whole(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Whole, Refused> {
    let campaign = found(transaction, tenant, campaign).await?;
    Ok(Whole {
        history: campaign_events::history(transaction, tenant, campaign.id, HISTORY_MOST).await?,
        canary: canaries::find(transaction, tenant, campaign.id).await?,
        known: progress::known(transaction, tenant, &campaign).await?,
        campaign,
    })
}

/// Lists campaigns, the newest first, `most` of them older than `before`.
///
/// # Errors
/// What the database says.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    before: Option<CampaignId>,
    most: i64,
) -> Result<Vec<CampaignView>, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let found = campaigns::list(&mut transaction, tenant, before, most).await?;
    transaction.commit().await?;
    let views = found.into_iter().map(CampaignView::try_from);
    Ok(views.collect::<Result<_, _>>()?)
}

/// Reads one campaign as it is stored.
pub(super) async fn stored(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Campaign, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let found = found(&mut transaction, tenant, campaign).await;
    end(transaction, found).await
}

pub(super) async fn found(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Campaign, Refused> {
    campaigns::find(transaction, tenant, campaign)
        .await?
        .ok_or(Refused::NotFound("campaign"))
}
