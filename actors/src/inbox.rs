//! An actor's inbox: it outlives the actor's incarnations, knows how long its oldest message waits, and takes no memory
//! while it is empty.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use tokio::time::Instant;

/// The sending end. Clones send to the same inbox.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Inbox<T>>);

/// The receiving end. Dropping it drops what is inside, and all that is sent later.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Inbox<T>>);

#[derive(Debug)]
struct Inbox<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(Instant, T)>,
    senders: usize,
    closed: bool,
    waker: Option<Waker>,
}

/// Makes an inbox.
pub(crate) fn inbox<T>() -> (Sender<T>, Receiver<T>) {
    let state = State {
        waiting: VecDeque::new(),
        senders: 1,
        closed: false,
        waker: None,
    };
    let inbox = Arc::new(Inbox(Mutex::new(state)));
    (Sender(inbox.clone()), Receiver(inbox))
}

impl<T> Inbox<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.senders -= 1;
        let waker = if state.senders == 0 {
            state.waker.take()
        } else {
            None
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Sender<T> {
    /// Puts something in; if nobody will ever take it out, it is dropped.
    pub(crate) fn send(&self, item: T) {
        let mut state = self.0.state();
        if state.closed {
            drop(state);
            // Its guards tell those who wait for it; that may send again, so not under the lock.
            drop(item);
            return;
        }
        state.waiting.push_back((Instant::now(), item));
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tells how much is inside.
    pub(crate) fn len(&self) -> usize {
        self.0.state().waiting.len()
    }

    /// Tells since when the oldest waits.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.0.state().waiting.front().map(|(since, _)| *since)
    }
}

impl<T> Stream for Receiver<T> {
    type Item = (Instant, T);

    fn poll_next(self: std::pin::Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state();
        let next = state.waiting.pop_front();
        if next.is_none() && state.senders == 0 {
            return Poll::Ready(None);
        }
        if next.is_none() {
            // Whoever goes to sleep takes no memory along.
            state.waiting = VecDeque::new();
        }
        if next.is_none()
            && !state
                .waker
                .as_ref()
                .is_some_and(|known| known.will_wake(task.waker()))
        {
            state.waker = Some(task.waker().clone());
        }
        drop(state);
        next.map_or(Poll::Pending, |next| Poll::Ready(Some(next)))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_goes_in_comes_out_in_order_with_its_age() {
        let (sender, mut receiver) = inbox();
        sender.send(1);
        tokio::time::advance(Duration::from_secs(5)).await;
        sender.send(2);
        assert_eq!(sender.oldest().map(|since| since.elapsed().as_secs()), Some(5));
        assert_eq!(receiver.next().await.map(|(_, item)| item), Some(1));
        assert_eq!(sender.len(), 1);
        assert_eq!(receiver.next().await.map(|(_, item)| item), Some(2));
        assert_eq!(sender.oldest(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken() {
        let (sender, mut receiver) = inbox();
        let waits = tokio::spawn(async move { receiver.next().await.map(|(_, item)| item) });
        tokio::time::sleep(Duration::from_secs(1)).await;
        sender.send(7);
        assert_eq!(waits.await.expect("no panic"), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn an_inbox_ends_when_nobody_can_send_any_more() {
        let (sender, mut receiver) = inbox();
        let other = sender.clone();
        other.send(1);
        drop(sender);
        let waits =
            tokio::spawn(async move { (receiver.next().await.is_some(), receiver.next().await.is_none()) });
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(other);
        assert_eq!(waits.await.expect("no panic"), (true, true));
    }

    #[test]
    fn a_closed_inbox_drops_what_comes_late() {
        let (sender, receiver) = inbox();
        let item = Arc::new(());
        sender.send(item.clone());
        drop(receiver);
        sender.send(item.clone());
        assert_eq!((sender.len(), Arc::strong_count(&item)), (0, 1));
    }

    #[test]
    fn an_empty_inbox_holds_no_memory() {
        let (sender, mut receiver) = inbox();
        (0..10_000).for_each(|number| sender.send(number));
        let mut task = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(_)) = std::pin::Pin::new(&mut receiver).poll_next(&mut task) {}
        assert_eq!(sender.0.state().waiting.capacity(), 0);
    }
}
