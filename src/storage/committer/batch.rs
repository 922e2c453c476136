//! Natural group commit: a task that works on whatever has gathered while it was busy.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use tokio::sync::{mpsc, oneshot};

/// A question with the place for its answer.
type Waiting<Q, A> = (Q, oneshot::Sender<A>);

/// The way into a batching task.
pub(super) struct Queue<Q, A>(mpsc::Sender<Waiting<Q, A>>);

impl<Q, A> Clone for Queue<Q, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Q, A> Queue<Q, A> {
    /// Asks and waits for the answer; none when the task has ended.
    pub(super) async fn ask(&self, question: Q) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        self.0.send((question, answer)).await.ok()?;
        answered.await.ok()
    }
}

/// Starts a task that hands `work` everything that has gathered, up to `most` by `weight`, and gives each its answer.
/// `work` answers in the order of the questions.
pub(super) fn start<Q, A, F>(
    waiting_most: usize,
    most: usize,
    weight: fn(&Q) -> usize,
    mut work: impl FnMut(Vec<Q>) -> F + Send + 'static,
) -> Queue<Q, A>
where
    Q: Send + 'static,
    A: Send + 'static,
    F: Future<Output = Vec<A>> + Send,
{
    let (sender, mut receiver) = mpsc::channel::<Waiting<Q, A>>(waiting_most);
    tokio::spawn(async move {
        while let Some(first) = receiver.recv().await {
            let mut taken = weight(&first.0);
            let mut gathered = vec![first];
            while taken < most
                && let Ok(next) = receiver.try_recv()
            {
                taken += weight(&next.0);
                gathered.push(next);
            }
            let (questions, waiting): (Vec<_>, Vec<_>) = gathered.into_iter().unzip();
            // A panic leaves them without an answer, which they take for an outage and ask again; the others go on.
            let Ok(answers) = AssertUnwindSafe(work(questions)).catch_unwind().await else {
                tracing::error!("a commit panicked; those who wait for it ask again");
                continue;
            };
            for (answer, waits) in answers.into_iter().zip(waiting) {
                // Whoever asked may have gone; what was committed stays committed.
                let _ = waits.send(answer);
            }
        }
    });
    Queue(sender)
}
