//! `/v1/suppressions`: shapes and routes.

use domain::ids::TenantId;
use domain::recipient::Recipient;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::api::authentication::{Scope, tenant};
use crate::api::body::{self, Json};
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::pagination::{Listed, Page};
use crate::api::query::query;
use crate::api::reply::{self, Answer, finish};
use crate::api::senders::PageQuery;
use crate::storage::suppressions::{self, Suppression};

const MOST_REASON_CHARACTERS: usize = 500;

/// Why a recipient is on the list.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressionBody {
    /// For people; `manual` if absent.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A recipient on the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuppressionView {
    /// Who.
    pub recipient: String,
    /// Why.
    pub reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<Suppression> for SuppressionView {
    fn from(suppression: Suppression) -> Self {
        Self {
            recipient: suppression.recipient,
            reason: suppression.reason,
            created_at: suppression.created_at,
        }
    }
}

/// The routes of this room.
pub(in crate::api) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let list = warp::path!("v1" / "suppressions")
        .and(warp::get())
        .and(tenant(context, Scope::Suppressions))
        .and(query())
        .and(with.clone())
        .then(|tenant, query, context| async move { finish(list(context, tenant, query).await) });
    let put = warp::path!("v1" / "suppressions" / String)
        .and(warp::put())
        .and(tenant(context, Scope::Suppressions))
        .and(body::json())
        .and(with.clone())
        .then(|recipient: String, tenant, body, context| async move {
            finish(put(context, tenant, &recipient, body).await)
        });
    let remove = warp::path!("v1" / "suppressions" / String)
        .and(warp::delete())
        .and(tenant(context, Scope::Suppressions))
        .and(with)
        .then(|recipient: String, tenant, context| async move {
            finish(remove(context, tenant, &recipient).await)
        });
    list.or(put).unify().or(remove).unify().boxed()
}

/// Lists the suppression list in the order of recipients.
#[utoipa::path(get, path = "/v1/suppressions", tag = "suppressions", params(PageQuery),
    responses((status = 200, body = [SuppressionView], description = "`{items, next_cursor}`")),
    security(("api_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: TenantId, query: PageQuery) -> Answer {
    let page = Page::read(None, query.limit)?;
    let after = query
        .cursor
        .as_deref()
        .map(checked)
        .transpose()?
        .map(|recipient| recipient.canonical());
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let mut found = suppressions::list(&mut transaction, tenant, after.as_deref(), page.one_more()).await?;
    transaction.commit().await?;
    let most = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let has_more = found.len() > most;
    found.truncate(most);
    let next_cursor = found
        .last()
        .filter(|_| has_more)
        .map(|last| last.recipient.clone());
    let items = found.into_iter().map(SuppressionView::from).collect();
    reply::ok(&Listed { items, next_cursor })
}

/// Puts a recipient on the list: nothing that is not sent yet will be sent to them. A second time only the reason changes.
#[utoipa::path(put, path = "/v1/suppressions/{recipient}", tag = "suppressions", request_body = SuppressionBody,
    params(("recipient" = String, Path, description = "E.164 or Meta's business-scoped user id")),
    responses((status = 200, body = SuppressionView), (status = 422, description = "This is no recipient")),
    security(("api_key" = [])))]
pub(in crate::api) async fn put(
    context: Context,
    tenant: TenantId,
    recipient: &str,
    body: Json<SuppressionBody>,
) -> Answer {
    let recipient = checked(recipient)?;
    let reason = body.value.reason.unwrap_or_else(|| "manual".to_owned());
    if reason.chars().count() > MOST_REASON_CHARACTERS || reason.contains('\0') {
        return Err(ApiError::invalid(format!(
            "reason: at most {MOST_REASON_CHARACTERS} characters"
        )));
    }
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let stored = suppressions::put(&mut transaction, tenant, &recipient, &reason).await?;
    transaction.commit().await?;
    reply::ok(&SuppressionView::from(stored))
}

/// Takes a recipient off the list. Messages that were suppressed before stay so.
#[utoipa::path(delete, path = "/v1/suppressions/{recipient}", tag = "suppressions",
    params(("recipient" = String, Path, description = "E.164 or Meta's business-scoped user id")),
    responses((status = 204, description = "Taken off"), (status = 404, description = "They are not on the list")),
    security(("api_key" = [])))]
pub(in crate::api) async fn remove(context: Context, tenant: TenantId, recipient: &str) -> Answer {
    let recipient = checked(recipient)?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let removed = suppressions::remove(&mut transaction, tenant, &recipient).await?;
    transaction.commit().await?;
    if removed {
        reply::nothing()
    } else {
        Err(ApiError::not_found("suppression"))
    }
}

/// Reads a recipient from a path. Paths come as they were sent; the plus sign is all that a recipient may have escaped.
fn checked(recipient: &str) -> Result<Recipient, ApiError> {
    let recipient = recipient.replace("%2B", "+").replace("%2b", "+");
    recipient
        .parse()
        .map_err(|error| ApiError::invalid(format!("recipient: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_sign_may_be_escaped() {
        let plain = checked("+5511900000001").expect("a recipient");
        assert_eq!(checked("%2B5511900000001").expect("a recipient"), plain);
        assert!(checked("nobody").is_err());
    }
}
