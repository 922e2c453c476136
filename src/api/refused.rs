//! Why campaigns and messages refuse a request, before it has the form of an HTTP answer.

use domain::campaign::TransitionRefused;

use super::upload::UploadRefused;
use crate::content::{BodyRefused, TemplateRefused};
use crate::storage::{StorageError, Transaction};

/// Why a request was refused. In every case nothing was changed, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such thing, or it is another tenant's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It cannot be done in the present state.
    #[error("{sentence}")]
    Conflict {
        /// The stable name.
        code: &'static str,
        /// What to tell the caller.
        sentence: String,
    },
    /// A value of the request makes no sense.
    #[error("{field}: {sentence}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        sentence: String,
    },
    /// A file broke off. The rows before are stored; uploading the file again is safe.
    #[error("{0}")]
    File(String),
    /// Too many do this at once.
    #[error("{0}")]
    Busy(&'static str),
    /// The database did not do it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refused {
    /// Refuses a value of the request.
    pub fn invalid(field: &'static str, problem: impl std::fmt::Display) -> Self {
        Self::Invalid {
            field,
            sentence: problem.to_string(),
        }
    }
}

/// Ends a transaction as its work ended: commits what went well, undoes what was refused. Either way the connection can be
/// used again, so that refusals cost no more than answers.
///
/// # Errors
/// The refusal, or what the database says.
pub async fn end<T>(transaction: Transaction, work: Result<T, Refused>) -> Result<T, Refused> {
    match work {
        Ok(done) => {
            transaction.commit().await?;
            Ok(done)
        }
        Err(refused) => Err(undo(transaction, refused).await),
    }
}

/// Undoes a transaction whose work was refused, and hands the refusal on.
pub async fn undo(transaction: Transaction, refused: Refused) -> Refused {
    if matches!(refused, Refused::Storage(_)) {
        return refused; // The transaction is broken; its connection goes with it.
    }
    match transaction.rollback().await {
        Ok(()) => refused,
        Err(error) => Refused::Storage(error),
    }
}

impl From<TransitionRefused> for Refused {
    fn from(refused: TransitionRefused) -> Self {
        Self::Conflict {
            code: "campaign_state",
            sentence: refused.sentence.to_owned(),
        }
    }
}

impl From<TemplateRefused> for Refused {
    fn from(refused: TemplateRefused) -> Self {
        Self::invalid("template", refused)
    }
}

impl From<BodyRefused> for Refused {
    fn from(refused: BodyRefused) -> Self {
        Self::invalid("body", refused)
    }
}

impl From<UploadRefused> for Refused {
    fn from(refused: UploadRefused) -> Self {
        match refused {
            UploadRefused::NotDraft(_) => Self::Conflict {
                code: "campaign_state",
                sentence: refused.to_string(),
            },
            UploadRefused::Unknown => Self::NotFound("campaign"),
            UploadRefused::File { .. } => Self::File(refused.to_string()),
            UploadRefused::Storage(error) => Self::Storage(error),
        }
    }
}
