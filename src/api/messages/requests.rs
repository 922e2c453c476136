//! Single messages and what became of any message.

use domain::ids::{CampaignId, MessageId, SenderId, TenantId};
use domain::message::MessageState;
use domain::money::Micros;
use domain::recipient::Recipient;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::campaigns::checked_category;
use crate::api::refused::{Refused, end};
use crate::content::{SingleBody, single_body};
use crate::storage::messages::{self, Happening, Message, MessageFilter, NewMessage};
use crate::storage::{Database, StorageError, Transaction, reports};

/// A single message to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageBody {
    /// The number it leaves from.
    pub sender_id: Uuid,
    /// Who it goes to: E.164, or Meta's business-scoped user id.
    pub to: String,
    /// Meta's template: `{name, language, components}`, complete, without `{{columns}}`. Either this or `text`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub template: Option<Value>,
    /// Free text: a string, or `{body, preview_url}`. Meta takes it only within 24 hours of the recipient's last message.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub text: Option<Value>,
    /// What it is billed as, for templates that were not synchronised from Meta; else `marketing`, for text `service`.
    #[serde(default)]
    pub category: Option<String>,
}

/// A single message that was stored; its delivery is reported later.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct AcceptedMessage {
    /// Its id.
    pub id: Uuid,
    /// `queued`, or `suppressed` when the recipient is on the suppression list.
    #[serde(serialize_with = "as_name")]
    #[schema(value_type = String)]
    pub state: MessageState,
}

fn as_name<S: serde::Serializer>(state: &MessageState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}

/// Stores a single message. When its state is `queued`, its owner is to be woken.
///
/// # Errors
/// When it could not be sent; then nothing was stored.
pub async fn store(
    transaction: &mut Transaction,
    tenant: TenantId,
    body: &MessageBody,
) -> Result<AcceptedMessage, Refused> {
    let recipient: Recipient = body.to.parse().map_err(|error| Refused::invalid("to", error))?;
    let SingleBody { json, template } = single_body(body.template.as_ref(), body.text.as_ref())?;
    let new = NewMessage {
        id: MessageId(Uuid::now_v7()),
        sender: SenderId(body.sender_id),
        recipient: &recipient,
        body: &json,
        parameters: None,
        template: template
            .as_ref()
            .map(|(name, language)| (name.as_str(), language.as_str())),
        category: checked_category(body.category.as_deref())?,
    };
    let state = messages::insert_single(transaction, tenant, &new).await?;
    let state = state.ok_or(Refused::NotFound("sender"))?;
    Ok(AcceptedMessage { id: new.id.0, state })
}

/// Which messages to list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MessageQuery {
    /// Of this campaign only; then in the order of recipients, else newest first.
    pub campaign_id: Option<Uuid>,
    /// In this state only.
    pub state: Option<String>,
    /// To this recipient only.
    pub recipient: Option<String>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// How many at most.
    pub limit: Option<i64>,
}

impl MessageQuery {
    fn filter(&self) -> Result<MessageFilter, Refused> {
        let state = self.state.as_deref().map(str::parse).transpose();
        let recipient = self.recipient.as_deref().map(str::parse).transpose();
        Ok(MessageFilter {
            campaign: self.campaign_id.map(CampaignId),
            state: state.map_err(|error| Refused::invalid("state", error))?,
            recipient: recipient.map_err(|error| Refused::invalid("recipient", error))?,
        })
    }
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageView {
    /// Its id.
    pub id: Uuid,
    /// Its campaign; none for a single message.
    pub campaign_id: Option<Uuid>,
    /// The number it leaves from.
    pub sender_id: Uuid,
    /// Who it goes to.
    pub recipient: String,
    /// What it is billed as.
    pub category: &'static str,
    /// `planned`, `queued`, `sending`, `accepted`, `sent`, `delivered`, `read`, `failed`, `unknown`, `dead`, `cancelled` or
    /// `suppressed`.
    pub state: &'static str,
    /// When a planned message is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// How many attempts there were.
    pub attempts: i32,
    /// Meta's id.
    pub wamid: Option<String>,
    /// What went wrong last.
    pub error: Option<MessageError>,
    /// When it was stored.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// What went wrong with a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageError {
    /// Meta's code; none if Meta did not answer.
    pub code: Option<i32>,
    /// What was said.
    pub reason: Option<String>,
    /// What kind of error it is, by the code.
    pub class: Option<&'static str>,
    /// What to do about it.
    pub advice: Option<&'static str>,
}

impl From<&Message> for Option<MessageError> {
    fn from(message: &Message) -> Self {
        if message.error_code.is_none() && message.error_reason.is_none() {
            return None;
        }
        let class = message
            .error_code
            .map(|code| domain::meta_error::classify(code, true));
        Some(MessageError {
            code: message.error_code,
            reason: message.error_reason.clone(),
            class: class.map(|class| class.as_str()),
            advice: class.map(|class| class.advice()),
        })
    }
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        Self {
            error: (&message).into(),
            id: message.id.0,
            campaign_id: message.campaign.map(Uuid::from),
            sender_id: message.sender.0,
            recipient: message.recipient,
            category: message.category.as_str(),
            state: message.state.as_str(),
            due_at: message.due_at,
            attempts: message.attempt_number,
            wamid: message.wamid,
            created_at: message.created_at,
            updated_at: message.updated_at,
        }
    }
}

/// A message with all that happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageStory {
    /// The message.
    #[serde(flatten)]
    pub message: MessageView,
    /// What happened, oldest first.
    pub timeline: Vec<HappeningView>,
    /// What it takes from the plan, and costs.
    pub billing: BillingView,
}

/// What a message takes from the plan, all of its attempts together.
#[derive(Debug, Serialize, ToSchema)]
pub struct BillingView {
    /// `reserved`, `captured` (Meta bills it), `free` (Meta does not), `voided` (given back); null while nothing was reserved.
    pub settlement: Option<String>,
    /// Units that were used.
    pub units: i64,
    /// What these cost: nothing while the allowance covers them, else the plan's price, exactly. The invoice decides.
    pub cost: String,
    /// ISO 4217; null while the tenant never had a period.
    pub currency: Option<String>,
}

/// Something that happened to a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct HappeningView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `meta`: a status from Meta; `history`: Meta's message history; `send`: a refused call; `policy`, `hand`: what was decided about an
    /// unknown message; `attempt`: an attempt that ended, or of which it is unknown how; `storage`: it was stored.
    pub source: String,
    /// The status, or how the attempt ended.
    pub status: String,
    /// Of which attempt.
    pub attempt_id: Option<Uuid>,
    /// Meta's error code.
    pub error_code: Option<i32>,
    /// What was said, or by what an unknown message was settled.
    pub reason: Option<String>,
    /// The stored event that is the evidence.
    pub event_id: Option<Uuid>,
}

impl From<Happening> for HappeningView {
    fn from(happening: Happening) -> Self {
        Self {
            at: happening.at,
            source: happening.source,
            status: happening.status,
            attempt_id: Some(happening.attempt.0),
            error_code: happening.error_code,
            reason: happening.reason,
            event_id: happening.event.map(|event| event.0),
        }
    }
}

/// Lists messages, `most` of them after `after`.
///
/// # Errors
/// When a filter makes no sense.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    query: &MessageQuery,
    after: Option<MessageId>,
    most: i64,
) -> Result<Vec<MessageView>, Refused> {
    let filter = query.filter()?;
    let mut transaction = database.begin_for(tenant).await?;
    let found = messages::list(&mut transaction, tenant, &filter, after, most).await?;
    transaction.commit().await?;
    Ok(found.into_iter().map(MessageView::from).collect())
}

/// Reads a message with its timeline.
///
/// # Errors
/// When there is no such message.
pub async fn read(
    database: &Database,
    tenant: TenantId,
    message: MessageId,
) -> Result<MessageStory, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let story = story(&mut transaction, tenant, message).await;
    end(transaction, story).await
}

async fn story(
    transaction: &mut Transaction,
    tenant: TenantId,
    message: MessageId,
) -> Result<MessageStory, Refused> {
    let found = messages::find(transaction, tenant, message).await?;
    let found = found.ok_or(Refused::NotFound("message"))?;
    let happenings = messages::timeline(transaction, tenant, message).await?;
    let stored = HappeningView {
        at: found.created_at,
        source: "storage".to_owned(),
        status: "stored".to_owned(),
        attempt_id: None,
        error_code: None,
        reason: None,
        event_id: None,
    };
    let billing = billing(transaction, tenant, &found).await?;
    let later = happenings.into_iter().map(HappeningView::from);
    Ok(MessageStory {
        message: found.into(),
        timeline: std::iter::once(stored).chain(later).collect(),
        billing,
    })
}

async fn billing(
    transaction: &mut Transaction,
    tenant: TenantId,
    message: &Message,
) -> Result<BillingView, StorageError> {
    let prices = reports::prices(transaction, tenant, message.created_at).await?;
    let row = reports::one(transaction, tenant, message.id, &prices).await?;
    Ok(BillingView {
        units: row.as_ref().map_or(0, |row| row.units),
        cost: row.as_ref().map_or(Micros(0), |row| row.cost).to_string(),
        settlement: row.and_then(|row| row.settlement),
        currency: prices.last().map(|price| price.currency.clone()),
    })
}
