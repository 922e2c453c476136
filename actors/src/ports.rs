//! All that an actor may ask of the world. `src` implements these with PostgreSQL, Redis and Meta;
//! `testing` implements them in memory.
//!
//! Each method answers with a future that owns what it needs, so that an actor can start it under
//! `&mut self` and await it in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use domain::campaign::PauseReason;
use domain::category::Category;
use domain::ids::{AttemptId, CampaignId, EventId, MessageId, SenderId, TenantId};
use domain::partition::Epoch;
use domain::rate_limit::PairKey;
use domain::recipient::Recipient;
use domain::unknown::{SettledBy, UnknownCause};
use futures_util::future::BoxFuture;
use jiff::Timestamp;

pub use crate::quarantine::{Quarantine, QuarantineRow, QuarantineWish};

/// What every port answers with.
pub type Answer<T> = BoxFuture<'static, T>;

/// A tenant's billing as its only writer holds it between commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillingHead {
    /// The ledger's last sequence number.
    pub seq: i64,
    /// How many units the plan allows at once reserved and used; none where the policy has no end.
    pub limit: Option<i64>,
    /// Units reserved now, in the open period.
    pub held: i64,
    /// Units used, in the open period.
    pub captured: i64,
}

/// One tenant's share of a commit: decisions, and facts that change its ledger.
#[derive(Clone, Debug)]
pub struct TenantCommit {
    /// Whose ledger.
    pub tenant: TenantId,
    /// The epoch under which this owner works.
    pub epoch: Epoch,
    /// The sequence number that the owner believes to be the ledger's last.
    pub expected_seq: i64,
    /// Messages to claim, each with the id of the attempt that this claim would be.
    pub claims: Vec<Claim>,
    /// How long a claimed message may wait for its call; then it becomes `unknown`.
    pub deadline: Duration,
    /// Stored events to apply: statuses from Meta, refusals of calls.
    pub events: Vec<EventId>,
}

/// A wish to send one message now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The message, expected to be `queued`.
    pub message: MessageId,
    /// The attempt it becomes.
    pub attempt: AttemptId,
}

/// What a commit did for one tenant.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The head after the commit.
    pub head: BillingHead,
    /// The messages that are this owner's to send now. What was asked for and is not here was stale:
    /// cancelled, suppressed, paused or taken by someone else.
    pub claimed: Vec<Claimed>,
    /// How many events were applied; the others had been applied before.
    pub events_applied: usize,
    /// Numbers whose portfolio has written to as many people as it may in a day, and when it may write to another one.
    pub held: Vec<(SenderId, Timestamp)>,
    /// Messages that were unknown and that an event settled, by what kind of evidence.
    pub settled: Vec<(SettledBy, usize)>,
    /// Campaigns of whose category the plan allows no more.
    pub blocked: Vec<CampaignId>,
}

/// A message that was claimed and paid for: it is now `sending`.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The message.
    pub message: MessageId,
    /// This attempt; Meta echoes it in every status.
    pub attempt: AttemptId,
    /// Which attempt it is, from 1.
    pub attempt_number: u32,
    /// How many attempts that counted came before this one.
    pub counted_before: u32,
    /// Its campaign, if any.
    pub campaign: Option<CampaignId>,
    /// The number it leaves from.
    pub sender: SenderId,
    /// Who it goes to.
    pub recipient: Recipient,
    /// What it is billed as.
    pub category: Category,
    /// What it says.
    pub content: Content,
}

/// What a message says, as stored; `src/meta` renders it into Meta's body.
#[derive(Clone, Debug)]
pub struct Content {
    /// The JSON of the campaign's (or single message's) `template` or `text` object.
    pub body: Arc<str>,
    /// The JSON object of this recipient's values, by column.
    pub parameters: Option<Box<str>>,
}

/// Why a commit did nothing for this tenant. In every case nothing was claimed and nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A later owner has taken the tenant over: stop working for the partition.
    #[error("the epoch of the tenant has moved on to {current:?}")]
    EpochGone {
        /// The epoch in force.
        current: Epoch,
    },
    /// The ledger moved on under the same epoch (an answer was lost): go on from this head.
    #[error("the ledger has moved on")]
    HeadMoved {
        /// The head in force.
        head: BillingHead,
    },
    /// The outcome is not known: read the head again before deciding anything.
    #[error("the database did not answer: {0}")]
    Unavailable(String),
    /// The rows are there but make no sense; the tenant's fault, not the dependency's.
    #[error("the ledger is broken: {0}")]
    Broken(String),
}

/// The tenant's ledger, written by `BillingCounter` alone through the node's committer.
pub trait Ledger: Send + Sync + 'static {
    /// Raises the tenant's epoch and reads its head. Waits for the old owner's open transaction, and shuts it
    /// out afterwards. Also used to read the head again after [`CommitError::Unavailable`].
    fn take_over(&self, tenant: TenantId, epoch: Epoch) -> Answer<Result<BillingHead, CommitError>>;
    /// Commits decisions and facts in one transaction, fenced by epoch and sequence. After
    /// [`CommitError::Unavailable`] the owner reads the head again by [`Ledger::take_over`] and may propose the same
    /// claims under the same attempt ids: a message that is already `sending` under the proposed attempt comes back as
    /// claimed and is not charged again.
    fn commit(&self, work: TenantCommit) -> Answer<Result<Committed, CommitError>>;
    /// Events of the tenant that are stored and not applied, oldest first, `most` of them.
    fn unapplied_events(&self, tenant: TenantId, most: usize) -> Answer<Result<Vec<EventId>, Unavailable>>;
}

/// A dependency did not answer. Never counted against a tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{dependency} is unavailable: {reason}")]
pub struct Unavailable {
    /// Which one: `postgresql`, `redis`, `rabbitmq`.
    pub dependency: &'static str,
    /// What it said.
    pub reason: String,
}

/// How a call to Meta ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// Meta took it.
    Accepted {
        /// Meta's id of the message.
        wamid: String,
    },
    /// Meta refused it: definite, nothing left.
    Refused(Refusal),
    /// There was no connection: nothing left, definite.
    Unreachable {
        /// What went wrong.
        reason: String,
    },
    /// The call was not begun, for a reason of our own: definite.
    NotBegun {
        /// What went wrong.
        reason: String,
    },
    /// It may have left: no answer, or an answer without Meta's error code.
    Unknown {
        /// Why it is not known.
        cause: UnknownCause,
        /// What went wrong.
        reason: String,
    },
}

/// Meta's refusal of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Meta's `error.code`.
    pub code: i32,
    /// Meta's `error.message` and `error_data.details`.
    pub details: String,
    /// How long Meta asks to wait (`Retry-After`, `estimated_time_to_regain_access`).
    pub retry_after: Option<Duration>,
    /// Meta's `is_transient`, or an HTTP status of 500 and above.
    pub transient: bool,
}

/// Sends messages to Meta.
pub trait Meta: Send + Sync + 'static {
    /// Makes one call. It checks the deadline last and answers [`SendOutcome::NotBegun`] past it.
    fn send(&self, claimed: Arc<Claimed>, deadline: tokio::time::Instant) -> Answer<SendOutcome>;
}

/// What the owner decided about an attempt that ended, to be stored. Never fenced: it takes effect only while
/// the message is still `sending` under this attempt.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Whose.
    pub tenant: TenantId,
    /// Which message.
    pub message: MessageId,
    /// Which attempt.
    pub attempt: AttemptId,
    /// Where the message goes.
    pub verdict: Verdict,
}

/// Where a message goes when its attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To `accepted`.
    Accepted {
        /// Meta's id.
        wamid: String,
    },
    /// Back to `planned`, for a new attempt; the reservation is given back.
    Retry {
        /// When.
        due_at: Timestamp,
        /// Whether this attempt counts towards the last one (throttles do not).
        counts: bool,
        /// Meta's code, if it answered.
        code: Option<i32>,
        /// What went wrong.
        reason: String,
    },
    /// To `failed`; the reservation is given back.
    Failed {
        /// Meta's code.
        code: i32,
        /// What Meta said.
        reason: String,
    },
    /// To `dead`: the last attempt failed; the reservation is given back.
    Dead {
        /// Meta's code, if it answered.
        code: Option<i32>,
        /// What went wrong.
        reason: String,
    },
    /// To `unknown`; the reservation stays until evidence comes.
    Unknown {
        /// What went wrong.
        reason: String,
    },
}

/// Work that failed again and again although other work of its tenant did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Whose.
    pub tenant: TenantId,
    /// Messages, which are `queued`.
    pub messages: Vec<MessageId>,
    /// Stored events that are not applied.
    pub events: Vec<EventId>,
    /// What went wrong last.
    pub reason: String,
}

/// What an automatic pause stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseScope {
    /// Every running campaign of the tenant.
    Tenant,
    /// Every running campaign that leaves from this number.
    Sender(SenderId),
    /// One campaign.
    Campaign(CampaignId),
}

/// The tenant's message rows, as `SendQueue` needs them.
pub trait Messages: Send + Sync + 'static {
    /// Stores how attempts ended. Answers with the event rows of those that give a reservation back: apply them.
    fn settle(&self, settled: Settled) -> Answer<Result<Option<EventId>, Unavailable>>;
    /// Gives queued messages back to `planned`, due at `due_at`.
    fn give_back(
        &self,
        tenant: TenantId,
        messages: Vec<MessageId>,
        due_at: Timestamp,
    ) -> Answer<Result<(), Unavailable>>;
    /// Makes poison dead letters: queued messages become `dead`, events are set aside until somebody replays them.
    fn bury(&self, poison: Poison) -> Answer<Result<(), Unavailable>>;
    /// Turns each `sending` row of the tenant that is past its deadline and not in `live` into `unknown`.
    /// Answers with how many.
    fn expire_sending(&self, tenant: TenantId, live: Vec<AttemptId>) -> Answer<Result<usize, Unavailable>>;
    /// Lets the tenant's policy, and what its people asked for, settle messages that stayed unknown, a bounded number at a time, in
    /// one transaction under the epoch. The events give reservations back: apply them.
    fn settle_unknown(&self, tenant: TenantId, epoch: Epoch) -> Answer<Result<SettledUnknown, Unavailable>>;
    /// Pauses running campaigns, with a reason and what it was seen from, in words for the tenant. Running it twice changes nothing.
    fn pause(
        &self,
        tenant: TenantId,
        scope: PauseScope,
        reason: PauseReason,
        evidence: String,
    ) -> Answer<Result<(), Unavailable>>;
}

/// What settling unknown messages did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettledUnknown {
    /// Events that give reservations back.
    pub events: Vec<EventId>,
    /// How many messages, by what settled them.
    pub by: Vec<(SettledBy, usize)>,
    /// Whether more may be waiting.
    pub more: bool,
}

/// What a number may send, and how far its limiter had come.
#[derive(Clone, Debug, PartialEq)]
pub struct SenderLimits {
    /// Meta's throughput for the number, messages a second.
    pub messages_per_second: u32,
    /// What the tenant's plan allows, messages a second over all of its numbers.
    pub plan_messages_per_second: Option<u32>,
    /// What it leaves through, whose throttles it shares.
    pub ways: Vec<Way>,
    /// The limiter's state as last stored, if any.
    pub stored: Option<StoredLimiter>,
}

/// What many numbers leave through: Meta throttles it as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// An app at Meta.
    App(String),
    /// A business account at Meta.
    Account(String),
}

/// A limiter's state outside of memory. `theoretical_arrival` is GCRA's TAT on the wall clock.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredLimiter {
    /// When the next message would be exactly on schedule.
    pub theoretical_arrival: Timestamp,
    /// The adaptive rate, messages a second.
    pub rate: f64,
    /// Pairs that have used up a part of their burst, each with its own theoretical arrival.
    pub pairs: Vec<(PairKey, Timestamp)>,
}

/// Where limiters keep what must survive a restart. Losing it costs a moment of speed, never a burst.
pub trait LimiterStore: Send + Sync + 'static {
    /// Reads a number's limits and state.
    fn load(&self, tenant: TenantId, sender: SenderId) -> Answer<Result<SenderLimits, Unavailable>>;
    /// Remembers a number's state. Best effort. What an earlier owner says is not taken.
    fn save(&self, tenant: TenantId, sender: SenderId, epoch: Epoch, state: StoredLimiter) -> Answer<()>;
    /// Lets nothing leave through a way until a time, on every node. Best effort beyond this one.
    fn hold(&self, way: Way, until: Timestamp) -> Answer<()>;
    /// Tells until when nothing may leave through any of the ways, as far as this node knows. Never waits.
    fn held_until(&self, ways: &[Way]) -> Option<Timestamp>;
}
