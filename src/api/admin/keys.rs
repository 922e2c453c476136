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

use crate::api::authentication::{Scope, operator};
use crate::api::body::{self, Json};
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::pagination::Listed;
use crate::api::query::no_query;
use crate::api::reply::{self, Answer, finish};
use crate::storage::StorageError;
use crate::storage::api_keys::{self, ListedKey, NewKey};

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct KeyBody {
    /// Its name, for people: 1 to 200 characters.
    name: String,
    /// `senders`, `campaigns`, `messages`, `suppressions`, `billing`; all of them if absent.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// When it ends by itself.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ShownKey {
    /// Its id.
    id: Uuid,
    /// The key. It is not stored and never shown again.
    key: String,
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
        .and(body::json())
        .and(with.clone())
        .then(|tenant, body, context| async move { finish(create(context, tenant, body).await) })
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

/// Makes a key and shows it, this once. To change keys without a break, make the new one, move over, then end the old one.
#[utoipa::path(post, path = "/admin/v1/tenants/{id}/api-keys", tag = "operators", request_body = KeyBody,
    params(("id" = Uuid, Path)),
    responses((status = 201, body = ShownKey), (status = 404, description = "There is no such tenant")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn create(context: Context, tenant: Uuid, body: Json<KeyBody>) -> Answer {
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
    let mut connection = context.app_system.get().await?;
    match api_keys::insert(&mut connection, TenantId(tenant), &new).await {
        Err(StorageError::Dangling { .. }) => Err(ApiError::not_found("tenant")),
        Err(error) => Err(error.into()),
        Ok(()) => {
            let shown = ShownKey {
                id: new.id.0,
                key: made.text.clone(),
                prefix: made.prefix.clone(),
                scopes: scopes.clone(),
                expires_at: body.value.expires_at,
            };
            Ok(reply::json(StatusCode::CREATED, &shown))
        }
    }
}

/// Gives the wanted scopes, or all of them where none were named.
fn checked_scopes(wanted: Option<Vec<String>>) -> Result<Vec<String>, ApiError> {
    let known = || Scope::ALL.iter().map(|scope| scope.as_str());
    let Some(wanted) = wanted else {
        return Ok(known().map(str::to_owned).collect());
    };
    if let Some(unknown) = wanted.iter().find(|given| !known().any(|scope| scope == *given)) {
        return Err(ApiError::invalid(format!(
            "scopes: there is no scope {unknown:?}"
        )));
    }
    let chosen: Vec<String> = known()
        .filter(|scope| wanted.iter().any(|given| given == scope))
        .map(str::to_owned)
        .collect();
    if chosen.is_empty() {
        return Err(ApiError::invalid(
            "scopes: name at least one, or leave it out for all of them",
        ));
    }
    Ok(chosen)
}

/// Lists a tenant's keys, the newest first.
#[utoipa::path(get, path = "/admin/v1/tenants/{id}/api-keys", tag = "operators", params(("id" = Uuid, Path)),
    responses((status = 200, body = crate::api::pagination::Listed<KeyView>, description = "A page")), security(("admin_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: Uuid) -> Answer {
    let mut connection = context.app_system.get().await?;
    let found = api_keys::list(&mut connection, TenantId(tenant)).await?;
    reply::ok(&Listed::whole(found.into_iter().map(KeyView::from).collect()))
}

/// Ends a key. It works for up to five seconds more.
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
        assert_eq!(checked_scopes(None).unwrap().len(), Scope::ALL.len());
        let twice = Some(vec!["billing".to_owned(), "billing".to_owned()]);
        assert_eq!(checked_scopes(twice).unwrap(), ["billing"]);
        assert!(checked_scopes(Some(vec!["everything".to_owned()])).is_err());
        assert!(checked_scopes(Some(Vec::new())).is_err());
    }
}
