//! Reading the domain's named values from text columns.

use std::str::FromStr;

use tokio_postgres::Row;

use super::StorageError;

/// Reads a column whose text is the name of one of our values.
pub(super) fn named<T>(row: &Row, column: &str) -> Result<T, StorageError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    row.try_get::<_, &str>(column)?
        .parse()
        .map_err(StorageError::nonsense)
}
