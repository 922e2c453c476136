//! One transaction for how many calls ended. Outcomes are facts: never fenced, and without effect unless the message still is under
//! that attempt, `sending` or `unknown`.

use std::collections::HashMap;

use actors::ports::{Settled, Unavailable, Verdict};
use domain::ids::{AttemptId, CampaignId, EventId, MessageId, TenantId};
use domain::message::MessageState;
use jiff::Timestamp;
use uuid::Uuid;

use super::events::{OPTED_OUT, suppress};
use super::portfolio;
use crate::storage::count_changes::{CountChanges, Writer};
use crate::storage::named::named;
use crate::storage::{Database, StorageError, Transaction};

type Answer = Result<Option<EventId>, Unavailable>;

/// A message whose outcome still matters.
struct Open {
    tenant: TenantId,
    message: MessageId,
    attempt: AttemptId,
    campaign: Option<CampaignId>,
    recipient: String,
    state: MessageState,
    number: i32,
}

const OPEN: &str =
    "SELECT m.tenant_id, m.id, m.attempt_id, m.campaign_id, m.recipient, m.state, m.attempt_number
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (tenant_id, message_id, attempt_id)
    JOIN messages m ON m.tenant_id = w.tenant_id AND m.id = w.message_id AND m.attempt_id = w.attempt_id
    WHERE m.state IN ('sending', 'unknown') ORDER BY m.tenant_id, m.id FOR UPDATE OF m";
const MOVE: &str = "UPDATE messages m SET state = w.state, deadline = NULL, due_at = w.due_at, wamid = w.wamid,
        counted_attempts = m.counted_attempts + w.counted, error_code = w.error_code, error_reason = w.reason,
        unknown_since = CASE w.state WHEN 'unknown' THEN now() END, unknown_wish = NULL, updated_at = now()
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::integer[], $7::integer[], $8::text[])
        AS w (tenant_id, message_id, state, due_at, wamid, counted, error_code, reason)
    WHERE m.tenant_id = w.tenant_id AND m.id = w.message_id";
const ENDED: &str = "INSERT INTO message_attempts (tenant_id, attempt_id, message_id, attempt_number, outcome, error_code, reason)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::integer[], $5::text[], $6::integer[], $7::text[])
    ON CONFLICT (tenant_id, attempt_id) DO UPDATE SET outcome = EXCLUDED.outcome, error_code = EXCLUDED.error_code,
        reason = EXCLUDED.reason, ended_at = now() WHERE message_attempts.outcome = 'unknown'";
const REFUSED: &str = "INSERT INTO events (tenant_id, id, source, status, attempt_id, occurred_at, error_code)
    SELECT w.tenant_id, w.id, 'send', 'failed', w.attempt_id, now(), w.error_code
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::integer[]) AS w (tenant_id, id, attempt_id, error_code)
    WHERE w.id IS NOT NULL ON CONFLICT DO NOTHING";

/// Stores outcomes, each on its own terms.
pub(super) async fn commit(database: Database, work: Vec<Settled>) -> Vec<Answer> {
    match try_commit(&database, &work).await {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) => {
            let unavailable = Unavailable::from(error);
            work.iter().map(|_| Err(unavailable.clone())).collect()
        }
    }
}

async fn try_commit(database: &Database, work: &[Settled]) -> Result<Vec<Option<EventId>>, StorageError> {
    let mut transaction = database.begin().await?;
    let open = open(&mut transaction, work).await?;
    let mut pages = Pages::default();
    let answers = work
        .iter()
        .map(|settled| {
            let open = open.get(&settled.attempt)?;
            pages.note(open, &settled.verdict)
        })
        .collect();
    pages.write(&mut transaction).await?;
    transaction.commit().await?;
    Ok(answers)
}

async fn open(
    transaction: &mut Transaction,
    work: &[Settled],
) -> Result<HashMap<AttemptId, Open>, StorageError> {
    let tenants: Vec<Uuid> = work.iter().map(|settled| settled.tenant.0).collect();
    let messages: Vec<Uuid> = work.iter().map(|settled| settled.message.0).collect();
    let attempts: Vec<Uuid> = work.iter().map(|settled| settled.attempt.0).collect();
    let rows = transaction.query(OPEN, &[&tenants, &messages, &attempts]).await?;
    rows.iter()
        .map(|row| {
            let attempt = AttemptId(row.try_get("attempt_id")?);
            let open = Open {
                tenant: TenantId(row.try_get("tenant_id")?),
                message: MessageId(row.try_get("id")?),
                attempt,
                campaign: row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId),
                recipient: row.try_get("recipient")?,
                state: named(row, "state")?,
                number: row.try_get("attempt_number")?,
            };
            Ok((attempt, open))
        })
        .collect()
}

/// What the transaction writes, column by column.
#[derive(Default)]
struct Pages<'a> {
    counts: CountChanges,
    tenants: Vec<Uuid>,
    messages: Vec<Uuid>,
    states: Vec<&'static str>,
    due: Vec<Option<Timestamp>>,
    wamids: Vec<Option<&'a str>>,
    counted: Vec<i32>,
    codes: Vec<Option<i32>>,
    reasons: Vec<Option<&'a str>>,
    ended: Ended<'a>,
    stopped: Vec<(TenantId, &'a str)>,
}

/// Attempts that ended without a message arriving, or nobody knows how: kept for the timeline; and the evidence by which units are
/// given back.
#[derive(Default)]
struct Ended<'a> {
    tenants: Vec<Uuid>,
    attempts: Vec<Uuid>,
    messages: Vec<Uuid>,
    numbers: Vec<i32>,
    outcomes: Vec<&'static str>,
    codes: Vec<Option<i32>>,
    reasons: Vec<&'a str>,
    evidence: Vec<Option<Uuid>>,
}

impl<'a> Pages<'a> {
    /// Notes an outcome; gives the event that gives the reservation back, if it does.
    fn note(&mut self, open: &'a Open, verdict: &'a Verdict) -> Option<EventId> {
        let (state, due_at, counted) = match verdict {
            Verdict::Accepted { .. } => (MessageState::Accepted, None, 0),
            Verdict::Retry { due_at, counts, .. } => {
                (MessageState::Planned, Some(*due_at), i32::from(*counts))
            }
            Verdict::Failed { .. } => (MessageState::Failed, None, 1),
            Verdict::Dead { .. } => (MessageState::Dead, None, 1),
            Verdict::Unknown { .. } => (MessageState::Unknown, None, 0),
        };
        if state == open.state {
            return None;
        }
        let (code, reason) = code_and_reason(verdict);
        self.counts.moved(open.tenant, open.campaign, open.state, state);
        self.tenants.push(open.tenant.0);
        self.messages.push(open.message.0);
        self.states.push(state.as_str());
        self.due.push(due_at);
        self.wamids.push(match verdict {
            Verdict::Accepted { wamid } => Some(wamid),
            _ => None,
        });
        self.counted.push(counted);
        self.codes.push(code);
        self.reasons.push(reason);
        if code == Some(OPTED_OUT) {
            self.stopped.push((open.tenant, &open.recipient));
        }
        self.end(open, verdict, code, reason.unwrap_or_default())
    }

    fn end(&mut self, open: &Open, verdict: &Verdict, code: Option<i32>, reason: &'a str) -> Option<EventId> {
        let outcome = match verdict {
            Verdict::Accepted { .. } => return None,
            Verdict::Unknown { .. } => "unknown",
            Verdict::Retry { .. } => "retry",
            Verdict::Failed { .. } => "failed",
            Verdict::Dead { .. } => "dead",
        };
        let event = (outcome != "unknown").then(|| EventId(Uuid::now_v7()));
        let ended = &mut self.ended;
        ended.tenants.push(open.tenant.0);
        ended.attempts.push(open.attempt.0);
        ended.messages.push(open.message.0);
        ended.numbers.push(open.number);
        ended.outcomes.push(outcome);
        ended.codes.push(code);
        ended.reasons.push(reason);
        ended.evidence.push(event.map(|event| event.0));
        event
    }

    async fn write(self, transaction: &mut Transaction) -> Result<(), StorageError> {
        if !self.messages.is_empty() {
            transaction
                .execute(
                    MOVE,
                    &[
                        &self.tenants,
                        &self.messages,
                        &self.states,
                        &self.due,
                        &self.wamids,
                        &self.counted,
                        &self.codes,
                        &self.reasons,
                    ],
                )
                .await?;
        }
        self.ended.write(transaction).await?;
        suppress(transaction, &self.stopped).await?;
        self.counts.write(transaction, Writer::Committer).await
    }
}

impl Ended<'_> {
    async fn write(&self, transaction: &mut Transaction) -> Result<(), StorageError> {
        if self.attempts.is_empty() {
            return Ok(());
        }
        transaction
            .execute(
                ENDED,
                &[
                    &self.tenants,
                    &self.attempts,
                    &self.messages,
                    &self.numbers,
                    &self.outcomes,
                    &self.codes,
                    &self.reasons,
                ],
            )
            .await?;
        transaction
            .execute(
                REFUSED,
                &[&self.tenants, &self.evidence, &self.attempts, &self.codes],
            )
            .await?;
        let given_back = self.attempts.iter().zip(&self.evidence);
        let given_back: Vec<Uuid> = given_back
            .filter_map(|(attempt, evidence)| evidence.map(|_| *attempt))
            .collect();
        portfolio::release(transaction, &given_back).await
    }
}

fn code_and_reason(verdict: &Verdict) -> (Option<i32>, Option<&str>) {
    match verdict {
        Verdict::Accepted { .. } => (None, None),
        Verdict::Retry { code, reason, .. } | Verdict::Dead { code, reason } => (*code, Some(reason)),
        Verdict::Failed { code, reason } => (Some(*code), Some(reason)),
        Verdict::Unknown { reason } => (None, Some(reason)),
    }
}
