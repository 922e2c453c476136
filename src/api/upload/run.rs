//! An upload from its first byte to its report.

use std::io::Read;

use bytes::Bytes;
use domain::campaign::CampaignState;
use domain::ids::{CampaignId, TenantId};
use futures_util::Stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};
use utoipa::ToSchema;

use super::file::{FileFormat, FileRefused, read_file};
use super::row::{Row, RowReader, RowRefused};
use crate::storage::recipients::{self, AddOutcome, Chunk};
use crate::storage::{Database, StorageError, Transaction};

/// How many rejected rows are named; all are counted.
const MOST_ERRORS: usize = 100;
/// How many chunks may wait for the database.
const CHUNKS_AHEAD: usize = 2;

/// What became of an upload's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct UploadReport {
    /// New recipients, which the campaign will write to.
    pub accepted: i64,
    /// Rows that cannot be sent to.
    pub rejected: i64,
    /// Rows whose recipient is in the campaign already, or was in an earlier row.
    pub duplicates: i64,
    /// New recipients who are on the suppression list; they are stored as `suppressed`.
    pub suppressed: i64,
    /// The first 100 rejected rows.
    pub errors: Vec<RejectedRow>,
}

impl UploadReport {
    fn note(&mut self, batch: Batch, outcome: AddOutcome) -> Result<(), UploadRefused> {
        let added = match outcome {
            AddOutcome::Added(added) => added,
            AddOutcome::NotDraft(state) => return Err(UploadRefused::NotDraft(state)),
            AddOutcome::Unknown => return Err(UploadRefused::Unknown),
        };
        self.accepted += added.accepted;
        self.duplicates += added.duplicates;
        self.suppressed += added.suppressed;
        self.rejected += batch.rejected_count;
        let room = MOST_ERRORS - self.errors.len();
        self.errors.extend(batch.rejected.into_iter().take(room));
        Ok(())
    }
}

/// A row that cannot be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RejectedRow {
    /// Its number, from 1. The header of a CSV file is not counted; empty lines of NDJSON are.
    pub row: u64,
    /// Why.
    pub reason: String,
}

/// Why an upload ended early. What the report of an earlier chunk counts is stored; uploading the file again is safe.
#[derive(Debug, thiserror::Error)]
pub enum UploadRefused {
    /// The campaign takes no more recipients.
    #[error("recipients can be added to a draft only, and the campaign is {0}")]
    NotDraft(CampaignState),
    /// There is no such campaign.
    #[error("there is no such campaign")]
    Unknown,
    /// The file cannot be read to its end.
    #[error("{reason}; {accepted} recipients were accepted before")]
    File {
        /// Why.
        reason: String,
        /// How many rows were accepted until then.
        accepted: i64,
    },
    /// The database did not take a chunk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What the parsing thread hands on.
#[derive(Default)]
struct Batch {
    chunk: Chunk,
    rejected: Vec<RejectedRow>,
    rejected_count: i64,
}

impl Batch {
    fn take(&mut self, number: u64, row: Result<Row, RowRefused>) {
        match row {
            Ok(row) => self.chunk.push(row.recipient, row.parameters),
            Err(reason) => {
                self.rejected_count += 1;
                if self.rejected.len() < MOST_ERRORS {
                    self.rejected.push(RejectedRow {
                        row: number,
                        reason: reason.to_string(),
                    });
                }
            }
        }
    }

    fn is_full(&self) -> bool {
        self.chunk.is_full() || self.rejected_count >= recipients::CHUNK_ROWS as i64
    }
}

/// Adds the rows of a file as they arrive.
///
/// # Errors
/// When the campaign takes none, the file cannot be read, or the database is away.
pub async fn add_stream<S>(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
    rows: RowReader,
    format: FileFormat,
    body: S,
) -> Result<UploadReport, UploadRefused>
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
{
    let (sender, mut batches) = mpsc::channel(CHUNKS_AHEAD);
    let bytes = SyncIoBridge::new(Box::pin(StreamReader::new(body)));
    let parsing = tokio::task::spawn_blocking(move || parse(format, bytes, &rows, &sender));
    let mut report = UploadReport::default();
    while let Some(batch) = batches.recv().await {
        add_batch(database, tenant, campaign, batch, &mut report).await?;
    }
    let parsed = parsing.await.unwrap_or(Err(FileRefused::Unwanted));
    parsed.map_err(|refused| UploadRefused::File {
        reason: refused.to_string(),
        accepted: report.accepted,
    })?;
    Ok(report)
}

/// Adds a few rows that are in memory already: at most as many as one transaction should write.
///
/// # Errors
/// When the campaign takes none, or the database is away.
pub async fn add_few(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    rows: impl IntoIterator<Item = Result<Row, RowRefused>>,
) -> Result<UploadReport, UploadRefused> {
    let mut report = UploadReport::default();
    let mut batch = Batch::default();
    for (number, row) in (1..).zip(rows) {
        batch.take(number, row);
    }
    let outcome = recipients::add(transaction, tenant, campaign, &batch.chunk).await?;
    report.note(batch, outcome)?;
    Ok(report)
}

fn parse(
    format: FileFormat,
    bytes: impl Read,
    rows: &RowReader,
    sender: &mpsc::Sender<Batch>,
) -> Result<(), FileRefused> {
    let mut batch = Batch::default();
    let end = read_file(format, bytes, rows, |number, row| {
        batch.take(number, row);
        !batch.is_full() || sender.blocking_send(std::mem::take(&mut batch)).is_ok()
    });
    // The rows before a fault are good rows; nobody listening any more is no fault of theirs.
    let _ = sender.blocking_send(batch);
    end
}

async fn add_batch(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
    batch: Batch,
    report: &mut UploadReport,
) -> Result<(), UploadRefused> {
    let mut transaction = database.begin_for(tenant).await?;
    let outcome = recipients::add(&mut transaction, tenant, campaign, &batch.chunk).await?;
    transaction.commit().await?;
    report.note(batch, outcome)
}
