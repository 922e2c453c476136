//! `/admin/v1/tenants/{id}/api-keys`: a key is shown once, when it is made.

use domain::api_key::{self, NewApiKey};
use domain::ids::{ApiKeyId, TenantId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::api::authentication::operator;
use crate::api::body::{self, Json};
use crate::api::call;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::idempotency::{self, Once};
use crate::api::limits::LIVE_KEYS_MOST;
use crate::api::pagination::Listed;
use crate::api::query::no_query;
use crate::api::reply::{self, Answer, finish};
use crate::api::scope;
use crate::storage::api_keys::{self, ListedKey, NewKey, Stored};

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct KeyBody {
    /// Its name, for people: 1 to 200 characters.
    name: String,
    /// `campaigns:read`, `campaigns:write`, `messages:read`, `messages:send`, `senders:read`, `senders:write`, `suppressions:read`,
    /// `suppressions:write`, `billing:read`, `billing:write`; `campaigns` and the like mean both. All of them if absent.
    #[serde(default)]
    #[schema(min_items = 1)]
    scopes: Option<Vec<String>>,
    /// When it ends by itself.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A key that was just made.
#[derive(Clone, Serialize, ToSchema)]
pub(in crate::api) struct ShownKey {
    /// Its id.
    id: Uuid,
    /// The key. It is not stored and never shown again: null in the answer to a repeat.
    key: Option<String>,
    /// The part by which it is recognised.
    prefix: String,
    /// What it may be used for.
    scopes: Vec<String>,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A key.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct KeyView {
    /// Its id.
    id: Uuid,
    /// Its name.
    name: String,
    /// The part by which it is recognised.
    prefix: String,
    /// What it may be used for.
    scopes: Vec<String>,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it was ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<ListedKey> for KeyView {
    fn from(key: ListedKey) -> Self {
        Self {
            id: key.id.0,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
            created_at: key.created_at,
        }
    }
}

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let all = warp::path!("admin" / "v1" / "tenants" / Uuid / "api-keys");
    let create = all
        .and(warp::post())
        .and(operator(context))
        .and(idempotency::key())
        .and(body::json())
        .and(with.clone())
        .then(|tenant, key, body, context| async move { finish(create(context, tenant, key, body).await) })
        .boxed();
    let list = all
        .and(warp::get())
        .and(operator(context))
        .and(no_query())
        .and(with.clone())
        .then(|tenant, context| async move { finish(list(context, tenant).await) })
        .boxed();
    let revoke = warp::path!("admin" / "v1" / "tenants" / Uuid / "api-keys" / Uuid)
        .and(warp::delete())
        .and(operator(context))
        .and(with)
        .then(|tenant, key, context| async move { finish(revoke(context, tenant, key).await) })
        .boxed();
    create.or(list).unify().or(revoke).unify().boxed()
}

/// Makes a key and shows it, this once. Two keys of one name may be live: to change keys without a break, make the new one under the
/// same name, move over, then end the old one.
#[utoipa::path(post, path = "/admin/v1/tenants/{id}/api-keys", tag = "operators", request_body = KeyBody,
    params(("id" = Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Repeats under the same key have no further effect")),
    responses((status = 201, body = ShownKey), (status = 404, description = "There is no such tenant"),
        (status = 409, description = "Two keys of this name are live already"),
        (status = 422, description = "A value cannot be taken")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn create(
    context: Context,
    tenant: Uuid,
    key: Option<String>,
    body: Json<KeyBody>,
) -> Answer {
    let sha256 = body.sha256;
    let name = super::checked_name(&body.value.name)?;
    if body.value.expires_at.is_some_and(|end| end <= Timestamp::now()) {
        return Err(ApiError::invalid("expires_at: a moment to come"));
    }
    let scopes = checked_scopes(body.value.scopes)?;
    let made = NewApiKey::from_random(rand::random());
    let new = NewKey {
        id: ApiKeyId(Uuid::now_v7()),
        name,
        prefix: &made.prefix,
        sha256: api_key::hash(&made.text),
        scopes: &scopes,
        expires_at: body.value.expires_at,
    };
    let route = format!("POST /admin/v1/tenants/{tenant}/api-keys");
    let mut first = match Once::begin_for_operator(&context, key, &route, sha256).await? {
        Once::First(first) => first,
        Once::Repeated(answer) => return Ok(answer),
    };
    let stored = api_keys::insert(&mut first.transaction, TenantId(tenant), &new, LIVE_KEYS_MOST).await?;
    if let Some(refused) = refusal(stored) {
        first.transaction.rollback().await?;
        return Err(refused);
    }
    call::note_made(new.id.0);
    let repeated = ShownKey {
        id: new.id.0,
        key: None,
        prefix: made.prefix.clone(),
        scopes: scopes.clone(),
        expires_at: body.value.expires_at,
    };
    let shown = ShownKey {
        key: Some(made.text),
        ..repeated.clone()
    };
    first.answer_once(StatusCode::CREATED, &shown, &repeated).await
}

fn refusal(stored: Stored) -> Option<ApiError> {
    match stored {
        Stored::Stored => None,
        Stored::NoTenant => Some(ApiError::not_found("tenant")),
        Stored::TooMany => Some(ApiError::conflict(format!(
            "{LIVE_KEYS_MOST} keys of this name are live; revoke the one that is not used any more"
        ))),
    }
}

/// Gives the wanted scopes, or all of them where none were named.
fn checked_scopes(wanted: Option<Vec<String>>) -> Result<Vec<String>, ApiError> {
    let Some(wanted) = wanted else {
        return Ok(scope::every_name().map(str::to_owned).collect());
    };
    let names = scope::full_names(&wanted)
        .map_err(|unknown| ApiError::invalid(format!("scopes: there is no scope {unknown:?}")))?;
    if names.is_empty() {
        return Err(ApiError::invalid(
            "scopes: name at least one, or leave it out for all of them",
        ));
    }
    Ok(names)
}

/// Lists a tenant's keys, the newest first.
#[utoipa::path(get, path = "/admin/v1/tenants/{id}/api-keys", tag = "operators", params(("id" = Uuid, Path)),
    responses((status = 200, body = crate::api::pagination::Listed<KeyView>, description = "A page")), security(("admin_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: Uuid) -> Answer {
    let mut connection = context.app_system.get().await?;
    let found = api_keys::list(&mut connection, TenantId(tenant)).await?;
    reply::ok(&Listed::whole(found.into_iter().map(KeyView::from).collect()))
}

/// Ends a key. Every process lets it in for up to five seconds more, and no longer.
#[utoipa::path(delete, path = "/admin/v1/tenants/{id}/api-keys/{key_id}", tag = "operators",
    params(("id" = Uuid, Path), ("key_id" = Uuid, Path)),
    responses((status = 204), (status = 404, description = "There is no such key")), security(("admin_key" = [])))]
pub(in crate::api) async fn revoke(context: Context, tenant: Uuid, key: Uuid) -> Answer {
    let mut connection = context.app_system.get().await?;
    if api_keys::revoke(&mut connection, TenantId(tenant), key).await? {
        reply::nothing()
    } else {
        Err(ApiError::not_found("key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_scopes_named_means_all_and_an_unknown_one_is_refused() {
        assert_eq!(checked_scopes(None).unwrap().len(), scope::every_name().count());
        let both = Some(vec!["billing".to_owned()]);
        assert_eq!(checked_scopes(both).unwrap(), ["billing:read", "billing:write"]);
        assert!(checked_scopes(Some(vec!["everything".to_owned()])).is_err());
        assert!(checked_scopes(Some(Vec::new())).is_err());
    }
}
