//! The door to an actor: a real bound on what is inside, and an honest look at it: how much, how old, who waits outside.
//!
//! Work from outside is *admitted*: it waits for room. What follows from admitted work (answers, outcomes, timers) is
//! *told*: it needs no room of its own, since admitted work bounds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ids::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::inbox::{Receiver, Sender, inbox};
use crate::metrics::Kind;

/// Bounds and counts what is inside an actor.
#[derive(Debug)]
pub(crate) struct Gate {
    kind: Kind,
    tenant: TenantId,
    most: usize,
    room: Arc<Semaphore>,
    entries: Mutex<Entries>,
}

/// Work that came to the gate and is not over, by its order of coming.
#[derive(Debug, Default)]
struct Entries {
    next: u64,
    since: BTreeMap<u64, Instant>,
    outside: usize,
}

/// Room inside an actor, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _room: OwnedSemaphorePermit,
    _entry: Entry,
}

/// One piece of work at the gate or inside, until it is over or given up.
#[derive(Debug)]
struct Entry {
    gate: Arc<Gate>,
    number: u64,
    outside: bool,
}

/// The actor has retired: ask the registry again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retired;

impl Gate {
    fn new(kind: Kind, tenant: TenantId, most: usize) -> Arc<Self> {
        Arc::new(Self {
            kind,
            tenant,
            most,
            room: Arc::new(Semaphore::new(most)),
            entries: Mutex::default(),
        })
    }

    /// Waits for room for `size` units; what is greater than the whole room takes all of it.
    pub(crate) async fn admit(self: &Arc<Self>, size: usize) -> Result<Permit, Retired> {
        let size = u32::try_from(size.min(self.most)).unwrap_or(u32::MAX);
        let mut entry = Entry::come(self);
        let room = self.room.clone().acquire_many_owned(size).await;
        let room = room.map_err(|_| Retired)?;
        entry.enter();
        Ok(Permit {
            _room: room,
            _entry: entry,
        })
    }

    fn admitted(&self) -> usize {
        if self.room.is_closed() {
            return 0;
        }
        self.most.saturating_sub(self.room.available_permits())
    }

    /// Closes the gate: whoever waits is told to ask the registry again.
    pub(crate) fn close(&self) {
        self.room.close();
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn come(gate: &Arc<Gate>) -> Self {
        let mut entries = gate.entries();
        let number = entries.next;
        entries.next += 1;
        entries.outside += 1;
        entries.since.insert(number, Instant::now());
        Self {
            gate: gate.clone(),
            number,
            outside: true,
        }
    }

    fn enter(&mut self) {
        if std::mem::take(&mut self.outside) {
            self.gate.entries().outside -= 1;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.enter();
        let mut entries = self.gate.entries();
        entries.since.remove(&self.number);
        if entries.since.is_empty() {
            // An emptied map keeps a leaf.
            entries.since = BTreeMap::new();
        }
    }
}

/// What lies in an inbox.
#[derive(Debug)]
pub(crate) enum Parcel<M> {
    /// Work.
    Work(M),
    /// The actor's orders have changed.
    Wake,
}

/// A message on its way, with the time at which it was sent.
#[derive(Debug)]
pub(crate) struct Env<M> {
    /// The message, until the behaviour takes it.
    pub(crate) message: Option<M>,
    /// When it was sent.
    pub(crate) sent_at: Instant,
    /// How often handling it failed.
    pub(crate) tries: u32,
}

/// The sending end of an actor's inbox.
#[derive(Debug)]
pub(crate) struct Port<M> {
    gate: Arc<Gate>,
    inbox: Sender<Parcel<M>>,
}

impl<M> Clone for Port<M> {
    fn clone(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            inbox: self.inbox.clone(),
        }
    }
}

impl<M> Port<M> {
    /// Makes a gate with its inbox. `most` is the room for admitted units.
    pub(crate) fn open(kind: Kind, tenant: TenantId, most: usize) -> (Self, Receiver<Parcel<M>>) {
        let (inbox, parcels) = inbox();
        let gate = Gate::new(kind, tenant, most);
        (Self { gate, inbox }, parcels)
    }

    /// Gives the gate.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Sends a message that follows from admitted work, or carries its permit. Dropped if the actor is gone.
    pub(crate) fn tell(&self, message: M) {
        self.inbox.send(Parcel::Work(message));
    }

    /// Makes the actor look at its orders.
    pub(crate) fn wake(&self) {
        self.inbox.send(Parcel::Wake);
    }

    /// Tells how much is inside: admitted units and messages in the mailbox.
    pub(crate) fn depth(&self) -> usize {
        self.gate.admitted() + self.inbox.len()
    }

    /// Looks at the actor from outside.
    pub(crate) fn look(&self) -> Sight {
        let (outside, first) = {
            let entries = self.gate.entries();
            (entries.outside, entries.since.values().next().copied())
        };
        Sight {
            kind: self.gate.kind,
            tenant: self.gate.tenant,
            depth: self.depth(),
            outside,
            oldest: first.into_iter().chain(self.inbox.oldest()).min(),
        }
    }

    /// Closes the gate if nothing is inside, in one step, so that nobody slips in between.
    pub(crate) fn retire_if_idle(&self) -> bool {
        if self.inbox.len() > 0 {
            return false;
        }
        let gate = &self.gate;
        let all = u32::try_from(gate.most).unwrap_or(u32::MAX);
        let Ok(room) = gate.room.try_acquire_many(all) else {
            return false;
        };
        room.forget();
        gate.room.close();
        true
    }
}

/// What can be seen of an actor from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Which child.
    pub(crate) kind: Kind,
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Admitted units and messages in the mailbox.
    pub(crate) depth: usize,
    /// Deliveries that wait at the gate.
    pub(crate) outside: usize,
    /// Since when the oldest waits: outside, inside or in the mailbox.
    pub(crate) oldest: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;
    use uuid::Uuid;

    use super::*;

    fn open(most: usize) -> (Port<u32>, Receiver<Parcel<u32>>) {
        Port::open(Kind::SendQueue, TenantId(Uuid::nil()), most)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_gate_lets_nobody_in_until_there_is_room() {
        let (port, _inbox) = open(10);
        let gate = port.gate();
        let first = gate.admit(8).await.expect("room");
        let waits = tokio::time::timeout(Duration::from_secs(1), gate.admit(5)).await;
        assert!(waits.is_err(), "five more must not fit");
        drop(first);
        let all = gate.admit(1_000).await.expect("a large delivery takes all");
        assert_eq!(port.depth(), 10);
        drop(all);
        assert_eq!(port.depth(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_seen_and_the_oldest_counts() {
        let (port, mut inbox) = open(10);
        let inside = port.gate().admit(10).await.expect("room");
        let gate = port.gate().clone();
        let waits = tokio::spawn(async move { gate.admit(1).await });
        tokio::time::sleep(Duration::from_secs(4)).await;
        port.tell(1);
        let sight = port.look();
        assert_eq!((sight.depth, sight.outside), (11, 1));
        assert_eq!(sight.oldest.map(|since| since.elapsed().as_secs()), Some(4));
        drop(inside);
        let second = waits.await.expect("no panic").expect("room");
        assert_eq!(port.look().outside, 0);
        drop(second);
        assert!(inbox.next().await.is_some());
        assert_eq!(port.look().oldest, None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_is_seen_no_more() {
        let (port, _inbox) = open(1);
        let _inside = port.gate().admit(1).await.expect("room");
        let waits = tokio::time::timeout(Duration::from_secs(1), port.gate().admit(1)).await;
        assert!(waits.is_err());
        assert_eq!(port.look().outside, 0);
    }

    #[tokio::test]
    async fn only_an_idle_gate_retires() {
        let (port, mut inbox) = open(10);
        port.tell(1);
        assert!(!port.retire_if_idle());
        assert!(inbox.next().await.is_some());
        assert!(port.retire_if_idle());
        assert_eq!(port.gate().admit(1).await.err(), Some(Retired));
    }
}
