//! The handle others hold: hands work to the tenants of the partitions that this node owns.

use std::collections::hash_map::Entry as Slot;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix_rt::ArbiterHandle;
use domain::ids::{CampaignId, EventId, MessageId, SenderId, TenantId};
use domain::message::Lane;
use domain::partition::{Epoch, Partition};
use domain::retry::HELD_DELAY;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use crate::gate::Retired;
use crate::limits::{
    DELIVER_LONGEST, EVENTS_PER_COMMIT_MOST, FAST_ROOM, GIVE_BACK_DELAY, REDELIVERIES_MOST, SEND_QUEUE_MOST,
};
use crate::metrics::{Cause, Kind};
use crate::partition::OwnedPartition;
use crate::ports::{QuarantineRow, Unavailable};
use crate::registry::{Door, Registry, stop_all};
use crate::tenant::billing_counter::BillingMessage;
use crate::tenant::receipt::Receipt;
use crate::tenant::send_queue::SendMessage;
use crate::tenant::supervisor::{Standing, TenantHandle};
use crate::tenant::{Notice, Shared, World, give_back};

/// Work for one tenant, as a delivery brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Send these messages, all of one number.
    Send {
        /// The number they leave from.
        sender: SenderId,
        /// The queue they wait in.
        lane: Lane,
        /// Their campaign, if they are of one: campaigns take turns at a number.
        campaign: Option<CampaignId>,
        /// Since when they are due, if that is known.
        due: Option<Timestamp>,
        /// The messages, expected to be `queued`.
        messages: Vec<MessageId>,
    },
    /// Apply these stored events.
    Events(Vec<EventId>),
}

/// What became of work that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Its effect is durable, or was refused.
    Done,
    /// It is left to its rows for later.
    Left,
}

/// Why work was not taken. Whoever delivered it keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// This node does not own the partition, or is handing it over.
    #[error("the partition is not owned by this node")]
    NotOwner,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// How a tenant on this node fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantState {
    /// Its actors work.
    Active,
    /// At least one of its actors is recovering.
    Restarting,
    /// At least one of its actors failed too often and waits for a decision.
    Parked,
}

/// One tenant on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantStatus {
    /// Which tenant.
    pub tenant: TenantId,
    /// Its partition.
    pub partition: Partition,
    /// How it fares.
    pub state: TenantState,
    /// How much is inside its actors.
    pub depth: usize,
}

/// The tenants of this node. Cheap to clone.
#[derive(Clone)]
pub struct Tenants(Arc<Registry>);

impl Tenants {
    pub(crate) fn new(shared: Arc<Shared>, arbiters: Vec<ArbiterHandle>) -> Self {
        Self(Arc::new(Registry::new(shared, arbiters)))
    }

    /// This node owns the partition from now on. Tenants of an earlier epoch are stopped.
    pub fn grant(&self, partition: Partition, epoch: Epoch) {
        let mut partitions = self.0.partitions();
        let known = partitions.get(&partition);
        if known.is_some_and(|known| known.epoch > epoch || (known.epoch == epoch && !known.frozen)) {
            return;
        }
        let before = partitions.insert(partition, OwnedPartition::new(epoch));
        self.0.shared.metrics.partitions_now(partitions.len());
        drop(partitions);
        before.iter().for_each(stop_all);
    }

    /// Gives the partition up: starts nothing any more, waits for what is in flight, and forgets its tenants.
    pub async fn revoke(&self, partition: Partition, within: Duration) {
        let handles = self.0.freeze(|known| known == partition);
        drain(&handles, within).await;
        let mut partitions = self.0.partitions();
        let before = match partitions.entry(partition) {
            Slot::Occupied(slot) if slot.get().frozen => Some(slot.remove()),
            _ => None,
        };
        self.0.shared.metrics.partitions_now(partitions.len());
        drop(partitions);
        before.iter().for_each(stop_all);
    }

    /// A later owner than this node has the partition: its tenants here are stopped at once, as when one of them finds its epoch gone.
    pub fn superseded(&self, partition: Partition, by: Epoch) {
        self.0.superseded(partition, by);
    }

    /// Tells for how long Meta is left alone, while this node finds it down.
    pub fn outage(&self) -> Option<Duration> {
        self.0.shared.health.outage()
    }

    /// Tells of each partition from now on that a later owner has taken over. Its tenants are stopped by then.
    pub fn on_revoked(&self) -> UnboundedReceiver<Partition> {
        let (sender, receiver) = unbounded_channel();
        let mut revoked = self.0.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.push(sender);
        receiver
    }

    /// Hands work to its tenant. Resolves when its effect is durable, refused, or left to the rows for later: then the
    /// delivery is over.
    ///
    /// # Errors
    /// Nothing happened, or what happened will be found stale when the work is delivered to its owner.
    pub async fn deliver(
        &self,
        partition: Partition,
        tenant: TenantId,
        work: Work,
    ) -> Result<Delivered, DeliverError> {
        match timeout(DELIVER_LONGEST, self.hand_in(partition, tenant, &work)).await {
            Ok(delivered) => delivered,
            Err(_) => {
                self.leave(tenant, work, GIVE_BACK_DELAY).await;
                Ok(Delivered::Left)
            }
        }
    }

    /// Runs what is due in the partition's tenants. To be called once a second.
    pub async fn tick(&self, partition: Partition) {
        let mut retired = Vec::new();
        let mut ticked = Vec::new();
        {
            let mut partitions = self.0.partitions();
            if let Some(owned) = partitions.get_mut(&partition) {
                owned.forget();
                let longest = self.0.shared.settings.passivate_after;
                retired.extend(
                    owned
                        .tenants
                        .extract_if(|_, handle| handle.retire_if_idle(longest)),
                );
                ticked.extend(owned.tenants.values().cloned());
            }
            self.0.count(&partitions);
        }
        retired.iter().for_each(|(_, handle)| handle.stop());
        ticked.iter().for_each(|handle| handle.tick());
        let inner = self.0.clone();
        drop(
            self.0
                .shared
                .runtime
                .spawn(async move { inner.look_if_due().await }),
        );
    }

    /// Reads the rows of quarantines now: what they say counts here from then on. It does within a second anyway.
    ///
    /// # Errors
    /// The rows could not be read; nothing is changed here.
    pub async fn look_at_quarantines(&self) -> Result<(), Unavailable> {
        self.0.look().await
    }

    /// Tells how long nothing was heard of the most silent thread of actors; see [`crate::limits::SILENT_NOT_READY`].
    pub fn silent_for(&self) -> Duration {
        self.0.shared.silence.lasts()
    }

    /// Gives the tenants of this node's partitions that are in quarantine, as far as it knows.
    pub fn quarantined(&self) -> Vec<QuarantineRow> {
        let partitions = self.0.partitions();
        let quarantines = self.0.quarantines();
        let held = quarantines.of(|partition| partitions.contains_key(&partition));
        held.into_iter().cloned().collect()
    }

    /// Gives all tenants that have actors here.
    pub fn status(&self) -> Vec<TenantStatus> {
        let partitions = self.0.partitions();
        let tenants = partitions
            .iter()
            .flat_map(|(partition, owned)| owned.tenants.iter().map(|known| (*partition, known)));
        tenants
            .map(|(partition, (tenant, handle))| status_of(partition, *tenant, handle))
            .collect()
    }

    /// Gives what may be made to go wrong on this node.
    #[cfg(feature = "fault-injection")]
    pub fn faults(&self) -> crate::faults::Faults {
        self.0.shared.faults.clone()
    }

    /// Works off what tenants tell their node, until the node is gone.
    pub(crate) fn attend(
        &self,
        mut noticed: UnboundedReceiver<Notice>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let inner = Arc::downgrade(&self.0);
        async move {
            while let Some(notice) = noticed.recv().await {
                let Some(inner) = inner.upgrade() else {
                    return;
                };
                inner.attend_to(notice);
            }
        }
    }

    /// Stops all; gives the number of attempts whose outcome was not stored in time.
    pub(crate) async fn stop(&self, within: Duration) -> usize {
        self.0.stopping.store(true, Ordering::Release);
        let handles = self.0.freeze(|_| true);
        drain(&handles, within).await;
        let partitions = std::mem::take(&mut *self.0.partitions());
        partitions.values().for_each(stop_all);
        self.0.shared.metrics.partitions_now(0);
        handles.iter().map(|handle| handle.world.live.count()).sum()
    }

    async fn hand_in(
        &self,
        partition: Partition,
        tenant: TenantId,
        work: &Work,
    ) -> Result<Delivered, DeliverError> {
        self.0.look_first(partition).await;
        let mut losses = 0;
        loop {
            let handle = match self.0.door(partition, tenant)? {
                Door::Open(handle) => handle,
                Door::Quarantined => {
                    self.leave(tenant, work.clone(), HELD_DELAY).await;
                    return Ok(Delivered::Left);
                }
            };
            let Ok(promise) = put_in(&handle, work).await else {
                continue;
            };
            if promise.await.is_ok() {
                return Ok(Delivered::Done);
            }
            losses += 1;
            if losses >= REDELIVERIES_MOST {
                self.0.shared.metrics.restarted(kind_of(work), Cause::Poison);
                self.leave(tenant, work.clone(), HELD_DELAY).await;
                return Ok(Delivered::Left);
            }
        }
    }

    /// Leaves work to its rows: messages go back to `planned`, events stay unapplied and are found again.
    async fn leave(&self, tenant: TenantId, work: Work, wait: Duration) {
        if let Work::Send { messages, .. } = work {
            give_back(self.0.shared.clone(), tenant, messages, wait).await;
        }
    }
}

/// Waits for room in front of the tenant and puts the work in.
async fn put_in(handle: &TenantHandle, work: &Work) -> Result<oneshot::Receiver<()>, Retired> {
    let world = &handle.world;
    match work {
        Work::Send {
            sender,
            lane,
            campaign,
            due,
            messages,
        } => {
            let bulk = match lane {
                Lane::Fast => None,
                Lane::Bulk => Some(bulk_room(world, messages.len()).await?),
            };
            let permit = world.send_queue.gate().admit(messages.len()).await?;
            let (receipt, promise) = Receipt::new(messages.len(), permit, bulk, *due);
            if messages.is_empty() {
                receipt.part_done();
            }
            world.send_queue.tell(SendMessage::Deliver {
                sender: *sender,
                lane: *lane,
                campaign: *campaign,
                messages: messages.clone(),
                receipt,
            });
            Ok(promise)
        }
        Work::Events(events) => {
            let permit = world.billing.gate().admit(events.len()).await?;
            let parts = events.chunks(EVENTS_PER_COMMIT_MOST);
            let (receipt, promise) = Receipt::new(parts.len(), permit, None, None);
            if events.is_empty() {
                receipt.part_done();
            }
            for events in parts {
                world.billing.tell(BillingMessage::Apply {
                    events: events.to_vec(),
                    receipt: Some(receipt.clone()),
                });
            }
            Ok(promise)
        }
    }
}

/// Waits for room for a campaign's messages.
async fn bulk_room(world: &World, messages: usize) -> Result<OwnedSemaphorePermit, Retired> {
    let size = u32::try_from(messages.min(SEND_QUEUE_MOST - FAST_ROOM)).unwrap_or(u32::MAX);
    let room = world.bulk_room.clone().acquire_many_owned(size).await;
    room.map_err(|_| Retired)
}

async fn drain(handles: &[Arc<TenantHandle>], within: Duration) {
    let drained = join_all(handles.iter().map(|handle| handle.world.live.drained()));
    if timeout(within, drained).await.is_err() {
        tracing::warn!("attempts were left in flight");
    }
}

fn status_of(partition: Partition, tenant: TenantId, handle: &TenantHandle) -> TenantStatus {
    TenantStatus {
        tenant,
        partition,
        state: match handle.standing() {
            Standing::Working => TenantState::Active,
            Standing::Restarting => TenantState::Restarting,
            Standing::Parked => TenantState::Parked,
        },
        depth: handle.depth(),
    }
}

const fn kind_of(work: &Work) -> Kind {
    match work {
        Work::Send { .. } => Kind::SendQueue,
        Work::Events(_) => Kind::BillingCounter,
    }
}
