//! Campaigns as JSON.

use domain::counts::Counts;
use domain::message::MessageState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::upload::UploadReport;
use super::launch::{CanaryView, WindowBody};
use super::life::HistoryView;
use super::progress::PaceView;
use crate::storage::StorageError;
use crate::storage::campaigns::{Campaign, Progress};

/// A campaign to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignBody {
    /// Its name, for people: 1 to 200 characters.
    pub name: String,
    /// The number it leaves from.
    pub sender_id: Uuid,
    /// Meta's template: `{name, language, components}`, with `{{column}}` in text, media links or ids and button
    /// parameters where a recipient's values go.
    #[schema(value_type = Object)]
    pub template: Value,
    /// What its messages are billed as, for templates that were not synchronised from Meta; `marketing` if absent.
    #[serde(default)]
    pub category: Option<String>,
    /// When it starts by itself, once it is launched: RFC 3339, or a local date and time without an offset, which is in the tenant's
    /// time zone (one that a clock change skips is as much later as the clock goes forward, one that comes twice is the first).
    #[serde(default)]
    pub schedule_at: Option<String>,
    /// When recipients may be written to; always if absent. What is due outside of it waits for the next opening.
    #[serde(default)]
    pub window: Option<WindowBody>,
    /// The first recipients, up to 1,000: `{"recipient": "+5511...", "column": "value", ...}` each. More are uploaded.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub recipients: Option<Vec<Map<String, Value>>>,
}

/// How many recipients are in each state; `total` is always their sum.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[allow(missing_docs, reason = "domain::message::MessageState explains each")]
pub struct CountsView {
    pub total: i64,
    pub planned: i64,
    pub queued: i64,
    pub sending: i64,
    pub accepted: i64,
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub failed: i64,
    pub unknown: i64,
    pub dead: i64,
    pub cancelled: i64,
    pub suppressed: i64,
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        Self {
            total: counts.total(),
            planned: counts[MessageState::Planned],
            queued: counts[MessageState::Queued],
            sending: counts[MessageState::Sending],
            accepted: counts[MessageState::Accepted],
            sent: counts[MessageState::Sent],
            delivered: counts[MessageState::Delivered],
            read: counts[MessageState::Read],
            failed: counts[MessageState::Failed],
            unknown: counts[MessageState::Unknown],
            dead: counts[MessageState::Dead],
            cancelled: counts[MessageState::Cancelled],
            suppressed: counts[MessageState::Suppressed],
        }
    }
}

/// A campaign.
#[derive(Debug, Serialize, ToSchema)]
pub struct CampaignView {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// `draft`, `scheduled`, `running`, `paused`, `finished` or `cancelled`.
    pub state: &'static str,
    /// Why it is paused: `manual`, `plan_blocked`, `template_paused`, `number_hold`, `token_invalid`,
    /// `quarantined`, `canary_failed`, `canary_passed` or `messages_malformed`.
    pub reason: Option<&'static str>,
    /// How many recipients are in each state.
    pub counts: CountsView,
    /// The number it leaves from.
    pub sender_id: Uuid,
    /// Its template as it was given.
    #[schema(value_type = Object)]
    pub template: Box<RawValue>,
    /// What its messages are billed as.
    pub category: &'static str,
    /// When it starts by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub schedule_at: Option<Timestamp>,
    /// By how many seconds it missed that time, where it did by more than a minute: no planner was running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_seconds: Option<i64>,
    /// The tenant's time zone, in which local times are read.
    pub timezone: String,
    /// When recipients may be written to; none means always.
    pub window: Option<WindowBody>,
    /// When it first ran.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub launched_at: Option<Timestamp>,
    /// When nothing was left to send or to cancel.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The sample that goes or went first, if there is one. Only where one campaign is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryView>,
    /// Why it is as fast as it is, and when it will arrive, until it is over. Only where one campaign is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<PaceView>,
    /// Each change of its state, the newest 100: when, who, why. Only where one campaign is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<HistoryView>>,
    /// What became of the recipients in the request that created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<UploadReport>,
}

impl TryFrom<Campaign> for CampaignView {
    type Error = StorageError;

    fn try_from(campaign: Campaign) -> Result<Self, StorageError> {
        Ok(Self {
            id: campaign.id.0,
            name: campaign.name,
            state: campaign.standing.state.as_str(),
            reason: campaign.standing.reason.map(|reason| reason.as_str()),
            counts: campaign.counts.into(),
            sender_id: campaign.sender.0,
            template: RawValue::from_string(campaign.template).map_err(StorageError::nonsense)?,
            category: campaign.category.as_str(),
            schedule_at: campaign.schedule_at,
            late_seconds: late_seconds(campaign.schedule_at, campaign.launched_at),
            timezone: campaign.timezone,
            window: campaign.window.as_ref().map(WindowBody::from),
            launched_at: campaign.launched_at,
            finished_at: campaign.finished_at,
            created_at: campaign.created_at,
            canary: None,
            progress: None,
            history: None,
            recipients: None,
        })
    }
}

/// Seconds after its time at which a campaign is called late.
const LATE_AFTER: i64 = 60;

fn late_seconds(schedule_at: Option<Timestamp>, launched_at: Option<Timestamp>) -> Option<i64> {
    let late = launched_at?.as_second() - schedule_at?.as_second();
    (late > LATE_AFTER).then_some(late)
}

/// One reading of a campaign's progress: the data of a server-sent event `progress`.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ProgressView {
    /// Which campaign.
    pub id: Uuid,
    /// Where it is.
    pub state: &'static str,
    /// Why it is paused.
    pub reason: Option<&'static str>,
    /// How many recipients are in each state.
    pub counts: CountsView,
}

/// A server-sent event of a campaign's stream, for the API's document.
#[derive(Debug, ToSchema)]
pub struct ProgressEvent {
    /// Always `progress`.
    pub event: String,
    /// JSON with the campaign's id, state, reason and counts.
    pub data: String,
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        Self {
            id: progress.campaign.0,
            state: progress.standing.state.as_str(),
            reason: progress.standing.reason.map(|reason| reason.as_str()),
            counts: progress.counts.into(),
        }
    }
}

/// What launching a campaign would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreflightView {
    /// Recipients that would be written to.
    pub valid: i64,
    /// Recipients on the suppression list.
    pub suppressed: i64,
    /// What the campaign would cost beyond the plan's fee; none while the tenant has no plan.
    pub estimated_cost: Option<CostView>,
    /// Units of the plan's allowance that are left in this period.
    pub allowance_left: Option<i64>,
    /// After how many messages the plan would block; none if it would not.
    pub would_block_after: Option<i64>,
    /// When the last message would leave at the number's rate; none if the plan would block before.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub would_finish_at: Option<Timestamp>,
    /// What Meta last said of the template (`APPROVED`, `PAUSED` ...); none if it was not synchronised.
    pub template_status: Option<String>,
}

/// An amount of money.
#[derive(Debug, Serialize, ToSchema)]
pub struct CostView {
    /// ISO 4217.
    pub currency: String,
    /// In the currency's smallest unit.
    pub amount_minor: i64,
    /// The same for people: `12.30`.
    pub amount: String,
}
