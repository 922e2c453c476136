//! How many letters there are, for those who watch the whole: all tenants together, as `app_system`.

use domain::dead_letter::LetterKind;
use jiff::Timestamp;

use crate::storage::named::named;
use crate::storage::{Database, StorageError};

/// The open letters of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenLetters {
    /// Which kind.
    pub kind: LetterKind,
    /// How many.
    pub count: i64,
    /// Since when the oldest waits, in seconds.
    pub oldest_seconds: f64,
}

/// Letters that came in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// Of which kind.
    pub kind: LetterKind,
    /// How many.
    pub count: i64,
}

/// Counts the open letters by kind; a kind without any is not there.
///
/// # Errors
/// What the database says.
pub async fn open_letters(database: &Database) -> Result<Vec<OpenLetters>, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "SELECT kind, sum(number)::bigint AS number, extract(epoch FROM now() - min(oldest))::float8 AS oldest FROM (
                SELECT dead_kind AS kind, count(*) AS number, min(dead_at) AS oldest FROM messages
                WHERE dead_at IS NOT NULL GROUP BY dead_kind
                UNION ALL
                SELECT kind, count(*), min(created_at) FROM dead_letters WHERE resolved_at IS NULL GROUP BY kind) AS open
             GROUP BY kind",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(OpenLetters {
                kind: named(row, "kind")?,
                count: row.try_get("number")?,
                oldest_seconds: row.try_get::<_, f64>("oldest")?.max(0.0),
            })
        })
        .collect()
}

/// Counts the letters that came after `from`, up to and including `to`, open or not; a message that was replayed meanwhile is not
/// seen.
///
/// # Errors
/// What the database says.
pub async fn arrivals(
    database: &Database,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Arrivals>, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "SELECT dead_kind AS kind, count(*) AS number FROM messages WHERE dead_at > $1 AND dead_at <= $2 GROUP BY dead_kind
             UNION ALL
             SELECT kind, count(*) FROM dead_letters WHERE created_at > $1 AND created_at <= $2 GROUP BY kind",
            &[&from, &to],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Arrivals {
                kind: named(row, "kind")?,
                count: row.try_get("number")?,
            })
        })
        .collect()
}
