//! Publishing with confirms: while one round waits for its confirms, the next one gathers, and ids that go the same way share
//! a delivery. Single messages have a connection of their own: they never wait for the confirms of campaigns and statuses.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use domain::message::Lane;
use domain::partition::Partition;
use futures_util::FutureExt as _;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection};
use tokio::sync::{mpsc, oneshot};

use super::{Broker, BrokerError, Envelope, Note, topology};

/// Envelopes that may wait to be published; beyond it publishers wait, or are refused.
const WAITING_MOST: usize = 8_192;
/// Envelopes of one round.
const ROUND_MOST: usize = 1_024;
/// How long a round may wait for its confirms.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);
/// How long a round may take in all, a new connection included.
const ROUND_WITHIN: Duration = Duration::from_secs(25);
/// The wait before a lost connection is made again.
const RECONNECT_AFTER: Duration = Duration::from_millis(250);
/// AMQP's mark of a message that survives the broker's restart.
const PERSISTENT: u8 = 2;

type Confirmed = oneshot::Sender<Result<(), BrokerError>>;

struct Letter {
    partition: Partition,
    envelope: Envelope,
    note: Note,
    confirmed: Option<Confirmed>,
}

/// The way to the inboxes. Clones share its connections.
#[derive(Clone)]
pub struct Publisher {
    broker: Broker,
    letters: mpsc::Sender<Letter>,
    single: mpsc::Sender<Letter>,
}

impl Publisher {
    /// Starts publishing on connections of its own, made again whenever they are lost.
    pub fn start(broker: Broker) -> Self {
        let start = || {
            let (letters, waiting) = mpsc::channel(WAITING_MOST);
            tokio::spawn(publish_all(broker.clone(), waiting));
            letters
        };
        let (letters, single) = (start(), start());
        Self {
            broker,
            letters,
            single,
        }
    }

    /// Gives the way that an envelope takes.
    fn way(&self, envelope: &Envelope) -> &mpsc::Sender<Letter> {
        match envelope {
            Envelope::Send { lane: Lane::Fast, .. } => &self.single,
            _ => &self.letters,
        }
    }

    /// Asks whether the broker lets us in.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn reach(&self) -> Result<(), BrokerError> {
        self.broker.reach().await
    }

    /// Publishes to the inbox of a tenant and waits until the broker has it.
    ///
    /// # Errors
    /// When the broker did not confirm it. It may have it all the same.
    pub async fn publish(&self, envelope: Envelope) -> Result<(), BrokerError> {
        let note = Note::of(&envelope);
        self.publish_with(envelope, note).await
    }

    /// As [`Publisher::publish`], with a note of the caller.
    ///
    /// # Errors
    /// When the broker did not confirm it. It may have it all the same.
    pub async fn publish_with(&self, envelope: Envelope, note: Note) -> Result<(), BrokerError> {
        let Some(partition) = self.partition(&envelope) else {
            return Ok(());
        };
        let stopped = || BrokerError("the publisher has stopped".to_owned());
        let (confirmed, waits) = oneshot::channel();
        let way = self.way(&envelope);
        let letter = Letter {
            partition,
            envelope,
            note,
            confirmed: Some(confirmed),
        };
        way.send(letter).await.map_err(|_| stopped())?;
        waits.await.map_err(|_| stopped())?
    }

    /// Publishes if there is room, and does not wait: for hints that the planner repeats when they are lost.
    pub fn publish_soon(&self, envelope: Envelope) {
        let note = Note::of(&envelope);
        self.publish_soon_with(envelope, note);
    }

    /// As [`Publisher::publish_soon`], with a note of the caller.
    pub fn publish_soon_with(&self, envelope: Envelope, note: Note) {
        if let Some(partition) = self.partition(&envelope) {
            let way = self.way(&envelope);
            let letter = Letter {
                partition,
                envelope,
                note,
                confirmed: None,
            };
            if way.try_send(letter).is_err() {
                tracing::debug!("the publisher is full; the planner will repeat this hint");
            }
        }
    }

    /// Publishes a tick to each partition if there is room, and does not wait: a lost one is followed by the next.
    pub fn tick_soon(&self) {
        for number in 0..self.broker.partitions() {
            let letter = Letter {
                partition: Partition(number),
                envelope: Envelope::Tick,
                note: Note::default(),
                confirmed: None,
            };
            if self.letters.try_send(letter).is_err() {
                return;
            }
        }
    }

    fn partition(&self, envelope: &Envelope) -> Option<Partition> {
        match envelope {
            Envelope::Send { tenant, .. } | Envelope::Events { tenant, .. } => {
                Some(self.broker.partition_of(*tenant))
            }
            Envelope::Tick => None,
        }
    }
}

struct Line {
    channel: Channel,
    // Kept: dropping it closes the channel.
    _connection: Connection,
}

async fn publish_all(broker: Broker, mut waiting: mpsc::Receiver<Letter>) {
    let mut line: Option<Line> = None;
    let mut letters = Vec::new();
    while waiting.recv_many(&mut letters, ROUND_MOST).await > 0 {
        let parcels = gather(letters.drain(..));
        let round = AssertUnwindSafe(publish_round(&broker, &mut line, &parcels)).catch_unwind();
        let done = match tokio::time::timeout(ROUND_WITHIN, round).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(BrokerError("publishing panicked".to_owned())),
            Err(_) => Err(BrokerError(format!("not published within {ROUND_WITHIN:?}"))),
        };
        if let Err(error) = &done {
            tracing::warn!(%error, "nothing was published; trying again");
            line = None;
        }
        for confirmed in parcels.into_iter().flat_map(|parcel| parcel.waiting) {
            // Whoever waited may have gone.
            let _ = confirmed.send(done.clone());
        }
        if done.is_err() {
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
    }
}

struct Parcel {
    partition: Partition,
    envelope: Envelope,
    note: Note,
    waiting: Vec<Confirmed>,
}

impl Parcel {
    /// Says what is published, to whoever follows a message: docs/logging.md.
    fn follow(&self) {
        if let Some(trace) = self.note.trace {
            tracing::debug!(target: "journey", { trace.id = %trace.simple(), partition = self.partition.0,
                ids = %self.envelope.ids() }, "a delivery is published");
        }
    }
}

fn gather(letters: impl Iterator<Item = Letter>) -> Vec<Parcel> {
    let mut parcels: Vec<Parcel> = Vec::new();
    for letter in letters {
        let same_way = parcels
            .iter_mut()
            .rev()
            .filter(|parcel| parcel.partition == letter.partition)
            .find_map(|parcel| parcel.envelope.absorb(&letter.envelope).then_some(parcel));
        match same_way {
            Some(parcel) => {
                parcel.note.absorb(letter.note);
                parcel.waiting.extend(letter.confirmed);
            }
            None => parcels.push(Parcel {
                partition: letter.partition,
                envelope: letter.envelope,
                note: letter.note,
                waiting: letter.confirmed.into_iter().collect(),
            }),
        }
    }
    parcels
}

async fn publish_round(
    broker: &Broker,
    line: &mut Option<Line>,
    parcels: &[Parcel],
) -> Result<(), BrokerError> {
    if line
        .as_ref()
        .is_none_or(|line| !line.channel.status().connected())
    {
        *line = Some(connect(broker).await?);
    }
    let Some(Line { channel, .. }) = line else {
        return Err(BrokerError("no connection".to_owned()));
    };
    let mut confirms = Vec::with_capacity(parcels.len());
    for parcel in parcels {
        parcel.follow();
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_headers(parcel.note.headers(&parcel.envelope));
        let confirm = channel
            .basic_publish(
                broker.exchange().into(),
                broker.queue(parcel.partition).into(),
                BasicPublishOptions::default(),
                &parcel.envelope.to_bytes(),
                properties,
            )
            .await?;
        confirms.push(confirm);
    }
    let confirmed = futures_util::future::try_join_all(confirms);
    let answers = tokio::time::timeout(CONFIRM_WITHIN, confirmed)
        .await
        .map_err(|_| BrokerError(format!("no confirm within {CONFIRM_WITHIN:?}")))??;
    if answers.iter().all(lapin::Confirmation::is_ack) {
        Ok(())
    } else {
        Err(BrokerError("the broker refused a message".to_owned()))
    }
}

async fn connect(broker: &Broker) -> Result<Line, BrokerError> {
    let connection = broker.connect("malote publisher").await?;
    // The broker may have come back without its disk.
    topology::declare(broker, &connection).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(Line {
        channel,
        _connection: connection,
    })
}
