//! `Idempotency-Key`: a request that is repeated under the same key gets the same answer and has no further effect.
//!
//! The key is stored in the transaction of the effect itself, so there is no moment at which one exists without the other; a repeat
//! that arrives meanwhile waits for it.

use domain::ids::TenantId;
use serde::Serialize;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::context::Context;
use super::error::{ApiError, Code};
use super::limits::IDEMPOTENCY_KEY_LONGEST;
use super::reply;
use crate::storage::Transaction;
use crate::storage::idempotency::{self, Stored};

/// Reads the header, if it is there.
pub(super) fn key() -> BoxedFilter<(Option<String>,)> {
    warp::header::optional::<String>("idempotency-key")
        .and_then(|key: Option<String>| async move {
            match &key {
                Some(text) if text.is_empty() || text.len() > IDEMPOTENCY_KEY_LONGEST => {
                    Err(warp::reject::custom(ApiError::new(
                        Code::Malformed,
                        format!("Idempotency-Key: 1 to {IDEMPOTENCY_KEY_LONGEST} characters"),
                    )))
                }
                _ => Ok(key),
            }
        })
        .boxed()
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
    tenant: TenantId,
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
        let mut transaction = context.app_rw.begin_for(tenant).await?;
        let Some(text) = &key else {
            return Ok(Self::First(First {
                transaction,
                tenant,
                key,
            }));
        };
        match idempotency::begin(&mut transaction, tenant, text, route, request_sha256).await? {
            Stored::New => Ok(Self::First(First {
                transaction,
                tenant,
                key,
            })),
            Stored::Other => {
                transaction.rollback().await?;
                let detail = "this Idempotency-Key came with another request before; use a new one";
                Err(ApiError::new(Code::IdempotencyKeyReused, detail))
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
        mut self,
        status: StatusCode,
        body: &impl Serialize,
    ) -> Result<Response, ApiError> {
        let text = serde_json::to_string_pretty(body).unwrap_or_default();
        if let Some(key) = &self.key {
            idempotency::answer(&mut self.transaction, self.tenant, key, status.as_u16(), &text).await?;
        }
        self.transaction.commit().await?;
        Ok(reply::text(status, text))
    }
}
