//! The simulator's memory: who, what, how often, and what is still to be told.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::Uri;

use crate::config::Config;
use crate::faults::Faults;
use crate::gcra::Gcra;
use crate::messages::{Message, Status};
use crate::numbers::Numbers;
use crate::recipients::{RecipientIndex, Recipients};
use crate::truth::{RecipientTruth, Truth};
use crate::webhooks::{Event, Queue};

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    /// What goes wrong.
    pub(crate) faults: Arc<Faults>,
    /// Where webhooks go.
    pub(crate) callback: Option<Arc<Uri>>,
    /// A throttle burst asked for by hand lasts until then.
    pub(crate) throttled_until_ms: u64,
    /// Tokens that are not accepted any more.
    pub(crate) revoked: std::collections::BTreeSet<String>,
    /// Who sends.
    pub(crate) numbers: Numbers,
    /// Who is written to.
    pub(crate) recipients: Recipients,
    /// The pace of each number towards each user.
    pub(crate) pairs: HashMap<(u32, RecipientIndex), Gcra>,
    /// All accepted messages, by index.
    pub(crate) messages: Vec<Message>,
    /// Webhooks to be sent.
    pub(crate) queue: Queue,
    /// Counts; see [`State::truth`] for those that are derived.
    pub(crate) truth: Truth,
    /// Tags the ids of this run, so that ids of an earlier one are not taken for its own.
    pub(crate) run: u32,
}

impl State {
    /// Nothing sent yet.
    pub(crate) fn new(config: &Config, callback: Option<Uri>) -> Self {
        Self {
            faults: Arc::new(config.faults.clone().normalised()),
            callback: callback.map(Arc::new),
            throttled_until_ms: 0,
            revoked: std::collections::BTreeSet::new(),
            numbers: Numbers::new(config),
            recipients: Recipients::default(),
            pairs: HashMap::new(),
            messages: Vec::new(),
            queue: Queue::default(),
            truth: Truth::default(),
            run: rand::random(),
        }
    }

    /// Forgets messages, recipients and counts. Callback, numbers and faults stay.
    pub(crate) fn reset(&mut self) {
        self.throttled_until_ms = 0;
        self.recipients = Recipients::default();
        self.pairs = HashMap::new();
        self.messages = Vec::new();
        self.queue = Queue::default();
        self.truth = Truth::default();
        self.run = self.run.wrapping_add(1);
    }

    /// The counts as of now.
    pub(crate) fn truth(&self) -> Truth {
        Truth {
            webhooks_pending: self.queue.pending() as u64,
            recipients: self.recipients.len() as u64,
            ..self.truth.clone()
        }
    }

    /// What happened to each recipient.
    pub(crate) fn truth_by_recipient(&self) -> Vec<RecipientTruth> {
        let mut found: Vec<RecipientTruth> = self
            .recipients
            .iter()
            .map(|recipient| RecipientTruth {
                recipient: recipient.name.to_string(),
                accepted: recipient.accepted,
                ..RecipientTruth::default()
            })
            .collect();
        for message in &self.messages {
            let Some(truth) = found.get_mut(message.recipient.0 as usize) else {
                continue;
            };
            let arrived = [Status::Delivered, Status::Read]
                .into_iter()
                .any(|status| message.happened_at(status).is_some());
            truth.delivered += u32::from(arrived);
            truth.billable += u32::from(arrived && !message.free);
            truth.failed += u32::from(message.happened_at(Status::Failed).is_some());
        }
        found
    }

    /// Lets a status happen, once, however often it is told.
    pub(crate) fn happen(&mut self, event: &Event, unix_s: u64) {
        let message = &mut self.messages[event.message as usize];
        if !message.happen(event.status, unix_s) {
            return;
        }
        let delivered = match event.status {
            Status::Sent => false,
            Status::Delivered => true,
            Status::Read => event.priced, // It stands for a `delivered` that never comes.
            Status::Failed => {
                self.truth.failed_async += 1;
                false
            }
        };
        self.truth.read += u64::from(event.status == Status::Read);
        self.truth.delivered += u64::from(delivered);
        self.truth.billable += u64::from(delivered && !message.free);
    }

    /// Notes that the callback took a status.
    pub(crate) fn acknowledge(&mut self, event: &Event) {
        let message = &mut self.messages[event.message as usize];
        message.acknowledge(event.status);
        message.settle_one();
        self.truth.webhooks_sent += 1;
        self.truth.webhooks_duplicated += u64::from(event.duplicate);
        self.truth.webhooks_late += u64::from(event.late);
    }
}
