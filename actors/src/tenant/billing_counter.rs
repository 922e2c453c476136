//! The only writer of a tenant's ledger: decides what the plan allows, and has at most one commit in flight, in which
//! all that waited meanwhile goes together.

use std::sync::Arc;

use domain::campaign::PauseReason;
use domain::ids::EventId;
use domain::message::Lane;
use tokio::time::Instant;

use crate::cell::{Behaviour, Fault};
use crate::limits::{EVENTS_PER_COMMIT_MOST, HEAD_FRESH, POISON_TRIES, UNAPPLIED_EVERY};
use crate::metrics::{Cause, Kind};
use crate::ports::{BillingHead, CommitError, Committed, PauseScope};
use crate::tenant::commit::Batch;
use crate::tenant::intake::Intake;
use crate::tenant::ledger_calls::{fault, read_head};
use crate::tenant::proposal::{Proposal, Proposed};
use crate::tenant::receipt::{Item, Receipt};
use crate::tenant::send_queue::SendMessage;
use crate::tenant::sending::abandon;
use crate::tenant::suspects::{Suspect, set_aside};
use crate::tenant::{World, guarded, until_available};

/// What `BillingCounter` is told.
#[derive(Debug)]
pub(crate) enum BillingMessage {
    /// Claim these messages, as far as the plan allows.
    Propose(Proposal),
    /// Apply these stored events.
    Apply {
        events: Vec<EventId>,
        receipt: Option<Arc<Receipt>>,
    },
    /// A call to the ledger ended.
    Ended {
        call: u64,
        result: Result<Committed, CommitError>,
    },
    /// The head was read again after an outage.
    Head {
        call: u64,
        result: Result<BillingHead, CommitError>,
    },
    /// The head was read again before blocking.
    Fresh(Result<BillingHead, CommitError>),
    /// These stored events have not been applied.
    Backlog(Vec<EventId>),
    /// A second has passed.
    Tick,
}

/// The tenant's only writer of its ledger.
pub(crate) struct BillingCounter {
    pub(super) world: Arc<World>,
    pub(super) head: BillingHead,
    pub(super) calls: u64,
    pub(super) intake: Intake,
    pub(super) looked_at: Instant,
    /// The plan allowed less than was asked for: pause once what it allows is claimed.
    pub(super) blocked: bool,
    /// Events were left out of the last commit, for the sake of a single message.
    pub(super) postponed: bool,
    /// When the head was last heard of.
    pub(super) head_at: Instant,
    /// The head is being read before blocking.
    pub(super) refreshing: bool,
}

impl Behaviour for BillingCounter {
    type Message = BillingMessage;
    type Recipe = Arc<World>;
    const KIND: Kind = Kind::BillingCounter;

    async fn recover(world: Arc<World>) -> Result<Self, Fault> {
        let running = world.commit.running();
        // A call of the last incarnation ends first, so that the head tells what became of it.
        let _turn = running.lock().await;
        let head = read_head(&world).await.map_err(fault)?;
        let (ledger, tenant) = (&world.shared.ports.ledger, world.tenant());
        let backlog = until_available(|| ledger.unapplied_events(tenant, EVENTS_PER_COMMIT_MOST)).await;
        let last_call = world.commit.batch().as_ref().map_or(0, |batch| batch.call);
        let mut counter = Self {
            world: world.clone(),
            head,
            calls: last_call,
            intake: Intake::default(),
            looked_at: Instant::now(),
            blocked: false,
            postponed: false,
            head_at: Instant::now(),
            refreshing: false,
        };
        counter.intake.apply(backlog, None);
        counter.resume();
        Ok(counter)
    }

    fn handle(&mut self, message: &mut Option<BillingMessage>) -> Result<(), Fault> {
        match message.take() {
            Some(BillingMessage::Propose(proposal)) => self.intake.propose(proposal),
            Some(BillingMessage::Apply { events, receipt }) => self.intake.apply(events, receipt),
            Some(BillingMessage::Ended { call, result }) if self.waits_for(call) => self.ended(result)?,
            Some(BillingMessage::Head { call, result }) if self.waits_for(call) => {
                self.head_read(result.map_err(fault)?)?;
            }
            Some(BillingMessage::Fresh(result)) => self.refreshed(result.map_err(fault)?),
            Some(BillingMessage::Backlog(events)) => self.intake.apply(events, None),
            Some(BillingMessage::Tick) => self.look_for_events(),
            Some(BillingMessage::Ended { .. } | BillingMessage::Head { .. }) | None => {}
        }
        self.pump();
        Ok(())
    }

    fn bury(world: &Arc<World>, message: BillingMessage, reason: &str) {
        match message {
            BillingMessage::Propose(mut proposal) => {
                let claims = proposal.take(usize::MAX);
                set_aside(world, items(claims), Vec::new(), reason);
            }
            // The events stay stored, and are found again.
            BillingMessage::Apply { receipt, .. } => receipt.iter().for_each(|receipt| receipt.part_done()),
            _ => {}
        }
    }
}

impl BillingCounter {
    fn waits_for(&self, call: u64) -> bool {
        let batch = self.world.commit.batch();
        batch.as_ref().is_some_and(|batch| batch.call == call)
    }

    /// Goes on with what the last incarnation had in flight, or gives it up if it keeps failing.
    fn resume(&mut self) {
        let poison = {
            let mut batch = self.world.commit.batch();
            let Some(waiting) = batch.as_mut() else {
                return;
            };
            waiting.failures += 1;
            waiting.uncertain = true;
            batch.take_if(|batch| batch.failures >= POISON_TRIES)
        };
        let Some(poison) = poison else {
            return self.call();
        };
        tracing::error!(tenant.id = %self.world.tenant(), claims = poison.claims.len(), events = poison.events.len(),
            "giving up a commit that failed too often");
        self.world
            .shared
            .metrics
            .restarted(Kind::BillingCounter, Cause::Poison);
        poison.receipts.iter().for_each(|receipt| receipt.part_done());
        let items = abandon(&self.world, poison.claims);
        set_aside(&self.world, items, poison.events, &poison.error);
    }

    /// Puts all that waits into one commit, unless one is in flight.
    fn pump(&mut self) {
        if self.world.commit.batch().is_some() {
            return;
        }
        let batch = self.next_batch();
        if batch.claims.is_empty() && batch.events.is_empty() {
            return;
        }
        *self.world.commit.batch() = Some(batch);
        self.call();
    }

    /// Takes what goes into one commit; a suspect goes alone, and events let a single message go first, every other time.
    fn next_batch(&mut self) -> Batch {
        let world = self.world.clone();
        let mut claims = Vec::new();
        if !self.intake.begins_with_suspect(&world.suspects) {
            claims = self.next_claims();
        }
        let is_suspect = |claim: &Proposed| world.suspects.holds(Suspect::Message(claim.item.message));
        if claims.first().is_some_and(is_suspect) {
            return Batch::new(claims, Vec::new(), Vec::new());
        }
        let single = claims.iter().any(|claim| claim.item.lane == Lane::Fast);
        self.postponed = single && !self.postponed;
        if self.postponed {
            return Batch::new(claims, Vec::new(), Vec::new());
        }
        let (events, receipts) = self.intake.next_events(&world.suspects);
        Batch::new(claims, events, receipts)
    }

    /// Takes claims as far as the plan allows; the others go back, and the tenant's campaigns pause.
    fn next_claims(&mut self) -> Vec<Proposed> {
        if self.refreshes_first() {
            return Vec::new();
        }
        let mut claims = self.intake.next_claims(&self.world.suspects);
        self.block_beyond_plan(&mut claims);
        claims
    }

    /// Reads the head before an old one is taken as a reason to block: the plan or the period may have changed since.
    fn refreshes_first(&mut self) -> bool {
        if self.intake.wanted() <= room_of(&self.head) || self.head_at.elapsed() < HEAD_FRESH {
            return false;
        }
        if !std::mem::replace(&mut self.refreshing, true) {
            let world = self.world.clone();
            self.world.spawn(async move {
                let result = guarded(read_head(&world)).await;
                let result = result.unwrap_or_else(|panic| Err(CommitError::Broken(panic)));
                world.billing.tell(BillingMessage::Fresh(result));
            });
        }
        true
    }

    fn refreshed(&mut self, head: BillingHead) {
        self.refreshing = false;
        self.head_at = Instant::now();
        // A commit may have overtaken the reading.
        if head.seq >= self.head.seq {
            self.head = head;
        }
    }

    pub(super) fn block_beyond_plan(&mut self, claims: &mut Vec<Proposed>) {
        let room = room_of(&self.head);
        if claims.len() <= room {
            return;
        }
        let blocked = claims.split_off(room);
        self.world.send_queue.tell(SendMessage::Blocked(blocked));
        self.blocked = true;
        if claims.is_empty() {
            self.pause_if_blocked();
        }
    }

    /// Pauses the tenant's campaigns. Not before the last allowed claim is committed, or it would find itself paused.
    pub(super) fn pause_if_blocked(&mut self) {
        if std::mem::take(&mut self.blocked) {
            let evidence = "the plan allows no more units";
            self.world
                .pause(PauseScope::Tenant, PauseReason::PlanBlocked, evidence);
        }
    }

    /// Looks for stored events that nobody applied.
    fn look_for_events(&mut self) {
        if self.looked_at.elapsed() < UNAPPLIED_EVERY || self.intake.has_events() {
            return;
        }
        self.looked_at = Instant::now();
        let (world, ledger) = (self.world.clone(), &self.world.shared.ports.ledger);
        let answer = ledger.unapplied_events(self.world.tenant(), EVENTS_PER_COMMIT_MOST);
        self.world.spawn(async move {
            match answer.await {
                Ok(events) if events.is_empty() => {}
                Ok(events) => world.billing.tell(BillingMessage::Backlog(events)),
                Err(error) => {
                    tracing::warn!(tenant.id = %world.tenant(), %error, "looking for events failed");
                }
            }
        });
    }
}

/// Tells how many more units the plan allows.
fn room_of(head: &BillingHead) -> usize {
    head.limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit - head.held - head.captured).unwrap_or(0)
    })
}

fn items(claims: Vec<Proposed>) -> Vec<Item> {
    claims.into_iter().map(|claim| claim.item).collect()
}
