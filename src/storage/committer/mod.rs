//! The committer: the one writer of decisions and outcomes in this process, for all of its tenants.
//!
//! Two tasks, each with natural group commit: while one transaction is under way the next one gathers. `decisions` claims messages
//! and settles the ledger under each tenant's fence; `outcomes` stores how calls ended, which is never fenced because it
//! is a fact. Works as `app_system`, since one transaction serves many tenants.

mod batch;
mod chain;
mod claims;
pub mod closing;
pub mod correcting;
mod decisions;
mod events;
pub mod expiry;
mod outcomes;
mod period;
mod portfolio;
mod rows;
mod templates;
mod unknown;

use std::sync::Arc;
use std::time::Duration;

use actors::ports::{
    Answer, BillingHead, CommitError, Committed, Ledger, Messages, PauseScope, Poison, Settled,
    SettledUnknown, TenantCommit, Unavailable,
};
use domain::campaign::PauseReason;
use domain::ids::{AttemptId, EventId, MessageId, TenantId};
use domain::partition::Epoch;
use jiff::Timestamp;

use self::batch::Queue;
use super::{Database, StorageError, message_rows};

/// Decisions that one transaction takes at most, in claims and events together.
const DECISIONS_MOST: usize = 1_000;
/// Outcomes that one transaction takes at most.
const OUTCOMES_MOST: usize = 1_000;
/// Proposals that may wait; beyond it their owners wait.
const WAITING_MOST: usize = 4_096;

/// A handle of the committer. Clones share it.
#[derive(Clone)]
pub struct Committer {
    database: Database,
    decisions: Queue<TenantCommit, Result<Committed, CommitError>>,
    outcomes: Queue<Settled, Result<Option<EventId>, Unavailable>>,
}

impl Committer {
    /// Starts the committer's tasks on the present runtime. They end when the last handle is dropped.
    pub fn start(database: Database) -> Self {
        let templates = Arc::new(templates::Templates::default());
        let limited = Arc::new(portfolio::Limited::default());
        let (for_decisions, for_outcomes) = (database.clone(), database.clone());
        Self {
            database,
            decisions: batch::start(WAITING_MOST, DECISIONS_MOST, decision_weight, move |work| {
                decisions::commit(
                    for_decisions.clone(),
                    Arc::clone(&templates),
                    Arc::clone(&limited),
                    work,
                )
            }),
            outcomes: batch::start(
                WAITING_MOST,
                OUTCOMES_MOST,
                |_| 1,
                move |work| outcomes::commit(for_outcomes.clone(), work),
            ),
        }
    }
}

fn decision_weight(work: &TenantCommit) -> usize {
    work.claims.len() + work.events.len()
}

impl Ledger for Committer {
    fn take_over(&self, tenant: TenantId, epoch: Epoch) -> Answer<Result<BillingHead, CommitError>> {
        let database = self.database.clone();
        Box::pin(async move { decisions::take_over(&database, tenant, epoch).await })
    }

    fn commit(&self, work: TenantCommit) -> Answer<Result<Committed, CommitError>> {
        let decisions = self.decisions.clone();
        Box::pin(async move {
            let closed = || Err(CommitError::Unavailable("the committer has stopped".to_owned()));
            decisions.ask(work).await.unwrap_or_else(closed)
        })
    }

    fn unapplied_events(&self, tenant: TenantId, most: usize) -> Answer<Result<Vec<EventId>, Unavailable>> {
        let database = self.database.clone();
        Box::pin(async move { Ok(events::unapplied(&database, tenant, most).await?) })
    }
}

impl Messages for Committer {
    fn settle(&self, settled: Settled) -> Answer<Result<Option<EventId>, Unavailable>> {
        let outcomes = self.outcomes.clone();
        Box::pin(async move {
            let closed = || Err(StorageError::Unavailable("the committer has stopped".to_owned()).into());
            outcomes.ask(settled).await.unwrap_or_else(closed)
        })
    }

    fn give_back(
        &self,
        tenant: TenantId,
        messages: Vec<MessageId>,
        due_at: Timestamp,
    ) -> Answer<Result<(), Unavailable>> {
        let database = self.database.clone();
        Box::pin(async move { Ok(message_rows::give_back(&database, tenant, &messages, due_at).await?) })
    }

    fn bury(&self, poison: Poison) -> Answer<Result<(), Unavailable>> {
        let database = self.database.clone();
        Box::pin(async move { Ok(message_rows::bury(&database, &poison).await?) })
    }

    fn expire_sending(&self, tenant: TenantId, live: Vec<AttemptId>) -> Answer<Result<usize, Unavailable>> {
        let database = self.database.clone();
        Box::pin(async move { Ok(message_rows::expire_sending(&database, tenant, &live).await?) })
    }

    fn settle_unknown(&self, tenant: TenantId, epoch: Epoch) -> Answer<Result<SettledUnknown, Unavailable>> {
        let database = self.database.clone();
        Box::pin(async move { Ok(unknown::settle_due(&database, tenant, epoch).await?) })
    }

    fn pause(
        &self,
        tenant: TenantId,
        scope: PauseScope,
        reason: PauseReason,
        evidence: String,
    ) -> Answer<Result<(), Unavailable>> {
        let database = self.database.clone();
        Box::pin(async move { Ok(message_rows::pause(&database, tenant, scope, reason, &evidence).await?) })
    }
}

/// Converts a length of time for PostgreSQL, which takes seconds.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
