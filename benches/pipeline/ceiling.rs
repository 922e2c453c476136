//! The ceiling: the work that a message cannot do without, in a bare loop with the same crates, bytes and batching.
//!
//! Per message: its share of a confirmed publish and a consume (50 ids a delivery), one POST to the same simulator, its share of two
//! row batches of 500. Per status: one HTTP request with an HMAC check, its share of one inserted and one updated row
//! batch of 500 and of a publish and a consume. No actors, limits, ledger, dedup or metrics; a status is answered before
//! it is durable, because nothing bare could be quicker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use malote::storage::Database;
use simulator::Simulator;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use crate::queue::{self, Intake, Publisher};
use crate::receiver::Receiver;
use crate::rows::{self, BATCH, Claim, Status};
use crate::scratch::Scratch;
use crate::simulated::{self, STATUSES};

/// Calls to Meta at a time.
const POSTS_AT_ONCE: usize = 256;
/// Results that may wait for their batch.
const WAITING_MOST: usize = 4_096;
/// How long a run may take before it counts as stuck.
const WITHIN: Duration = Duration::from_mins(10);

/// A message that Meta accepted: its id, its id there, and when.
type Accepted = (Uuid, String, Instant);

/// Sends `messages` and applies their statuses; gives the time from the first acceptance to the last applied status.
pub(crate) async fn run(scratch: &Scratch, messages: usize) -> anyhow::Result<Duration> {
    let (reported, statuses) = mpsc::channel(WAITING_MOST);
    let settings = simulated::settings();
    let receiver = Receiver::start(&settings.app_secret, move |body| {
        let reported = reported.clone();
        async move { report(&reported, &body).await }
    })
    .await?;
    let simulator = Simulator::start(settings).await?;
    simulator.set_callback(receiver.url());
    let finished = tokio::time::timeout(WITHIN, flow(scratch, &simulator, messages, statuses)).await;
    let first = finished.context("the bare loop is stuck")??;
    let elapsed = first.elapsed();
    simulator.stop().await;
    for queue in ["sends", "events"] {
        scratch.delete_queue(&scratch.queue(queue)).await?;
    }
    Ok(elapsed)
}

async fn report(reported: &mpsc::Sender<Status>, body: &[u8]) -> bool {
    let Ok(statuses) = rows::read_delivery(body) else {
        return false;
    };
    for status in statuses {
        if reported.send(status).await.is_err() {
            return false;
        }
    }
    true
}

/// Runs all stages until the last status is applied; gives the time of the first acceptance.
async fn flow(
    scratch: &Scratch,
    simulator: &Simulator,
    messages: usize,
    statuses: mpsc::Receiver<Status>,
) -> anyhow::Result<Instant> {
    let (sends, to_send) = queue::open(scratch, "sends").await?;
    let (events, to_apply) = queue::open(scratch, "events").await?;
    let ids: Vec<Uuid> = (0..messages).map(|_| Uuid::now_v7()).collect();
    let (accepted, outcomes) = mpsc::channel(WAITING_MOST);
    let (stored, to_publish) = mpsc::channel(64);
    let of_statuses = messages * STATUSES;
    let url = format!("{}/v26.0/106540352242922/messages", simulator.base_url());
    let (first, ..) = tokio::try_join!(
        accept_all(scratch.database.clone(), outcomes),
        sends.publish_messages(&ids),
        send_all(scratch.database.clone(), to_send, messages, url, accepted),
        store_all(scratch.database.clone(), statuses, of_statuses, stored),
        publish_all(events, to_publish),
        apply_all(scratch.database.clone(), to_apply, of_statuses),
    )?;
    first.context("nothing was accepted")
}

async fn send_all(
    database: Database,
    mut intake: Intake,
    messages: usize,
    url: String,
    accepted: mpsc::Sender<anyhow::Result<Accepted>>,
) -> anyhow::Result<()> {
    let (http, url) = (simulated::http(), Arc::<str>::from(url));
    let places = Arc::new(Semaphore::new(POSTS_AT_ONCE));
    let mut done = 0;
    while done < messages {
        let (ids, last) = intake.batch(messages - done).await?;
        let claims: Vec<Claim> = (done..).zip(ids).map(claim).collect();
        rows::claim(&database, &claims).await?;
        queue::acknowledge(last).await?;
        done += claims.len();
        for claim in claims {
            let place = Arc::clone(&places).acquire_owned().await?;
            let (http, url, accepted) = (http.clone(), Arc::clone(&url), accepted.clone());
            tokio::spawn(async move {
                let answer = simulated::post(&http, &url, &claim).await;
                let answer = answer.map(|(wamid, at)| (claim.id, wamid, at));
                // Nobody listens any more when the run has failed.
                let _ = accepted.send(answer).await;
                drop(place);
            });
        }
    }
    Ok(())
}

fn claim((number, id): (usize, Uuid)) -> Claim {
    Claim {
        id,
        attempt: Uuid::now_v7(),
        recipient: format!("+3519{number:08}"),
    }
}

async fn accept_all(
    database: Database,
    mut outcomes: mpsc::Receiver<anyhow::Result<Accepted>>,
) -> anyhow::Result<Option<Instant>> {
    let mut first: Option<Instant> = None;
    loop {
        let batch: Vec<Accepted> = rows::gather(&mut outcomes, BATCH)
            .await
            .into_iter()
            .collect::<Result<_, _>>()?;
        if batch.is_empty() {
            return Ok(first);
        }
        first = first.or_else(|| batch.iter().map(|(.., at)| *at).min());
        let accepted: Vec<(Uuid, String)> = batch.into_iter().map(|(id, wamid, _)| (id, wamid)).collect();
        rows::accept(&database, &accepted).await?;
    }
}

async fn store_all(
    database: Database,
    mut statuses: mpsc::Receiver<Status>,
    mut left: usize,
    stored: mpsc::Sender<Vec<Uuid>>,
) -> anyhow::Result<()> {
    while left > 0 {
        let batch = rows::gather(&mut statuses, left.min(BATCH)).await;
        rows::store(&database, &batch).await?;
        left -= batch.len();
        stored
            .send(batch.iter().map(|status| status.id).collect())
            .await?;
    }
    Ok(())
}

async fn publish_all(events: Publisher, mut stored: mpsc::Receiver<Vec<Uuid>>) -> anyhow::Result<()> {
    while let Some(ids) = stored.recv().await {
        events.publish_statuses(&ids).await?;
    }
    Ok(())
}

async fn apply_all(database: Database, mut intake: Intake, mut left: usize) -> anyhow::Result<()> {
    while left > 0 {
        let (ids, last) = intake.batch(left).await?;
        rows::apply(&database, &ids).await?;
        queue::acknowledge(last).await?;
        left -= ids.len().min(left);
    }
    Ok(())
}
