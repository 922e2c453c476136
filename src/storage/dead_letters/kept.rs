//! Letters beside the messages: deliveries of the broker that nobody can read, and events that cannot be applied.

use domain::dead_letter::LetterKind;
use domain::ids::TenantId;
use uuid::Uuid;

use super::{Action, CHUNK, LetterFilter, Order, record};
use crate::storage::named::named;
use crate::storage::{Database, StorageError};

/// A letter that is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its id.
    pub id: Uuid,
    /// Why it is here.
    pub kind: LetterKind,
    /// Whose it is, if anybody's.
    pub tenant: Option<TenantId>,
    /// Where a delivery came from.
    pub queue: String,
    /// The delivery's bytes.
    pub payload: Vec<u8>,
}

/// Stores a delivery with the reason why it is kept.
///
/// # Errors
/// What the database says.
pub async fn keep(
    database: &Database,
    kind: LetterKind,
    queue: &str,
    payload: &[u8],
    error: &str,
) -> Result<(), StorageError> {
    let mut connection = database.get().await?;
    connection
        .execute(
            "INSERT INTO dead_letters (id, kind, queue, payload, error) VALUES ($1, $2, $3, $4, $5)",
            &[&Uuid::now_v7(), &kind.as_str(), &queue, &payload, &error],
        )
        .await?;
    Ok(())
}

/// Gives a chunk of the kept letters that a filter means and that follow `after`, oldest first.
///
/// # Errors
/// What the database says.
pub async fn open_kept(
    database: &Database,
    filter: &LetterFilter,
    after: Uuid,
) -> Result<Vec<Kept>, StorageError> {
    if filter.campaign.is_some() || filter.class.is_some() {
        return Ok(Vec::new());
    }
    let mut transaction = match filter.tenant {
        Some(tenant) => database.begin_for(tenant).await?,
        None => database.begin().await?,
    };
    let rows = transaction
        .query(
            "SELECT id, kind, tenant_id, queue, payload FROM dead_letters
             WHERE resolved_at IS NULL AND id > $1 AND ($2::uuid IS NULL OR tenant_id = $2)
                 AND ($3::uuid[] IS NULL OR id = ANY ($3)) AND ($4::text IS NULL OR kind = $4)
             ORDER BY id LIMIT $5",
            &[
                &after,
                &filter.tenant.map(|tenant| tenant.0),
                &filter.ids,
                &filter.kind.map(LetterKind::as_str),
                &CHUNK,
            ],
        )
        .await?;
    transaction.rollback().await?;
    rows.iter()
        .map(|row| {
            Ok(Kept {
                id: row.try_get("id")?,
                kind: named(row, "kind")?,
                tenant: row.try_get::<_, Option<Uuid>>("tenant_id")?.map(TenantId),
                queue: row.try_get("queue")?,
                payload: row.try_get("payload")?,
            })
        })
        .collect()
}

/// Closes kept letters of one tenant, or of nobody, with their record. Gives how many were still open.
///
/// # Errors
/// What the database says; then none of them was closed.
pub async fn resolve_kept(
    database: &Database,
    tenant: Option<TenantId>,
    letters: &[Uuid],
    order: &Order,
) -> Result<i64, StorageError> {
    let mut transaction = match tenant {
        Some(tenant) => database.begin_for(tenant).await?,
        None => database.begin().await?,
    };
    let resolution = match order.action {
        Action::Replay { .. } => "replayed",
        Action::Purge => "purged",
    };
    let rows = transaction
        .query(
            "UPDATE dead_letters SET resolved_at = now(), resolution = $2
             WHERE id = ANY ($1) AND resolved_at IS NULL RETURNING id",
            &[&letters, &resolution],
        )
        .await?;
    let closed: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    record(&mut transaction, tenant, order, &closed, 0).await?;
    transaction.commit().await?;
    i64::try_from(closed.len()).map_err(StorageError::nonsense)
}
