//! The promise to whoever delivered work: it is kept once each part of the work is durable or refused, and broken
//! when the work is lost on the way, so that it can be handed in again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::ids::MessageId;
use domain::message::Lane;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::gate::Permit;

/// One delivery's promise, shared by its parts.
#[derive(Debug)]
pub(crate) struct Receipt {
    left: AtomicUsize,
    due: Option<Timestamp>,
    kept: Mutex<Option<oneshot::Sender<()>>>,
    _permit: Permit,
    _bulk: Option<OwnedSemaphorePermit>,
}

impl Receipt {
    /// Makes a promise in `parts`, at least one. The receiver fails when the promise is broken.
    pub(crate) fn new(
        parts: usize,
        permit: Permit,
        bulk: Option<OwnedSemaphorePermit>,
        due: Option<Timestamp>,
    ) -> (Arc<Self>, oneshot::Receiver<()>) {
        let (kept, promise) = oneshot::channel();
        let receipt = Self {
            left: AtomicUsize::new(parts.max(1)),
            due,
            kept: Mutex::new(Some(kept)),
            _permit: permit,
            _bulk: bulk,
        };
        (Arc::new(receipt), promise)
    }

    /// One part is durable or refused.
    pub(crate) fn part_done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kept) = kept {
            // Nobody may wait any more; the work is done all the same.
            let _ = kept.send(());
        }
    }
}

/// A message id inside the tenant's actors.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The message.
    pub(crate) message: MessageId,
    /// Which queue it waits in.
    pub(crate) lane: Lane,
    /// Since when it waits.
    pub(crate) since: Instant,
    receipt: Arc<Receipt>,
}

impl Item {
    /// Makes one of a delivery's items.
    pub(crate) fn new(message: MessageId, lane: Lane, receipt: Arc<Receipt>) -> Self {
        Self {
            message,
            lane,
            since: Instant::now(),
            receipt,
        }
    }

    /// Since when its delivery is due, if that is known.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.receipt.due
    }

    /// The message was claimed, found stale or given back.
    pub(crate) fn done(self) {
        self.receipt.part_done();
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::TenantId;
    use uuid::Uuid;

    use super::*;
    use crate::gate::Port;
    use crate::metrics::Kind;

    async fn promise(parts: usize) -> (Arc<Receipt>, oneshot::Receiver<()>) {
        let (port, _inbox) = Port::<()>::open(Kind::SendQueue, TenantId(Uuid::nil()), 10);
        let permit = port.gate().admit(1).await.expect("room");
        Receipt::new(parts, permit, None, None)
    }

    #[tokio::test]
    async fn a_promise_is_kept_with_its_last_part_and_no_sooner() {
        let (receipt, mut kept) = promise(2).await;
        receipt.part_done();
        assert!(kept.try_recv().is_err(), "one part is left");
        receipt.part_done();
        assert_eq!(kept.await, Ok(()));
    }

    #[tokio::test]
    async fn a_promise_that_is_dropped_is_broken() {
        let (receipt, kept) = promise(2).await;
        receipt.part_done();
        drop(receipt);
        assert!(kept.await.is_err(), "whoever delivered hands it in again");
    }
}
