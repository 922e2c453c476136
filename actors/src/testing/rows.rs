//! Rows, and the rules by which they change.

use domain::campaign::PauseReason;
use domain::category::Category;
use domain::ids::{AttemptId, EventId, MessageId, SenderId, TenantId};
use domain::message::MessageState;
use domain::partition::Epoch;
use domain::quarantine;
use domain::recipient::Recipient;
use domain::unknown::Doubt;
use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use crate::ports::{
    BillingHead, Claim, Claimed, CommitError, Committed, Content, PauseScope, Poison, QuarantineRow,
    QuarantineWish, Settled, SettledUnknown, TenantCommit, Verdict,
};
use crate::testing::State;

/// A tenant's ledger.
#[derive(Clone, Debug)]
pub struct TenantRow {
    /// The epoch in force.
    pub epoch: Epoch,
    /// Its head.
    pub head: BillingHead,
}

/// A message.
#[derive(Clone, Debug)]
pub struct MessageRow {
    /// Whose.
    pub tenant: TenantId,
    /// The number it leaves from.
    pub sender: SenderId,
    /// Where it is.
    pub state: MessageState,
    /// The attempt in force.
    pub attempt: Option<AttemptId>,
    /// How often it was claimed.
    pub claims: u32,
    /// Attempts that count.
    pub counted: u32,
    /// When it is due.
    pub due_at: Timestamp,
    /// Until when its call may begin.
    pub deadline: Option<Instant>,
    /// Who it goes to; somebody of their own when there is nothing here.
    pub recipient: Option<Recipient>,
    /// Since when it is unknown.
    pub unknown_since: Option<Instant>,
}

/// A stored event.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// Whose.
    pub tenant: TenantId,
    /// Whether it turns a reservation into use; otherwise it gives one back.
    pub captures: bool,
    /// How often it was applied.
    pub applied: u32,
}

impl MessageRow {
    /// Makes a message that was handed to the broker.
    pub fn queued(tenant: TenantId, sender: SenderId, now: Timestamp) -> Self {
        Self {
            tenant,
            sender,
            state: MessageState::Queued,
            attempt: None,
            claims: 0,
            counted: 0,
            due_at: now,
            deadline: None,
            recipient: None,
            unknown_since: None,
        }
    }
}

impl State {
    /// Stores an event.
    pub fn store_event(&mut self, tenant: TenantId, captures: bool) -> EventId {
        let event = EventId(Uuid::now_v7());
        let row = EventRow {
            tenant,
            captures,
            applied: 0,
        };
        self.events.insert(event, row);
        event
    }

    /// Commits for one tenant, as the ledger does.
    pub fn commit(&mut self, work: &TenantCommit) -> Result<Committed, CommitError> {
        let row = self.tenants.get(&work.tenant);
        let row = row.ok_or_else(|| CommitError::Broken("no such tenant".to_owned()))?;
        if row.epoch != work.epoch {
            return Err(CommitError::EpochGone { current: row.epoch });
        }
        if row.head.seq != work.expected_seq {
            let head = row.head.clone();
            return Err(CommitError::HeadMoved { head });
        }
        let mut claims = work.claims.iter();
        let senseless = claims.any(|claim| self.poison_messages.contains(&claim.message))
            || work.events.iter().any(|event| self.poison_events.contains(event));
        if senseless {
            return Err(CommitError::Broken("a row makes no sense".to_owned()));
        }
        let mut head = row.head.clone();
        let claims = work.claims.iter();
        let claimed: Vec<_> = claims
            .filter_map(|claim| self.claim(work, *claim, &mut head))
            .collect();
        let events = work.events.iter();
        let events_applied = events.filter(|event| self.apply(**event, &mut head)).count();
        if head.limit.is_some_and(|limit| head.held + head.captured > limit) {
            self.over_limit += 1;
        }
        if let Some(row) = self.tenants.get_mut(&work.tenant) {
            row.head = head.clone();
        }
        self.commits.push((work.tenant, claimed.len()));
        Ok(Committed {
            head,
            claimed,
            events_applied,
            held: Vec::new(),
            settled: Vec::new(),
            blocked: Vec::new(),
        })
    }

    fn claim(&mut self, work: &TenantCommit, claim: Claim, head: &mut BillingHead) -> Option<Claimed> {
        let paused = self.paused.contains(&work.tenant);
        let row = self.messages.get_mut(&claim.message)?;
        let again = row.state == MessageState::Sending && row.attempt == Some(claim.attempt);
        if !again {
            if row.state != MessageState::Queued {
                return None;
            }
            if paused {
                row.state = MessageState::Planned;
                return None;
            }
            row.state = MessageState::Sending;
            row.attempt = Some(claim.attempt);
            row.claims += 1;
            row.deadline = Some(Instant::now() + work.deadline);
            head.held += 1;
            head.seq += 1;
        }
        Some(claimed(claim, row))
    }

    fn apply(&mut self, event: EventId, head: &mut BillingHead) -> bool {
        let Some(row) = self.events.get_mut(&event).filter(|row| row.applied == 0) else {
            return false;
        };
        row.applied += 1;
        head.held -= 1;
        head.captured += i64::from(row.captures);
        head.seq += 1;
        true
    }

    /// Stores how an attempt ended.
    pub fn settle(&mut self, settled: &Settled) -> Option<EventId> {
        let row = self.messages.get_mut(&settled.message)?;
        if row.state != MessageState::Sending || row.attempt != Some(settled.attempt) {
            return None;
        }
        row.state = match &settled.verdict {
            Verdict::Accepted { .. } => MessageState::Accepted,
            Verdict::Unknown { .. } => MessageState::Unknown,
            Verdict::Failed { .. } => MessageState::Failed,
            Verdict::Dead { .. } => MessageState::Dead,
            Verdict::Retry { due_at, counts, .. } => {
                row.due_at = *due_at;
                row.counted += u32::from(*counts);
                MessageState::Planned
            }
        };
        row.unknown_since = (row.state == MessageState::Unknown).then(Instant::now);
        let gives_back = !matches!(row.state, MessageState::Accepted | MessageState::Unknown);
        gives_back.then(|| self.store_event(settled.tenant, false))
    }

    /// Lets attempts become unknown that are past their deadline and not live.
    pub fn expire(&mut self, tenant: TenantId, live: &[AttemptId]) -> usize {
        let now = Instant::now();
        let rows = self.messages.values_mut();
        let expired = rows.filter(|row| {
            row.tenant == tenant
                && row.state == MessageState::Sending
                && row.deadline.is_some_and(|deadline| deadline <= now)
                && row.attempt.is_some_and(|attempt| !live.contains(&attempt))
        });
        let expire = |row: &mut MessageRow| {
            row.state = MessageState::Unknown;
            row.unknown_since = Some(now);
        };
        expired.map(expire).count()
    }

    /// Settles unknown messages as the tenant's policy says.
    pub fn settle_unknown(&mut self, tenant: TenantId, epoch: Epoch, now: Timestamp) -> SettledUnknown {
        let mut settled = SettledUnknown::default();
        let Some((policy, after)) = self.policies.get(&tenant).copied() else {
            return settled;
        };
        if self.tenants.get(&tenant).is_none_or(|row| row.epoch != epoch) {
            return settled;
        }
        let rows = self.messages.values_mut().filter(|row| row.tenant == tenant);
        let mut count = 0;
        for row in rows {
            let Some(since) = row.unknown_since.filter(|_| row.state == MessageState::Unknown) else {
                continue;
            };
            let doubt = Doubt {
                policy,
                policy_after: Some(after),
                by_hand: None,
                unknown_for: since.elapsed(),
                is_cancelled: false,
            };
            if let Some(by) = domain::unknown::settle(doubt) {
                (row.state, row.due_at) = if by.resends() {
                    (MessageState::Planned, now)
                } else {
                    (MessageState::Failed, now)
                };
                settled.by.push((by, 1));
                count += 1;
            }
        }
        settled.events = (0..count).map(|_| self.store_event(tenant, false)).collect();
        settled
    }

    /// Puts a tenant into quarantine, as far as its epoch allows.
    pub fn quarantine(&mut self, wish: QuarantineWish, now: Timestamp) -> Option<QuarantineRow> {
        if self.tenants.get(&wish.tenant)?.epoch > wish.epoch {
            return None;
        }
        if let Some(known) = self.quarantines.get(&wish.tenant) {
            return Some(known.clone());
        }
        let row = QuarantineRow {
            tenant: wish.tenant,
            partition: wish.partition,
            reason: wish.reason,
            error: wish.error,
            since: now,
            until: now + quarantine::lasts(quarantine::FIRST, 1),
        };
        self.quarantines.insert(wish.tenant, row.clone());
        self.pauses
            .push((wish.tenant, PauseScope::Tenant, PauseReason::Quarantined));
        self.paused.insert(wish.tenant);
        Some(row)
    }

    /// Ends a quarantine; the campaigns that it paused go on.
    pub fn release(&mut self, tenant: TenantId) -> bool {
        let released = self.quarantines.remove(&tenant).is_some();
        if released {
            self.paused.remove(&tenant);
        }
        released
    }

    /// Makes poison dead letters.
    pub fn bury(&mut self, poison: Poison) {
        for id in &poison.messages {
            let row = self.messages.get_mut(id);
            if let Some(row) = row.filter(|row| row.state == MessageState::Queued) {
                row.state = MessageState::Dead;
            }
        }
        self.buried.push(poison);
    }

    /// Gives queued messages back.
    pub fn give_back(&mut self, messages: &[MessageId], due_at: Timestamp) {
        self.given_back.extend(messages);
        for id in messages {
            let row = self.messages.get_mut(id);
            if let Some(row) = row.filter(|row| row.state == MessageState::Queued) {
                row.state = MessageState::Planned;
                row.due_at = due_at;
            }
        }
    }
}

fn claimed(claim: Claim, row: &MessageRow) -> Claimed {
    Claimed {
        message: claim.message,
        attempt: claim.attempt,
        attempt_number: row.claims,
        counted_before: row.counted,
        campaign: None,
        sender: row.sender,
        recipient: row.recipient.clone().unwrap_or_else(|| {
            let tail = claim.message.0.as_u128() % 1_000_000_000_000;
            Recipient::Phone(format!("55{tail:012}"))
        }),
        category: Category::Marketing,
        content: Content {
            body: "{}".into(),
            parameters: None,
        },
    }
}
