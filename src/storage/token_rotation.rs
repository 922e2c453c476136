//! Sealing all senders' tokens under the current key: after the key was changed, and when tokens were stored in plain text before.

use std::time::Duration;

use domain::ids::{SenderId, TenantId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::sealing::{open, seal};
use super::{Database, StorageError};
use crate::config::{Secret, TokenKeys};

/// The oldest schema that has a place for sealed tokens: they are sealed in the midst of a migration to what a server needs.
pub const SCHEMA_NEEDED: i32 = 16;
/// Rows of one step.
const STEP: i64 = 100;
/// The pause after a step: the database has other work.
const PAUSE: Duration = Duration::from_millis(20);
/// Passes over the table; a row that somebody changes at the same moment is left for the next one.
const PASSES_MOST: u32 = 5;

/// Reads also where the plain column is gone.
const NEXT: &str =
    "SELECT id, tenant_id, token_sealed, token_key_id, to_jsonb(s) ->> 'access_token' AS plain FROM senders s
    WHERE id > $1 AND token_key_id IS DISTINCT FROM $2 ORDER BY id LIMIT $3";
const COUNT: &str = "SELECT count(*) FROM senders WHERE token_key_id IS DISTINCT FROM $1";
/// Only what is still as it was read.
const STORE: &str =
    "UPDATE senders s SET token_sealed = $3, token_key_id = $4 WHERE tenant_id = $1 AND id = $2
    AND token_sealed IS NOT DISTINCT FROM $5 AND to_jsonb(s) ->> 'access_token' IS NOT DISTINCT FROM $6";

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tokens to seal when it began.
    pub total: u64,
    /// Tokens sealed so far.
    pub sealed: u64,
    /// Tokens that do not open with any key that is known.
    pub unreadable: u64,
}

/// Seals every token that the current key does not wrap. May be stopped at any moment and started again: it goes on with what is left.
///
/// # Errors
/// What the database says.
pub async fn seal_all(
    system: &Database,
    keys: &TokenKeys,
    mut tell: impl FnMut(Report),
) -> Result<Report, StorageError> {
    let mut report = Report {
        total: left(system, keys).await?,
        ..Report::default()
    };
    tell(report);
    for _ in 0..PASSES_MOST {
        report.unreadable = 0;
        let mut after = Uuid::nil();
        while let Some(last) = step(system, keys, after, &mut report).await? {
            after = last;
            tell(report);
            tokio::time::sleep(PAUSE).await;
        }
        if left(system, keys).await? == report.unreadable {
            break;
        }
    }
    Ok(report)
}

async fn left(system: &Database, keys: &TokenKeys) -> Result<u64, StorageError> {
    let row = system
        .get()
        .await?
        .query_one(COUNT, &[&keys.current().id])
        .await?;
    u64::try_from(row.get::<_, i64>(0)).map_err(StorageError::nonsense)
}

/// Seals the next rows; gives the last id, or nothing when there are no more.
async fn step(
    system: &Database,
    keys: &TokenKeys,
    after: Uuid,
    report: &mut Report,
) -> Result<Option<Uuid>, StorageError> {
    let mut connection = system.get().await?;
    let rows = connection
        .query(NEXT, &[&after, &keys.current().id, &STEP])
        .await?;
    for row in &rows {
        let (tenant, sender) = (TenantId(row.try_get("tenant_id")?), SenderId(row.try_get("id")?));
        let token = match token_of(row, keys) {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(%error, "a token cannot be sealed anew");
                report.unreadable += 1;
                continue;
            }
        };
        let sealed = seal(keys, tenant, sender, token.expose())?;
        let before: Option<Vec<u8>> = row.try_get("token_sealed")?;
        let plain: Option<String> = row.try_get("plain")?;
        report.sealed += connection
            .execute(
                STORE,
                &[
                    &tenant.0,
                    &sender.0,
                    &sealed.bytes,
                    &sealed.key_id,
                    &before,
                    &plain,
                ],
            )
            .await?;
    }
    Ok(rows.last().map(|row| row.get("id")))
}

/// Reads a token from a row that has `id`, `tenant_id`, `token_sealed`, `token_key_id`, and `plain` where it still exists.
pub(super) fn token_of(row: &Row, keys: &TokenKeys) -> Result<Secret, StorageError> {
    let (tenant, sender) = (TenantId(row.try_get("tenant_id")?), SenderId(row.try_get("id")?));
    let sealed: Option<&[u8]> = row.try_get("token_sealed")?;
    let key_id: Option<&str> = row.try_get("token_key_id")?;
    match (sealed, key_id) {
        (Some(sealed), Some(key_id)) => open(keys, tenant, sender, key_id, sealed),
        _ => {
            let plain: Option<String> = row.try_get("plain")?;
            plain
                .map(Secret::new)
                .ok_or_else(|| StorageError::nonsense(format!("sender {sender} has no token")))
        }
    }
}
