//! Claiming: `queued` rows of running campaigns and unsuppressed recipients become `sending`, and a unit is reserved for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::ports::{Claimed, Content};
use domain::campaign::CampaignState;
use domain::category::Category;
use domain::ids::{AttemptId, CampaignId, MessageId, SenderId, TenantId};
use domain::ledger::RESERVE;
use domain::local_window::LocalWindow;
use domain::message::MessageState;
use domain::sending_window::Opening;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::decisions::{Pages, Share};
use super::period::Booking;
use super::portfolio::{Limited, Portfolios, key_of};
use super::seconds;
use super::templates::Templates;
use crate::storage::named::named;
use crate::storage::{StorageError, Transaction, sending_windows};

/// When a message is due again whose pool is used up; by then its campaign is paused.
const BLOCKED_WAIT: SignedDuration = SignedDuration::from_secs(1);

type Shares<'a> = BTreeMap<TenantId, Share<'a>>;

/// A row that somebody wants to claim, as it is.
struct Candidate {
    tenant: TenantId,
    message: MessageId,
    proposed: AttemptId,
    state: MessageState,
    attempt: Option<AttemptId>,
    attempt_number: i32,
    counted_before: i32,
    campaign: Option<CampaignId>,
    campaign_state: Option<CampaignState>,
    is_suppressed: bool,
    is_outside_window: bool,
    sender: SenderId,
    recipient: String,
    category: Category,
    body: Option<String>,
    parameters: Option<String>,
}

/// What becomes of a candidate.
enum Fate {
    /// It is claimed now.
    Claim,
    /// It had been claimed under this very attempt; the answer was lost.
    Again,
    /// It leaves the queue for another state.
    Leave(MessageState),
    /// The plan allows no more of its category.
    Blocked,
    /// Nothing: somebody else has dealt with it.
    Stale,
}

const CANDIDATES: &str = "SELECT m.tenant_id, m.id, w.attempt_id AS proposed, m.state, m.attempt_id, m.attempt_number,
        m.counted_attempts, m.campaign_id, c.state AS campaign_state, s.recipient IS NOT NULL AS is_suppressed, m.sender_id,
        c.sending_window, CASE WHEN c.sending_window IS NOT NULL THEN
            (SELECT timezone FROM tenants WHERE id = m.tenant_id) END AS timezone,
        m.recipient, m.category, m.body::text, m.parameters::text
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (tenant_id, message_id, attempt_id)
    JOIN messages m ON m.tenant_id = w.tenant_id AND m.id = w.message_id
    LEFT JOIN campaigns c ON c.id = m.campaign_id
    LEFT JOIN suppressions s ON s.tenant_id = m.tenant_id AND s.recipient = m.recipient
    ORDER BY m.tenant_id, m.id FOR UPDATE OF m";

impl Candidate {
    fn read(row: &Row) -> Result<Self, StorageError> {
        let campaign_state: Option<&str> = row.try_get("campaign_state")?;
        Ok(Self {
            tenant: TenantId(row.try_get("tenant_id")?),
            message: MessageId(row.try_get("id")?),
            proposed: AttemptId(row.try_get("proposed")?),
            state: named(row, "state")?,
            attempt: row.try_get::<_, Option<Uuid>>("attempt_id")?.map(AttemptId),
            attempt_number: row.try_get("attempt_number")?,
            counted_before: row.try_get("counted_attempts")?,
            campaign: row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId),
            campaign_state: campaign_state
                .map(str::parse)
                .transpose()
                .map_err(StorageError::nonsense)?,
            is_suppressed: row.try_get("is_suppressed")?,
            is_outside_window: is_outside_window(row)?,
            sender: SenderId(row.try_get("sender_id")?),
            recipient: row.try_get("recipient")?,
            category: named(row, "category")?,
            body: row.try_get("body")?,
            parameters: row.try_get("parameters")?,
        })
    }

    fn fate(&self, has_room: bool) -> Fate {
        match (self.state, self.campaign_state) {
            (MessageState::Sending, _) if self.attempt == Some(self.proposed) => Fate::Again,
            (state, _) if state != MessageState::Queued => Fate::Stale,
            (_, Some(CampaignState::Cancelled)) => Fate::Leave(MessageState::Cancelled),
            (_, Some(state)) if state != CampaignState::Running => Fate::Leave(MessageState::Planned),
            _ if self.is_suppressed => Fate::Leave(MessageState::Suppressed),
            // The planner, which looked a moment ago, puts it off until the next opening.
            _ if self.is_outside_window => Fate::Leave(MessageState::Planned),
            _ if !has_room => Fate::Blocked,
            _ => Fate::Claim,
        }
    }

    /// Counts the recipient for the number's portfolio. Free text is taken only in an open conversation, which Meta does not count.
    fn reaches_somebody(&self, portfolios: &mut Portfolios, now: Timestamp) -> Result<(), Timestamp> {
        match (self.category, key_of(&self.recipient)) {
            (Category::Service, _) | (_, None) => Ok(()),
            (_, Some(key)) => portfolios.admit(self.sender, key, self.proposed, now),
        }
    }

    fn into_claimed(self, body: Arc<str>, is_new: bool) -> Result<Claimed, StorageError> {
        let number = self.attempt_number + i32::from(is_new);
        Ok(Claimed {
            message: self.message,
            attempt: self.proposed,
            attempt_number: u32::try_from(number).map_err(StorageError::nonsense)?,
            counted_before: u32::try_from(self.counted_before).map_err(StorageError::nonsense)?,
            campaign: self.campaign,
            sender: self.sender,
            recipient: self.recipient.parse().map_err(StorageError::nonsense)?,
            category: self.category,
            content: Content {
                body,
                parameters: self.parameters.map(String::into_boxed_str),
            },
        })
    }
}

/// The last look at the window: a message leaves at most its claim's deadline after its recipient's window closed.
fn is_outside_window(row: &Row) -> Result<bool, StorageError> {
    let stored = row.try_get::<_, Option<serde_json::Value>>("sending_window")?;
    let Some(window) = sending_windows::read(stored.as_ref())? else {
        return Ok(false);
    };
    let window = LocalWindow::new(window, row.try_get("timezone")?).map_err(StorageError::nonsense)?;
    let opening = window.at(Timestamp::now(), row.try_get("recipient")?);
    Ok(matches!(opening, Opening::ClosedUntil(_)))
}

/// Claims what the shares propose, as far as their plans allow.
pub(super) async fn claim(
    transaction: &mut Transaction,
    (templates, limited): (&Templates, &Limited),
    shares: &mut Shares<'_>,
    pages: &mut Pages,
) -> Result<(), StorageError> {
    let candidates = candidates(transaction, shares).await?;
    if candidates.is_empty() {
        return Ok(());
    }
    let campaigns = candidates.iter().filter_map(|candidate| candidate.campaign);
    let bodies = templates.of(transaction, campaigns).await?;
    let mut portfolios = portfolios(transaction, limited, &candidates).await?;
    let mut moves = Moves::default();
    for candidate in candidates {
        let Some(share) = shares.get_mut(&candidate.tenant) else {
            continue;
        };
        let fate = candidate.fate(share.period.has_room(candidate.category)?);
        let is_new = matches!(fate, Fate::Claim);
        if is_new && let Err(until) = candidate.reaches_somebody(&mut portfolios, pages.now) {
            share.held.insert(candidate.sender, until);
            moves.wait(pages, &candidate, until);
            continue;
        }
        match fate {
            Fate::Stale => {}
            Fate::Leave(to) => moves.leave(pages, &candidate, to),
            Fate::Blocked => {
                share.blocked.extend(candidate.campaign);
                moves.wait(pages, &candidate, pages.now + BLOCKED_WAIT);
            }
            Fate::Claim | Fate::Again => {
                if is_new {
                    reserve(share, pages, &mut moves, &candidate)?;
                }
                let body = match candidate.campaign {
                    Some(campaign) => bodies.get(&campaign).cloned(),
                    None => candidate.body.as_deref().map(Arc::from),
                };
                let body = body.ok_or_else(|| StorageError::nonsense("a message without content"))?;
                share.claimed.push(candidate.into_claimed(body, is_new)?);
            }
        }
    }
    portfolios.write(transaction).await?;
    moves.write(transaction, shares).await
}

async fn portfolios(
    transaction: &mut Transaction,
    limited: &Limited,
    candidates: &[Candidate],
) -> Result<Portfolios, StorageError> {
    if !limited.any(transaction).await? {
        return Ok(Portfolios::default());
    }
    let senders: Vec<Uuid> = candidates.iter().map(|candidate| candidate.sender.0).collect();
    let recipients = candidates
        .iter()
        .filter_map(|candidate| Some((candidate.sender, key_of(&candidate.recipient)?)));
    Portfolios::lock(transaction, &senders, recipients).await
}

fn reserve(
    share: &mut Share<'_>,
    pages: &mut Pages,
    moves: &mut Moves,
    candidate: &Candidate,
) -> Result<(), StorageError> {
    let booking = Booking::now(candidate.tenant, &share.period, candidate.category)?;
    share.add_row(pages, (&booking, &booking), candidate.proposed, RESERVE, None);
    pages.counts.moved(
        candidate.tenant,
        candidate.campaign,
        MessageState::Queued,
        MessageState::Sending,
    );
    moves
        .claimed
        .push((candidate.tenant, candidate.message, candidate.proposed));
    Ok(())
}

async fn candidates(
    transaction: &mut Transaction,
    shares: &Shares<'_>,
) -> Result<Vec<Candidate>, StorageError> {
    let (mut tenants, mut messages, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
    for (tenant, share) in shares {
        for claim in &share.work.claims {
            tenants.push(tenant.0);
            messages.push(claim.message.0);
            attempts.push(claim.attempt.0);
        }
    }
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let rows = transaction
        .query(CANDIDATES, &[&tenants, &messages, &attempts])
        .await?;
    rows.iter().map(Candidate::read).collect()
}

/// Changes of message rows.
#[derive(Default)]
struct Moves {
    claimed: Vec<(TenantId, MessageId, AttemptId)>,
    left: Vec<(TenantId, MessageId, MessageState)>,
    waits: Vec<(TenantId, MessageId, Timestamp)>,
}

const CLAIM: &str = "UPDATE messages m SET state = 'sending', queued_at = NULL, deadline = now() + w.seconds * interval '1 second',
        attempt_id = w.attempt_id, attempt_number = m.attempt_number + 1, error_code = NULL, error_reason = NULL,
        updated_at = now()
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::float8[]) AS w (tenant_id, message_id, attempt_id, seconds)
    WHERE m.tenant_id = w.tenant_id AND m.id = w.message_id";
const LEAVE: &str = "UPDATE messages m SET state = w.state, queued_at = NULL,
        due_at = CASE w.state WHEN 'planned' THEN now() END, updated_at = now()
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS w (tenant_id, message_id, state)
    WHERE m.tenant_id = w.tenant_id AND m.id = w.message_id";

const WAIT: &str =
    "UPDATE messages m SET state = 'planned', queued_at = NULL, due_at = w.due_at, updated_at = now()
    FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS w (tenant_id, message_id, due_at)
    WHERE m.tenant_id = w.tenant_id AND m.id = w.message_id";

impl Moves {
    fn wait(&mut self, pages: &mut Pages, candidate: &Candidate, until: Timestamp) {
        let (from, to) = (MessageState::Queued, MessageState::Planned);
        pages.counts.moved(candidate.tenant, candidate.campaign, from, to);
        self.waits.push((candidate.tenant, candidate.message, until));
    }

    fn leave(&mut self, pages: &mut Pages, candidate: &Candidate, to: MessageState) {
        pages
            .counts
            .moved(candidate.tenant, candidate.campaign, MessageState::Queued, to);
        self.left.push((candidate.tenant, candidate.message, to));
    }

    async fn write(&self, transaction: &mut Transaction, shares: &Shares<'_>) -> Result<(), StorageError> {
        if !self.claimed.is_empty() {
            let tenants: Vec<Uuid> = self.claimed.iter().map(|(tenant, ..)| tenant.0).collect();
            let messages: Vec<Uuid> = self.claimed.iter().map(|(_, message, _)| message.0).collect();
            let attempts: Vec<Uuid> = self.claimed.iter().map(|(.., attempt)| attempt.0).collect();
            let deadline = |tenant| {
                shares
                    .get(tenant)
                    .map_or(0.0, |share| seconds(share.work.deadline))
            };
            let deadlines: Vec<f64> = self.claimed.iter().map(|(tenant, ..)| deadline(tenant)).collect();
            transaction
                .execute(CLAIM, &[&tenants, &messages, &attempts, &deadlines])
                .await?;
        }
        if !self.waits.is_empty() {
            let tenants: Vec<Uuid> = self.waits.iter().map(|(tenant, ..)| tenant.0).collect();
            let messages: Vec<Uuid> = self.waits.iter().map(|(_, message, _)| message.0).collect();
            let due: Vec<Timestamp> = self.waits.iter().map(|(.., due)| *due).collect();
            transaction.execute(WAIT, &[&tenants, &messages, &due]).await?;
        }
        if !self.left.is_empty() {
            let tenants: Vec<Uuid> = self.left.iter().map(|(tenant, ..)| tenant.0).collect();
            let messages: Vec<Uuid> = self.left.iter().map(|(_, message, _)| message.0).collect();
            let states: Vec<&str> = self.left.iter().map(|(.., state)| state.as_str()).collect();
            transaction
                .execute(LEAVE, &[&tenants, &messages, &states])
                .await?;
        }
        Ok(())
    }
}
