//! What can go wrong with the database, sorted by what a caller can do about it.

use tokio_postgres::error::SqlState;

/// Why the database did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// It did not answer, or gave up for a reason that passes: try again later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A row of this identity exists already.
    #[error("{constraint} exists already")]
    Duplicate {
        /// Which unique index or constraint said so.
        constraint: String,
    },
    /// A row refers to one that does not exist.
    #[error("{constraint} refers to nothing")]
    Dangling {
        /// Which constraint said so.
        constraint: String,
    },
    /// The statement or the data makes no sense: a fault of ours.
    #[error("the database refused: {0}")]
    Broken(String),
}

impl StorageError {
    /// Makes the error of stored data that no rule of ours could have written.
    pub fn nonsense(what: impl std::fmt::Display) -> Self {
        Self::Broken(format!("stored data makes no sense: {what}"))
    }
}

impl From<tokio_postgres::Error> for StorageError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            return if error.is_closed()
                || std::error::Error::source(&error).is_some_and(|cause| cause.is::<std::io::Error>())
            {
                Self::Unavailable(describe(&error))
            } else {
                Self::Broken(describe(&error))
            };
        };
        let constraint = || refusal.constraint().unwrap_or("a constraint").to_owned();
        match refusal.code() {
            &SqlState::UNIQUE_VIOLATION => Self::Duplicate {
                constraint: constraint(),
            },
            &SqlState::FOREIGN_KEY_VIOLATION => Self::Dangling {
                constraint: constraint(),
            },
            code if passes(code) => Self::Unavailable(refusal.to_string()),
            code => Self::Broken(format!("{} ({})", refusal, code.code())),
        }
    }
}

/// Tells whether a refusal is about the moment and not about the statement: connections, resources, shutdowns, locks, timeouts
/// (PostgreSQL's error codes, appendix A, classes 08, 25P03, 40, 53, 55P03, 57).
fn passes(code: &SqlState) -> bool {
    let code = code.code();
    matches!(&code[..2], "08" | "40" | "53" | "57") || matches!(code, "25P03" | "55P03")
}

fn describe(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl From<bb8::RunError<StorageError>> for StorageError {
    fn from(error: bb8::RunError<Self>) -> Self {
        match error {
            bb8::RunError::User(error) => error,
            bb8::RunError::TimedOut => Self::Unavailable("no connection became free in time".to_owned()),
        }
    }
}

impl From<StorageError> for actors::ports::Unavailable {
    fn from(error: StorageError) -> Self {
        Self {
            dependency: "postgresql",
            reason: error.to_string(),
        }
    }
}
