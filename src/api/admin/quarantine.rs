//! `/admin/v1/quarantine`: tenants whose actors kept failing, and letting them go on. The tenants' rows say so, whichever node
//! owns them and whichever process is asked.

use domain::ids::TenantId;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::api::authentication::operator;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::query::query;
use crate::api::reply::{self, Answer, finish};
use crate::api::senders::PageQuery;
use crate::storage::quarantine::{self, Quarantined};

/// A tenant in quarantine.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct QuarantineView {
    /// Which.
    tenant_id: Uuid,
    /// Its name.
    name: String,
    /// What kept failing.
    reason: String,
    /// What it said last.
    last_error: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// When it is released by itself.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

impl From<Quarantined> for QuarantineView {
    fn from(found: Quarantined) -> Self {
        Self {
            tenant_id: found.tenant.0,
            name: found.name,
            reason: found.reason,
            last_error: found.error,
            since: found.since,
            until: found.until,
        }
    }
}

/// A tenant that was let go on.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Released {
    /// Which.
    tenant_id: Uuid,
    /// How many campaigns run again that the quarantine had paused.
    campaigns_resumed: u64,
}

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let list = warp::path!("admin" / "v1" / "quarantine")
        .and(warp::get())
        .and(operator(context))
        .and(query())
        .and(with.clone())
        .then(|asked, context| async move { finish(list(context, asked).await) })
        .boxed();
    let release = warp::path!("admin" / "v1" / "tenants" / Uuid / "release")
        .and(warp::post())
        .and(operator(context))
        .and(with)
        .then(|tenant, context| async move { finish(release(context, tenant).await) })
        .boxed();
    list.or(release).unify().boxed()
}

/// Lists tenants in quarantine, newest first.
#[utoipa::path(get, path = "/admin/v1/quarantine", tag = "operators", params(PageQuery),
    responses((status = 200, body = crate::api::pagination::Listed<QuarantineView>, description = "A page")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn list(context: Context, asked: PageQuery) -> Answer {
    let page = asked.page()?;
    let mut connection = context.app_system.get().await?;
    let found = quarantine::list(&mut connection, page.cursor, page.one_more()).await?;
    let listed = page.of(found, |found| found.tenant.0);
    reply::ok(&listed.map(QuarantineView::from))
}

/// Lets a tenant in quarantine go on, on whichever node it is: its owner notices within a second. The campaigns that the
/// quarantine paused run again; those paused for another reason stay paused.
#[utoipa::path(post, path = "/admin/v1/tenants/{id}/release", tag = "operators", params(("id" = Uuid, Path)),
    responses((status = 200, body = Released), (status = 404, description = "There is no such tenant"),
        (status = 409, description = "The tenant is not in quarantine")),
    security(("admin_key" = [])))]
pub(in crate::api) async fn release(context: Context, tenant: Uuid) -> Answer {
    match quarantine::release_now(&context.app_system, TenantId(tenant)).await? {
        quarantine::Released::Now { campaigns } => {
            if let Some(tenants) = &context.tenants
                && let Err(error) = tenants.look_at_quarantines().await
            {
                tracing::debug!(%error, "the release is noticed with the next look");
            }
            reply::ok(&Released {
                tenant_id: tenant,
                campaigns_resumed: campaigns,
            })
        }
        quarantine::Released::NotThere => Err(ApiError::conflict("this tenant is not in quarantine")),
        quarantine::Released::Unknown => Err(ApiError::not_found("tenant")),
    }
}
