//! `Idempotency-Key`: a request that is repeated under the same key gets the same answer and has no further effect.
//!
//! The key is stored in the transaction of the effect itself, so there is no moment at which one exists without the other; a repeat
//! that arrives meanwhile is told so (409) and asks again. Keys are remembered for a day at least.

use domain::ids::TenantId;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::context::Context;
use super::error::{ApiError, Code};
use super::limits::{IDEMPOTENCY_KEPT_FOR, IDEMPOTENCY_KEY_LONGEST, IDEMPOTENCY_SWEPT_EVERY};
use super::reply;
use crate::storage::idempotency::{self, Owner, Stored};
use crate::storage::{Database, Transaction};

/// Reads the header, if it is there.
pub(super) fn key() -> BoxedFilter<(Option<String>,)> {
    warp::header::optional::<String>("idempotency-key")
        .and_then(|key: Option<String>| async move {
            match &key {
                Some(text) if !is_key(text) => Err(warp::reject::custom(ApiError::new(
                    Code::Malformed,
                    format!(
                        "Idempotency-Key: 1 to {IDEMPOTENCY_KEY_LONGEST} characters of ASCII that can be seen"
                    ),
                ))),
                _ => Ok(key),
            }
        })
        .boxed()
}

fn is_key(text: &str) -> bool {
    let is_seen = |byte: u8| (b' '..=b'~').contains(&byte);
    (1..=IDEMPOTENCY_KEY_LONGEST).contains(&text.len()) && text.bytes().all(is_seen)
}

/// A request under way, or the answer that it had before.
pub(super) enum Once {
    /// It is new: take effect in this transaction.
    First(First),
    /// It was answered before.
    Repeated(Response),
}

/// The transaction of a new request.
pub(super) struct First {
    /// Where it takes effect.
    pub transaction: Transaction,
    owner: Owner,
    key: Option<String>,
}

impl Once {
    /// Begins a request of a tenant.
    ///
    /// # Errors
    /// When the key was used for another request, or the database is away.
    pub(super) async fn begin(
        context: &Context,
        tenant: TenantId,
        key: Option<String>,
        route: &str,
        request_sha256: [u8; 32],
    ) -> Result<Self, ApiError> {
        let transaction = context.app_rw.begin_for(tenant).await?;
        Self::begin_in(transaction, Owner::Tenant(tenant), key, route, request_sha256).await
    }

    /// Begins a request of the operators.
    ///
    /// # Errors
    /// When the key was used for another request, or the database is away.
    pub(super) async fn begin_for_operator(
        context: &Context,
        key: Option<String>,
        route: &str,
        request_sha256: [u8; 32],
    ) -> Result<Self, ApiError> {
        let transaction = context.app_system.begin().await?;
        Self::begin_in(transaction, Owner::Operators, key, route, request_sha256).await
    }

    async fn begin_in(
        mut transaction: Transaction,
        owner: Owner,
        key: Option<String>,
        route: &str,
        request_sha256: [u8; 32],
    ) -> Result<Self, ApiError> {
        let Some(text) = &key else {
            return Ok(Self::First(First {
                transaction,
                owner,
                key,
            }));
        };
        match idempotency::begin(&mut transaction, owner, text, route, request_sha256).await? {
            Stored::New => Ok(Self::First(First {
                transaction,
                owner,
                key,
            })),
            Stored::Other => {
                transaction.rollback().await?;
                let detail = "this Idempotency-Key came with another request before; use a new one";
                Err(ApiError::new(Code::IdempotencyKeyReused, detail))
            }
            Stored::InFlight => {
                transaction.rollback().await?;
                let detail = "a request with this Idempotency-Key is under way; repeat it for its answer";
                Err(ApiError::new(Code::IdempotencyInFlight, detail))
            }
            Stored::Answered { status, body } => {
                transaction.rollback().await?;
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                Ok(Self::Repeated(reply::text(status, body)))
            }
        }
    }
}

impl First {
    /// Stores the answer beside the effect, and commits both.
    ///
    /// # Errors
    /// When the database is away; then nothing took effect.
    pub(super) async fn answer(
        self,
        status: StatusCode,
        body: &impl Serialize,
    ) -> Result<Response, ApiError> {
        self.answer_once(status, body, body).await
    }

    /// Answers with something that is shown once, and stores what its repeats are answered instead.
    ///
    /// # Errors
    /// When the database is away; then nothing took effect.
    pub(super) async fn answer_once(
        mut self,
        status: StatusCode,
        shown: &impl Serialize,
        repeated: &impl Serialize,
    ) -> Result<Response, ApiError> {
        if let Some(key) = &self.key {
            let text = serde_json::to_string_pretty(repeated).unwrap_or_default();
            idempotency::answer(&mut self.transaction, self.owner, key, status.as_u16(), &text).await?;
        }
        self.transaction.commit().await?;
        Ok(reply::json(status, shown))
    }
}

/// Forgets old keys again and again, until `stop`.
pub(super) async fn sweep(database: Database, stop: CancellationToken) {
    loop {
        match idempotency::sweep(&database, IDEMPOTENCY_KEPT_FOR).await {
            Ok(0) => {}
            Ok(swept) => tracing::debug!(swept, "old Idempotency-Keys were forgotten"),
            Err(error) => {
                tracing::warn!(%error, "old Idempotency-Keys were not forgotten; tried again later")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(IDEMPOTENCY_SWEPT_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}
