//! Webhook ingest: what a campaign's statuses cost the server to acknowledge, beside a bare handler that does as much.
//!
//! The deliveries are real: a campaign is sent while its webhooks go elsewhere, and what was told there is then delivered to
//! both. While the server acknowledges it also applies (it shares the machine with itself, as it does in life).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use malote::storage::Database;
use tokio::sync::{mpsc, oneshot};

use crate::campaign::Trial;
use crate::load::{self, Delivery, Taken};
use crate::receiver::Receiver;
use crate::rows::{self, Status};
use crate::scratch::Scratch;
use crate::simulated::STATUSES;

/// Deliveries of one insert.
const ROUND_MOST: usize = 512;
/// Deliveries that may wait to be stored.
const WAITING_MOST: usize = 4_096;
/// Tasks that store at once, as the server has.
const WRITERS: usize = 2;
/// How long a campaign's webhooks may take.
const WITHIN: Duration = Duration::from_mins(10);

type Waiting = (Vec<Status>, oneshot::Sender<bool>);
type Store = Arc<tokio::sync::Mutex<mpsc::Receiver<Waiting>>>;

/// One round of both.
pub(crate) struct Round {
    /// The bare handler.
    pub(crate) bare: Taken,
    /// The server.
    pub(crate) server: Taken,
}

/// Delivers the statuses of a new campaign to the bare handler, then to the server.
pub(crate) async fn round(scratch: &Scratch, trial: &mut Trial, deliveries: usize) -> anyhow::Result<Round> {
    let secret = app_secret()?;
    let (campaigns, captured) = capture(trial, &secret, deliveries.div_ceil(STATUSES)).await?;
    let bare = run_bare(scratch, &secret, &captured).await?;
    let server = load::run(&server_url(trial), &captured).await?;
    trial.delivered(&campaigns).await?;
    Ok(Round { bare, server })
}

fn app_secret() -> anyhow::Result<String> {
    let secrets = malote::config::load(None, None)?.meta.app_secrets()?;
    let secret = secrets.first().map(|secret| secret.expose().to_owned());
    secret.ok_or_else(|| anyhow::anyhow!("there is no app secret"))
}

fn server_url(trial: &Trial) -> String {
    format!("{}/webhooks/meta", trial.installation.public.base())
}

/// Sends a campaign and keeps what its webhooks say from the server.
async fn capture(
    trial: &mut Trial,
    secret: &str,
    messages: usize,
) -> anyhow::Result<(Vec<(String, u64)>, Arc<[Delivery]>)> {
    let kept = Arc::new(Mutex::new(Vec::<Bytes>::new()));
    let keeper = Arc::clone(&kept);
    let receiver = Receiver::start(secret, move |body| {
        keeper.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        std::future::ready(true)
    })
    .await?;
    let before = trial.installation.simulator.truth().accepted;
    trial.installation.simulator.set_callback(receiver.url());
    let campaigns = trial.launch(messages).await?;
    let total = campaigns.iter().map(|(_, contacts)| contacts).sum::<u64>();
    trial.accepted(before + total).await?;
    let idle = trial.installation.simulator.wait_until_idle(WITHIN).await;
    trial.installation.simulator.set_callback(server_url(trial));
    anyhow::ensure!(idle, "webhooks are still waiting after {WITHIN:?}");
    let bodies = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    let signed = bodies.into_iter().map(|body| Delivery::sign(secret, body));
    Ok((campaigns, signed.collect()))
}

/// The bare handler: an HMAC check, an insert by group commit, nothing else.
async fn run_bare(scratch: &Scratch, secret: &str, deliveries: &Arc<[Delivery]>) -> anyhow::Result<Taken> {
    let (sender, receiver) = mpsc::channel(WAITING_MOST);
    let waiting = Arc::new(tokio::sync::Mutex::new(receiver));
    for _ in 0..WRITERS {
        tokio::spawn(store_all(scratch.database.clone(), Arc::clone(&waiting)));
    }
    let receiver = Receiver::start(secret, move |body| {
        let sender = sender.clone();
        async move { store(&sender, &body).await }
    })
    .await?;
    load::run(&receiver.url(), deliveries).await
}

async fn store(sender: &mpsc::Sender<Waiting>, body: &[u8]) -> bool {
    let Ok(statuses) = rows::read_delivery(body) else {
        return false;
    };
    let (answer, answered) = oneshot::channel();
    sender.send((statuses, answer)).await.is_ok() && answered.await.unwrap_or(false)
}

async fn store_all(database: Database, waiting: Store) {
    loop {
        let mut gathered = Vec::new();
        if waiting.lock().await.recv_many(&mut gathered, ROUND_MOST).await == 0 {
            return;
        }
        let (statuses, answers): (Vec<_>, Vec<_>) = gathered.into_iter().unzip();
        let statuses: Vec<Status> = statuses.into_iter().flatten().collect();
        let stored = rows::store(&database, &statuses).await.is_ok();
        for answer in answers {
            // A load generator that gave up has no ear.
            let _ = answer.send(stored);
        }
    }
}
