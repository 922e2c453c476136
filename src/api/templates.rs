//! `/v1/templates`: what Meta has approved for the tenant's accounts.

use domain::category::Category;
use domain::ids::TenantId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::authentication::{Scope, tenant};
use super::body::{self, Json};
use super::context::Context;
use super::error::{ApiError, Code};
use super::pagination::Listed;
use super::query::no_query;
use super::reply::{self, Answer, finish};
use crate::storage::StorageError;
use crate::storage::meta_news::{self, TemplateKey};
use crate::storage::senders;
use crate::storage::templates::{self, StoredTemplate};

/// A template.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TemplateView {
    /// Its account at Meta.
    waba_id: String,
    /// Its name.
    name: String,
    /// Its language.
    language: String,
    /// What its messages are billed as.
    category: String,
    /// What Meta last said of it, such as `APPROVED`.
    status: String,
    /// Its components as Meta has them.
    #[schema(value_type = Vec<Object>)]
    components: Box<RawValue>,
    /// When it was last read from Meta.
    #[schema(value_type = String, format = DateTime)]
    synced_at: Timestamp,
}

/// Which account to read.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SyncBody {
    /// Meta's id of the account; the newest number's if absent.
    #[serde(default)]
    waba_id: Option<String>,
}

/// What was read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Synced {
    /// The account.
    waba_id: String,
    /// Templates that Meta has.
    synced: usize,
}

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let list = warp::path!("v1" / "templates")
        .and(warp::get())
        .and(tenant(context, Scope::Senders))
        .and(no_query())
        .and(with.clone())
        .then(|tenant, context| async move { finish(list(context, tenant).await) })
        .boxed();
    let sync = warp::path!("v1" / "templates" / "sync")
        .and(warp::post())
        .and(tenant(context, Scope::Senders))
        .and(body::json())
        .and(with)
        .then(|tenant, body, context| async move { finish(sync(context, tenant, body).await) })
        .boxed();
    list.or(sync).unify().boxed()
}

/// Lists the templates that were read from Meta.
#[utoipa::path(get, path = "/v1/templates", tag = "templates",
    responses((status = 200, body = crate::api::pagination::Listed<TemplateView>, description = "A page")), security(("api_key" = [])))]
pub(super) async fn list(context: Context, tenant: TenantId) -> Answer {
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let found = templates::list(&mut transaction, tenant).await?;
    transaction.commit().await?;
    let items = found.into_iter().map(view).collect::<Result<Vec<_>, _>>()?;
    reply::ok(&Listed::whole(items))
}

fn view(stored: StoredTemplate) -> Result<TemplateView, StorageError> {
    Ok(TemplateView {
        waba_id: stored.waba_id,
        name: stored.name,
        language: stored.language,
        category: stored.category,
        status: stored.status,
        components: RawValue::from_string(stored.components).map_err(StorageError::nonsense)?,
        synced_at: stored.synced_at,
    })
}

/// Reads the templates of an account from Meta.
#[utoipa::path(post, path = "/v1/templates/sync", tag = "templates", request_body = SyncBody,
    responses((status = 200, body = Synced), (status = 404, description = "The tenant has no such account"),
        (status = 502, description = "Meta refused, and why")), security(("api_key" = [])))]
pub(super) async fn sync(context: Context, tenant: TenantId, body: Json<SyncBody>) -> Answer {
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let account = senders::account(&mut transaction, tenant, body.value.waba_id.as_deref()).await?;
    transaction.commit().await?;
    let (waba_id, token) = account.ok_or_else(|| ApiError::not_found("account: add a sender of it first"))?;
    let found = context.meta.templates(&waba_id, token.expose()).await;
    let found = found.map_err(|reason| ApiError::new(Code::MetaRefused, reason))?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    for template in &found {
        // A category that is new to us is billed as the dearest one.
        let category = template.category.parse().unwrap_or(Category::Marketing);
        templates::put(&mut transaction, tenant, &waba_id, template, category).await?;
        let key = TemplateKey {
            waba_id: &waba_id,
            name: &template.name,
            language: &template.language,
        };
        meta_news::template_found(&mut transaction, tenant, key, &template.status).await?;
    }
    transaction.commit().await?;
    reply::ok(&Synced {
        waba_id,
        synced: found.len(),
    })
}
