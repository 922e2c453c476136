//! The door to an actor: a real bound on what is inside, an honest depth, and the inbox that outlives the actor's
//! incarnations.
//!
//! Work from outside is *admitted*: it waits for room. What follows from admitted work (answers, outcomes, timers) is
//! *told*: it needs no room of its own, since admitted work bounds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::metrics::Kind;

/// Bounds and counts what is inside an actor.
#[derive(Debug)]
pub(crate) struct Gate {
    kind: Kind,
    most: usize,
    room: Arc<Semaphore>,
    in_mailbox: AtomicUsize,
}

/// Room inside an actor, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _room: OwnedSemaphorePermit,
}

/// The actor has retired: ask the registry again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retired;

impl Gate {
    fn new(kind: Kind, most: usize) -> Arc<Self> {
        Arc::new(Self {
            kind,
            most,
            room: Arc::new(Semaphore::new(most)),
            in_mailbox: AtomicUsize::new(0),
        })
    }

    /// Gives the kind of actor behind the gate.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Waits for room for `size` units; what is greater than the whole room takes all of it.
    pub(crate) async fn admit(&self, size: usize) -> Result<Permit, Retired> {
        let size = u32::try_from(size.min(self.most)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(size).await;
        room.map(|room| Permit { _room: room }).map_err(|_| Retired)
    }

    /// Tells how much is inside: admitted units and messages in the mailbox.
    pub(crate) fn depth(&self) -> usize {
        self.admitted() + self.in_mailbox.load(Ordering::Relaxed)
    }

    fn admitted(&self) -> usize {
        if self.room.is_closed() {
            return 0;
        }
        self.most.saturating_sub(self.room.available_permits())
    }

    /// Closes the gate if nothing is inside, in one step, so that nobody slips in between.
    pub(crate) fn retire_if_idle(&self) -> bool {
        if self.in_mailbox.load(Ordering::Acquire) > 0 {
            return false;
        }
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        let Ok(room) = self.room.try_acquire_many(all) else {
            return false;
        };
        room.forget();
        self.room.close();
        true
    }

    /// Closes the gate: whoever waits is told to ask the registry again.
    pub(crate) fn close(&self) {
        self.room.close();
    }
}

/// What lies in an inbox.
#[derive(Debug)]
pub(crate) enum Parcel<M> {
    /// Work.
    Work(Env<M>),
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
    queued: Queued,
}

impl<M> Env<M> {
    /// Takes the message out of the mailbox's count.
    pub(crate) fn leaves_mailbox(&mut self) {
        self.queued.leave();
    }
}

/// Counts a message in the mailbox, wherever it is dropped.
#[derive(Debug)]
struct Queued(Option<Arc<Gate>>);

impl Queued {
    fn leave(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.in_mailbox.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The sending end of an actor's inbox.
#[derive(Debug)]
pub(crate) struct Port<M> {
    gate: Arc<Gate>,
    inbox: UnboundedSender<Parcel<M>>,
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
    pub(crate) fn open(kind: Kind, most: usize) -> (Self, UnboundedReceiver<Parcel<M>>) {
        let (inbox, parcels) = unbounded_channel();
        let gate = Gate::new(kind, most);
        (Self { gate, inbox }, parcels)
    }

    /// Gives the gate.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Sends a message that follows from admitted work, or carries its permit. Dropped if the actor is gone.
    pub(crate) fn tell(&self, message: M) {
        self.gate.in_mailbox.fetch_add(1, Ordering::AcqRel);
        let env = Env {
            message: Some(message),
            sent_at: Instant::now(),
            tries: 0,
            queued: Queued(Some(self.gate.clone())),
        };
        // A closed inbox hands the message back and drops it: its guards tell those who wait for it.
        drop(self.inbox.send(Parcel::Work(env)));
    }

    /// Makes the actor look at its orders.
    pub(crate) fn wake(&self) {
        drop(self.inbox.send(Parcel::Wake));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_gate_lets_nobody_in_until_there_is_room() {
        let gate = Gate::new(Kind::SendQueue, 10);
        let first = gate.admit(8).await.expect("room");
        let waits = tokio::time::timeout(Duration::from_secs(1), gate.admit(5)).await;
        assert!(waits.is_err(), "five more must not fit");
        drop(first);
        let all = gate.admit(1_000).await.expect("a large delivery takes all");
        assert_eq!(gate.depth(), 10);
        drop(all);
        assert_eq!(gate.depth(), 0);
    }

    #[tokio::test]
    async fn only_an_idle_gate_retires() {
        let (port, mut inbox) = Port::open(Kind::SendQueue, 10);
        port.tell(1);
        assert!(!port.gate().retire_if_idle());
        drop(inbox.recv().await);
        assert!(port.gate().retire_if_idle());
        assert_eq!(port.gate().admit(1).await.err(), Some(Retired));
    }
}
