//! One partition: become its owner, hand its deliveries to the actors, acknowledge what is durable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors::tenants::{Delivered, Work};
use domain::dead_letter::LetterKind;
use domain::ids::{EventId, MessageId, TenantId};
use domain::message::Lane;
use domain::partition::{Epoch, Partition};
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Consumers, REOPEN_AFTER};
use crate::broker::{EVENTS_MOST, Envelope, Intake, Note, Received};
use crate::storage::ownership;

/// Deliveries of one tenant that may be unacknowledged at once: a quarter of the prefetch.
const OF_ONE_TENANT: usize = 64;
/// Further ones that only single messages may take: they never wait for a place behind a campaign or its statuses.
const FOR_SINGLE_MESSAGES: usize = 16;
/// How much later a message is due that found its tenant's quarter full.
const CROWDED_FOR: SignedDuration = SignedDuration::from_secs(1);

/// How long a node lets the one that should have a partition go first.
const AFTER_YOU: Duration = Duration::from_secs(2);
/// By how much that wait varies, so that the others do not come all at once.
const AFTER_YOU_VARIES_MS: u64 = 1_000;
/// Heartbeats in a row at which another node should have the partition before it is handed over: who comes and goes moves nothing.
const SURE_AFTER: u32 = 3;

/// Events of a crowded tenant that are kept in mind until a place is free; beyond it they stay unapplied and are published again.
const OVERFLOW_MOST: usize = 10_000;

/// What each tenant has at work, and the events that wait for a place.
type AtWork = Arc<Mutex<HashMap<TenantId, OfTenant>>>;

#[derive(Default)]
struct OfTenant {
    deliveries: usize,
    overflow: Vec<EventId>,
    /// When those happened, as far as it is known.
    happened: Vec<Timestamp>,
}

/// Consumes a partition until `stop`; opens it again whenever it is lost.
pub(super) async fn consume(
    consumers: Consumers,
    partition: Partition,
    lost: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut wait = Duration::ZERO;
    loop {
        if !consumers.membership.is_preferred(partition) {
            wait += AFTER_YOU + Duration::from_millis(rand::random_range(0..AFTER_YOU_VARIES_MS));
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        match consumers.inbox.open(partition).await {
            Ok(intake) => {
                let in_line = consumers.membership.stand_in_line(partition);
                consumers.metrics.in_line(1);
                hold(&consumers, partition, intake, &lost, &stop).await;
                consumers.metrics.in_line(-1);
                drop(in_line);
            }
            Err(error) => tracing::warn!(partition = partition.0, %error, "the inbox does not open"),
        }
        wait = REOPEN_AFTER;
    }
}

/// Waits until another node should have the partition, stands in line for it and has done so for a while.
async fn heir_is_waiting(consumers: &Consumers, partition: Partition) {
    let (mut beats, mut sure) = (consumers.membership.beats(), 0);
    while beats.changed().await.is_ok() {
        sure = if consumers.membership.has_heir(partition) {
            sure + 1
        } else {
            0
        };
        if sure >= SURE_AFTER {
            return;
        }
    }
    // The membership is gone with the process.
    std::future::pending().await
}

async fn hold(
    consumers: &Consumers,
    partition: Partition,
    mut intake: Intake,
    lost: &Notify,
    stop: &CancellationToken,
) {
    let mut epoch: Option<Epoch> = None;
    let at_work = AtWork::default();
    // What was lost before is not lost again.
    let _ = lost.notified().now_or_never();
    let heir = heir_is_waiting(consumers, partition);
    tokio::pin!(heir);
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            () = lost.notified() => break,
            () = &mut heir, if epoch.is_some() => {
                tracing::info!(partition = partition.0, "handing the partition over to the node that should have it");
                consumers.metrics.rebalanced();
                break;
            }
            received = intake.next() => received,
        };
        let Some(received) = received else { break };
        if epoch.is_none() {
            match become_owner(consumers, partition, &intake).await {
                Ok(taken) => epoch = Some(taken),
                Err(error) => {
                    tracing::warn!(partition = partition.0, %error, "the partition was not claimed");
                    break;
                }
            }
        }
        tokio::spawn(handle(consumers.clone(), partition, received, at_work.clone()));
    }
    let begun = Instant::now();
    if epoch.is_some() {
        consumers.tenants.revoke(partition, consumers.drain).await;
    }
    intake.close().await;
    if epoch.is_some() {
        consumers.metrics.handed_over(begun.elapsed());
    }
}

async fn become_owner(consumers: &Consumers, partition: Partition, intake: &Intake) -> anyhow::Result<Epoch> {
    let begun = Instant::now();
    intake.round_trip().await?;
    let epoch = ownership::claim(&consumers.database, partition, consumers.membership.name()).await?;
    consumers.tenants.grant(partition, epoch);
    consumers.metrics.owned(begun.elapsed());
    tracing::debug!(partition = partition.0, epoch = epoch.0, "owns the partition");
    Ok(epoch)
}

async fn handle(consumers: Consumers, partition: Partition, received: Received, at_work: AtWork) {
    let note = received.note();
    let (tenant, work) = match received.envelope() {
        Ok(Envelope::Send {
            tenant,
            sender,
            lane,
            campaign,
            messages,
        }) => (
            tenant,
            Work::Send {
                sender,
                lane,
                campaign,
                due: note.oldest(),
                messages,
            },
        ),
        Ok(Envelope::Events { tenant, events }) => (tenant, Work::Events(events)),
        Ok(Envelope::Tick) => {
            consumers.tenants.tick(partition).await;
            return received.acknowledge().await;
        }
        Err(error) => {
            let error = error.to_string();
            if super::dead::keep(&consumers, &received, LetterKind::Undecodable, &error).await {
                received.acknowledge().await;
            }
            return;
        }
    };
    follow(&note, tenant, "is taken");
    let Some(place) = Place::take(&at_work, tenant, places_for(&work)) else {
        match work {
            Work::Send { messages, .. } => give_back(&consumers, tenant, messages).await,
            Work::Events(events) => remember(&at_work, tenant, events, note.since),
        }
        return received.acknowledge().await;
    };
    let is_events = matches!(work, Work::Events(_));
    match consumers.tenants.deliver(partition, tenant, work).await {
        Ok(delivered) => {
            if is_events && delivered == Delivered::Done {
                consumers.metrics.settled(&note.since);
            }
            follow(&note, tenant, "is settled");
            received.acknowledge().await;
        }
        Err(error) => {
            tracing::debug!(%tenant, %error, "a delivery is left to the partition's next owner");
            return;
        }
    }
    while let Some((events, happened)) = place.overflow() {
        let work = Work::Events(events);
        match consumers.tenants.deliver(partition, tenant, work).await {
            Ok(Delivered::Done) => consumers.metrics.settled(&happened),
            Ok(Delivered::Left) => {}
            Err(_) => return,
        }
    }
}

/// Says what becomes of a delivery, to whoever follows a message: docs/logging.md.
fn follow(note: &Note, tenant: TenantId, step: &'static str) {
    if let Some(trace) = note.trace {
        tracing::debug!(target: "journey", { trace.id = %trace.simple(), tenant.id = %tenant, step }, "a delivery");
    }
}

/// Keeps events in mind for whoever of their tenant is done first. They are stored: forgetting them only delays them.
fn remember(at_work: &AtWork, tenant: TenantId, events: Vec<EventId>, happened: Vec<Timestamp>) {
    let mut tenants = at_work.lock().unwrap_or_else(PoisonError::into_inner);
    let of_tenant = tenants.entry(tenant).or_default();
    if of_tenant.overflow.len() + events.len() <= OVERFLOW_MOST {
        of_tenant.overflow.extend(events);
        of_tenant.happened.extend(happened);
    }
}

/// The rows stay; what is not given back here is given back by the planner.
async fn give_back(consumers: &Consumers, tenant: TenantId, messages: Vec<MessageId>) {
    let due_at = Timestamp::now() + CROWDED_FOR;
    if let Err(error) = consumers.messages.give_back(tenant, messages, due_at).await {
        tracing::debug!(%tenant, %error, "messages were not given back; the planner will");
    }
}

/// Tells how many places of its tenant may be taken for this work to find one.
const fn places_for(work: &Work) -> usize {
    match work {
        Work::Send { lane: Lane::Fast, .. } => OF_ONE_TENANT + FOR_SINGLE_MESSAGES,
        _ => OF_ONE_TENANT,
    }
}

/// A tenant's place among those at work, freed when dropped.
struct Place {
    at_work: AtWork,
    tenant: TenantId,
}

impl Place {
    fn take(at_work: &AtWork, tenant: TenantId, most: usize) -> Option<Self> {
        let mut tenants = at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = tenants.entry(tenant).or_default();
        if of_tenant.deliveries >= most {
            return None;
        }
        of_tenant.deliveries += 1;
        Some(Self {
            at_work: Arc::clone(at_work),
            tenant,
        })
    }

    /// Gives events that found no place, as many as one delivery may name, and when as many happened.
    fn overflow(&self) -> Option<(Vec<EventId>, Vec<Timestamp>)> {
        let mut tenants = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = tenants.get_mut(&self.tenant)?;
        let from = of_tenant.overflow.len().saturating_sub(EVENTS_MOST);
        let events = of_tenant.overflow.split_off(from);
        let from = of_tenant.happened.len().saturating_sub(events.len());
        let happened = of_tenant.happened.split_off(from);
        (!events.is_empty()).then_some((events, happened))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tenants = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_tenant) = tenants.get_mut(&self.tenant) {
            of_tenant.deliveries -= 1;
            if of_tenant.deliveries == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_tenant_has_a_quarter_and_its_events_wait_for_a_place() {
        let (at_work, tenant) = (AtWork::default(), TenantId(Uuid::now_v7()));
        let mut places: Vec<Place> =
            std::iter::from_fn(|| Place::take(&at_work, tenant, OF_ONE_TENANT)).collect();
        assert_eq!(places.len(), OF_ONE_TENANT);
        let (sender, messages) = (domain::ids::SenderId(Uuid::now_v7()), Vec::new());
        let (lane, campaign, due) = (Lane::Fast, None, None);
        let single = Work::Send {
            sender,
            lane,
            campaign,
            due,
            messages,
        };
        assert!(
            Place::take(&at_work, tenant, places_for(&single)).is_some(),
            "a single message finds a place all the same"
        );
        assert!(
            Place::take(&at_work, TenantId(Uuid::now_v7()), OF_ONE_TENANT).is_some(),
            "a neighbour has its own"
        );
        let events: Vec<EventId> = (0..EVENTS_MOST + 1).map(|_| EventId(Uuid::now_v7())).collect();
        let happened = vec![Timestamp::now(); EVENTS_MOST];
        remember(&at_work, tenant, events, happened);
        let place = places.pop().unwrap();
        let taken = || {
            let taken = place.overflow();
            taken.map(|(events, happened)| (events.len(), happened.len()))
        };
        assert_eq!(taken(), Some((EVENTS_MOST, EVENTS_MOST)));
        assert_eq!(taken(), Some((1, 0)), "of one it was not known when it happened");
        assert!(place.overflow().is_none());
        drop((place, places));
        assert!(at_work.lock().unwrap().is_empty());
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded() {
        let (at_work, tenant) = (AtWork::default(), TenantId(Uuid::now_v7()));
        let _place = Place::take(&at_work, tenant, OF_ONE_TENANT);
        for _ in 0..OVERFLOW_MOST + 5 {
            let (event, happened) = (EventId(Uuid::now_v7()), Timestamp::now());
            remember(&at_work, tenant, vec![event], vec![happened]);
        }
        let kept = &at_work.lock().unwrap()[&tenant];
        assert_eq!(
            (kept.overflow.len(), kept.happened.len()),
            (OVERFLOW_MOST, OVERFLOW_MOST)
        );
    }
}
