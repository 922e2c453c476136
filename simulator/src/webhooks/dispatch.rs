//! Sends due events, and puts back those that were not acknowledged.

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::messages::Status;
use crate::shared::Shared;
use crate::state::State;
use crate::wamid;
use crate::webhooks::envelope::{self, Line};
use crate::webhooks::event::Event;

/// Due events, taken from the queue for one request.
struct Batch {
    events: Vec<Event>,
    lines: Vec<Line>,
    callback: Option<Arc<Uri>>,
    run: u32,
}

/// Sends webhooks until it is dropped; its requests end with it. While the simulator is down, none begins.
pub(crate) async fn run(shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(shared.config.webhook_concurrency.max(1)));
    let mut requests = JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let batch = next_batch_when_up(&shared).await;
        while requests.try_join_next().is_some() {}
        requests.spawn(deliver(Arc::clone(&shared), batch, permit));
    }
}

/// The next batch that is due while it is up: an outage that begins meanwhile leaves everything in the queue.
async fn next_batch_when_up(shared: &Shared) -> Batch {
    loop {
        shared.comes_up().await;
        tokio::select! {
            biased;
            () = shared.goes_down() => {}
            batch = next_batch(shared) => return batch,
        }
    }
}

/// Takes the next batch as soon as it is due. It waits only before it takes, so nothing is lost where it is dropped.
async fn next_batch(shared: &Shared) -> Batch {
    let linger_ms = if shared.config.webhook_batch > 1 {
        shared.config.webhook_linger.as_millis() as u64
    } else {
        0
    };
    loop {
        let now_ms = shared.now_ms();
        let due_ms = {
            let mut state = shared.state();
            let due_ms = state.queue.next_due_ms();
            if due_ms.is_some_and(|due_ms| due_ms + linger_ms <= now_ms) {
                match take(shared, &mut state, now_ms) {
                    Some(batch) => return batch,
                    None => continue,
                }
            }
            due_ms
        };
        match due_ms {
            None => shared.wake.notified().await,
            Some(due_ms) => {
                let wait = Duration::from_millis((due_ms + linger_ms).saturating_sub(now_ms).max(1));
                let _ = tokio::time::timeout(wait, shared.wake.notified()).await; // Whichever comes first.
            }
        }
    }
}

/// Takes what is due. `None` if all of it happened now but is to be told later.
fn take(shared: &Shared, state: &mut State, now_ms: u64) -> Option<Batch> {
    let events = state.queue.take_due(now_ms, shared.config.webhook_batch.max(1));
    let mut lines = Vec::with_capacity(events.len());
    for event in &events {
        let unix_s = shared.unix_ms(event.occurred_ms) / 1_000;
        state.happen(event, unix_s);
        if event.postponed_ms == 0 {
            lines.push(line_of(state, event, unix_s));
        }
    }
    let (postponed, events): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| event.postponed_ms > 0);
    state.queue.settle(postponed.len());
    for mut event in postponed {
        event.due_ms += std::mem::take(&mut event.postponed_ms);
        state.queue.push(event);
    }
    let batch = Batch {
        events,
        lines,
        callback: state.callback.clone(),
        run: state.run,
    };
    (!batch.events.is_empty()).then_some(batch)
}

/// Writes down what the event's webhook will say; its id is written outside the lock.
fn line_of(state: &State, event: &Event, unix_s: u64) -> Line {
    let message = &state.messages[event.message as usize];
    Line {
        id: String::new(),
        status: event.status,
        unix_s,
        recipient: Arc::clone(&state.recipients.at(message.recipient).name),
        number: Arc::clone(&state.numbers.at(message.number).config),
        opaque: message.opaque.clone(),
        price: event.priced.then_some((message.category, message.free)),
        failed_code: if event.status == Status::Failed {
            message.failed_code
        } else {
            0
        },
    }
}

async fn deliver(shared: Arc<Shared>, batch: Batch, permit: OwnedSemaphorePermit) {
    let Batch {
        events,
        mut lines,
        callback,
        run,
    } = batch;
    let acknowledged = match &callback {
        None => None,
        Some(callback) => {
            for (line, event) in lines.iter_mut().zip(&events) {
                line.id = wamid::write(&line.recipient, run, event.message);
            }
            let body = envelope::write(&lines, shared.config.webhook_contacts);
            Some(shared.poster.post(callback, body).await)
        }
    };
    settle(&shared, run, events, acknowledged);
    drop(permit);
}

/// Notes how a request ended; `None` means that there was nobody to tell.
fn settle(shared: &Shared, run: u32, events: Vec<Event>, acknowledged: Option<bool>) {
    let now_ms = shared.now_ms();
    let mut state = shared.state();
    if state.run != run {
        return; // The simulator was reset meanwhile; these messages are gone.
    }
    state.queue.settle(events.len());
    state.truth.webhook_requests += u64::from(acknowledged.is_some());
    state.truth.webhook_requests_failed += u64::from(acknowledged == Some(false));
    let mut wake = false;
    for event in events {
        match acknowledged {
            Some(false) => wake |= put_back(shared, &mut state, event, now_ms),
            Some(true) => state.acknowledge(&event),
            None => state.messages[event.message as usize].settle_one(),
        }
    }
    drop(state);
    if wake {
        shared.wake.notify_one();
    }
}

/// Plans the next attempt, or gives up. True if the dispatcher must wake for it.
fn put_back(shared: &Shared, state: &mut State, mut event: Event, now_ms: u64) -> bool {
    let config = &shared.config;
    let first_sent_ms = *event.first_sent_ms.get_or_insert(now_ms);
    if now_ms - first_sent_ms >= config.webhook_give_up.as_millis() as u64 {
        state.truth.webhooks_given_up += 1;
        state.messages[event.message as usize].settle_one();
        return false;
    }
    let doubled = config
        .webhook_retry_first
        .saturating_mul(1 << event.attempts.min(24));
    event.attempts = event.attempts.saturating_add(1);
    event.due_ms = now_ms + doubled.min(config.webhook_retry_longest).as_millis() as u64;
    state.queue.push(event)
}
