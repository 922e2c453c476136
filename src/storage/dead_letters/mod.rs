//! What gave up, in one place: dead messages, events set aside, deliveries that nobody can read. Listed, replayed, purged, with
//! a record of who did what.

mod acting;
mod kept;
mod reading;
mod watching;

pub use acting::{act, tenants_with_dead, weigh};
pub use kept::{Kept, keep, open_kept, resolve_kept};
pub use reading::{Letter, PastAction, actions_on, find, list};
pub use watching::{Arrivals, OpenLetters, arrivals, open_letters};

use domain::dead_letter::LetterKind;
use domain::ids::{CampaignId, TenantId};
use domain::meta_error::ErrorClass;
use uuid::Uuid;

use super::{Connection, StorageError};

/// How many letters one transaction moves.
const CHUNK: i64 = 2_000;

/// Which letters are meant.
#[derive(Clone, Debug, Default)]
pub struct LetterFilter {
    /// Of this tenant only; for operators none means all, and letters of nobody as well.
    pub tenant: Option<TenantId>,
    /// Of this campaign only.
    pub campaign: Option<CampaignId>,
    /// These only.
    pub ids: Option<Vec<Uuid>>,
    /// With a last error of this class only.
    pub class: Option<ErrorClass>,
    /// Of this kind only.
    pub kind: Option<LetterKind>,
}

/// What to do with letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try again: messages are planned anew with all attempts before them, events are applied, deliveries delivered.
    Replay {
        /// Also those for which it is not safe.
        force: bool,
    },
    /// Give up for good: messages become `failed`, the others stay where they are.
    Purge,
}

impl Action {
    /// Gives its name in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay { .. } => "replay",
            Self::Purge => "purge",
        }
    }
}

/// An action with what the record keeps of it.
#[derive(Clone, Debug)]
pub struct Order {
    /// The same for all its transactions.
    pub operation: Uuid,
    /// What to do.
    pub action: Action,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What was done, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Letters that moved.
    pub moved: i64,
    /// Letters that stay because a replay of them is not safe.
    pub unsafe_to_replay: i64,
    /// Letters that stay because their campaign was cancelled.
    pub campaign_cancelled: i64,
    /// Letters that somebody else moved meanwhile.
    pub gone: i64,
}

impl Done {
    /// Adds up.
    pub fn add(&mut self, other: Self) {
        self.moved += other.moved;
        self.unsafe_to_replay += other.unsafe_to_replay;
        self.campaign_cancelled += other.campaign_cancelled;
        self.gone += other.gone;
    }

    /// Gives how many letters stayed.
    pub const fn skipped(&self) -> i64 {
        self.unsafe_to_replay + self.campaign_cancelled + self.gone
    }
}

/// Records what one transaction did. A transaction that moved nothing leaves no record.
async fn record(
    connection: &mut Connection,
    tenant: Option<TenantId>,
    order: &Order,
    letters: &[Uuid],
    skipped: i64,
) -> Result<(), StorageError> {
    if letters.is_empty() {
        return Ok(());
    }
    let skipped = i32::try_from(skipped).map_err(StorageError::nonsense)?;
    let forced = order.action == Action::Replay { force: true };
    connection
        .execute(
            "INSERT INTO dead_letter_actions (id, operation_id, tenant_id, action, requested_by, reason, forced, letters, skipped)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                &Uuid::now_v7(),
                &order.operation,
                &tenant.map(|tenant| tenant.0),
                &order.action.as_str(),
                &order.by,
                &order.reason,
                &forced,
                &letters,
                &skipped,
            ],
        )
        .await?;
    Ok(())
}
