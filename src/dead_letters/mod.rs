//! Dead letters as a whole: what is replayed or purged may be a message, an event or a delivery of the broker. Used by the
//! tenants' API for their own, and by operators for all.

mod metrics;

pub use metrics::{Metrics, watch};

use std::collections::BTreeMap;

use domain::dead_letter::{LetterKind, Replay, replay_of};
use domain::ids::TenantId;
use uuid::Uuid;

use crate::broker::{Broker, BrokerError};
use crate::storage::dead_letters::{self as letters, Action, Done, Kept, LetterFilter, Order};
use crate::storage::{Database, StorageError};

/// Why not all was done. What was moved until then stays moved, and doing it again is safe.
#[derive(Debug, thiserror::Error)]
pub enum ActionFailed {
    /// The database did not do its part.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The broker did not take a delivery back.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Tells what [`act`] would do now, and does nothing.
///
/// # Errors
/// What the database says.
pub async fn weigh(database: &Database, filter: &LetterFilter, action: Action) -> Result<Done, StorageError> {
    let mut sum = Done::default();
    for tenant in tenants(database, filter).await? {
        sum.add(letters::weigh(database, tenant, filter, action).await?);
    }
    let mut after = Uuid::nil();
    loop {
        let found = letters::open_kept(database, filter, after).await?;
        let Some(last) = found.last() else { return Ok(sum) };
        after = last.id;
        let (chosen, done) = choose(found, action);
        sum.add(done);
        sum.moved += count(&chosen);
    }
}

/// Replays or purges all letters that a filter means, in chunks. Safe to repeat and to interrupt. Tells `progress` what was done
/// so far. Without a broker, its deliveries are left out.
///
/// # Errors
/// When a dependency is away; what was moved until then stays moved.
pub async fn act(
    database: &Database,
    broker: Option<&Broker>,
    filter: &LetterFilter,
    order: &Order,
    progress: &mut (dyn FnMut(&Done) + Send),
) -> Result<Done, ActionFailed> {
    let mut sum = Done::default();
    for tenant in tenants(database, filter).await? {
        let before = sum;
        let mut whole = |done: &Done| {
            let mut so_far = before;
            so_far.add(*done);
            progress(&so_far);
        };
        sum.add(letters::act(database, tenant, filter, order, &mut whole).await?);
    }
    let mut after = Uuid::nil();
    loop {
        let found = letters::open_kept(database, filter, after).await?;
        let Some(last) = found.last() else { return Ok(sum) };
        after = last.id;
        let (chosen, done) = choose(found, order.action);
        sum.add(done);
        sum.add(act_on_kept(database, broker, chosen, order).await?);
        progress(&sum);
    }
}

async fn tenants(database: &Database, filter: &LetterFilter) -> Result<Vec<TenantId>, StorageError> {
    match filter.tenant {
        Some(tenant) => Ok(vec![tenant]),
        None => letters::tenants_with_dead(database).await,
    }
}

fn choose(found: Vec<Kept>, action: Action) -> (Vec<Kept>, Done) {
    let mut done = Done::default();
    let chosen = found
        .into_iter()
        .filter(|kept| {
            let may = action != Action::Replay { force: false } || replay_of(kept.kind, None) == Replay::Safe;
            done.unsafe_to_replay += i64::from(!may);
            may
        })
        .collect();
    (chosen, done)
}

/// A delivery goes back to its queue before its letter is closed: should this process end in between, it goes there twice, which
/// is harmless, since it is only a hint.
async fn act_on_kept(
    database: &Database,
    broker: Option<&Broker>,
    mut chosen: Vec<Kept>,
    order: &Order,
) -> Result<Done, ActionFailed> {
    let is_delivery = |kept: &Kept| kept.kind != LetterKind::Poison;
    if matches!(order.action, Action::Replay { .. }) {
        match broker {
            Some(broker) => {
                let deliveries = chosen.iter().filter(|kept| is_delivery(kept));
                let deliveries = deliveries.map(|kept| (kept.queue.as_str(), kept.payload.as_slice()));
                broker.deliver_again(deliveries.collect()).await?;
            }
            None => chosen.retain(|kept| !is_delivery(kept)),
        }
    }
    let mut by_tenant: BTreeMap<Option<TenantId>, Vec<Uuid>> = BTreeMap::new();
    for kept in &chosen {
        by_tenant.entry(kept.tenant).or_default().push(kept.id);
    }
    let mut moved = 0;
    for (tenant, ids) in by_tenant {
        moved += letters::resolve_kept(database, tenant, &ids, order).await?;
    }
    Ok(Done {
        moved,
        gone: count(&chosen) - moved,
        ..Done::default()
    })
}

fn count(kept: &[Kept]) -> i64 {
    i64::try_from(kept.len()).unwrap_or(i64::MAX)
}
