//! The row batches of the bare loops: columns in, one statement for up to 500 rows.

use malote::storage::{Database, StorageError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Rows of one batch.
pub(crate) const BATCH: usize = 500;

const CLAIM: &str = "INSERT INTO bare.sends (id, attempt_id, recipient, state)
    SELECT w.id, w.attempt_id, w.recipient, 'sending'
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS w (id, attempt_id, recipient) ON CONFLICT DO NOTHING";
const ACCEPT: &str = "UPDATE bare.sends s SET state = 'accepted', wamid = w.wamid, updated_at = now()
    FROM unnest($1::uuid[], $2::text[]) AS w (id, wamid) WHERE s.id = w.id";
const STORE: &str = "INSERT INTO bare.statuses (id, attempt_id, status, wamid, raw)
    SELECT w.id, w.attempt_id, w.status, w.wamid, w.raw::json
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[])
        AS w (id, attempt_id, status, wamid, raw) ON CONFLICT DO NOTHING";
const APPLY: &str = "UPDATE bare.statuses s SET applied_at = now()
    FROM unnest($1::uuid[]) AS w (id) WHERE s.id = w.id";

/// A message that is about to be sent.
pub(crate) struct Claim {
    /// The message.
    pub(crate) id: Uuid,
    /// The attempt, which Meta echoes.
    pub(crate) attempt: Uuid,
    /// To whom.
    pub(crate) recipient: String,
}

impl Claim {
    /// Makes up one to the recipient of this number.
    pub(crate) fn numbered(number: usize) -> Self {
        Self {
            id: Uuid::now_v7(),
            attempt: Uuid::now_v7(),
            recipient: format!("+3519{number:08}"),
        }
    }
}

/// A status as it is stored.
pub(crate) struct Status {
    /// Its id here.
    pub(crate) id: Uuid,
    attempt: Uuid,
    status: String,
    wamid: String,
    raw: String,
}

/// Inserts claims.
pub(crate) async fn claim(database: &Database, claims: &[Claim]) -> Result<(), StorageError> {
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.id).collect();
    let attempts: Vec<Uuid> = claims.iter().map(|claim| claim.attempt).collect();
    let recipients: Vec<&str> = claims.iter().map(|claim| claim.recipient.as_str()).collect();
    let mut connection = database.get().await?;
    connection.execute(CLAIM, &[&ids, &attempts, &recipients]).await?;
    Ok(())
}

/// Updates messages that Meta accepted, each with its id there.
pub(crate) async fn accept(database: &Database, accepted: &[(Uuid, String)]) -> Result<(), StorageError> {
    let ids: Vec<Uuid> = accepted.iter().map(|(id, _)| *id).collect();
    let wamids: Vec<&str> = accepted.iter().map(|(_, wamid)| wamid.as_str()).collect();
    database.get().await?.execute(ACCEPT, &[&ids, &wamids]).await?;
    Ok(())
}

/// Inserts statuses.
pub(crate) async fn store(database: &Database, statuses: &[Status]) -> Result<(), StorageError> {
    let ids: Vec<Uuid> = statuses.iter().map(|status| status.id).collect();
    let attempts: Vec<Uuid> = statuses.iter().map(|status| status.attempt).collect();
    let names: Vec<&str> = statuses.iter().map(|status| status.status.as_str()).collect();
    let wamids: Vec<&str> = statuses.iter().map(|status| status.wamid.as_str()).collect();
    let raws: Vec<&str> = statuses.iter().map(|status| status.raw.as_str()).collect();
    let mut connection = database.get().await?;
    connection
        .execute(STORE, &[&ids, &attempts, &names, &wamids, &raws])
        .await?;
    Ok(())
}

/// Updates statuses that are dealt with.
pub(crate) async fn apply(database: &Database, ids: &[Uuid]) -> Result<(), StorageError> {
    database.get().await?.execute(APPLY, &[&ids]).await?;
    Ok(())
}

/// Waits for `most` things; fewer only when no more can come.
pub(crate) async fn gather<T>(from: &mut mpsc::Receiver<T>, most: usize) -> Vec<T> {
    let mut gathered = Vec::with_capacity(most);
    while gathered.len() < most {
        let wanted = most - gathered.len();
        if from.recv_many(&mut gathered, wanted).await == 0 {
            break;
        }
    }
    gathered
}

#[derive(Deserialize)]
struct Delivery<'a> {
    #[serde(borrow)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    value: Value<'a>,
}

#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    statuses: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Reported {
    id: String,
    status: String,
    biz_opaque_callback_data: Uuid,
}

/// Reads the statuses of a delivery.
pub(crate) fn read_delivery(body: &[u8]) -> serde_json::Result<Vec<Status>> {
    let delivery: Delivery<'_> = serde_json::from_slice(body)?;
    let changes = delivery.entry.iter().flat_map(|entry| &entry.changes);
    changes
        .flat_map(|change| &change.value.statuses)
        .map(|raw| {
            let reported: Reported = serde_json::from_str(raw.get())?;
            Ok(Status {
                id: Uuid::now_v7(),
                attempt: reported.biz_opaque_callback_data,
                status: reported.status,
                wamid: reported.id,
                raw: raw.get().to_owned(),
            })
        })
        .collect()
}
