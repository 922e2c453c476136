//! `/admin/v1/quarantine`: tenants of this process whose actors kept failing, and letting them go on.

use actors::tenants::{TenantState, Tenants};
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
use crate::api::pagination::Listed;
use crate::api::query::no_query;
use crate::api::reply::{self, Answer, finish};

/// A tenant in quarantine.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct QuarantineView {
    /// Which.
    tenant_id: Uuid,
    /// Why: the last error.
    reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

/// A tenant that was let go on.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Released {
    /// Which.
    tenant_id: Uuid,
}

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let list = warp::path!("admin" / "v1" / "quarantine")
        .and(warp::get())
        .and(operator(context))
        .and(no_query())
        .and(with.clone())
        .then(|context| async move { finish(list(&context)) })
        .boxed();
    let release = warp::path!("admin" / "v1" / "tenants" / Uuid / "release")
        .and(warp::post())
        .and(operator(context))
        .and(with)
        .then(|tenant, context| async move { finish(release(&context, tenant)) })
        .boxed();
    list.or(release).unify().boxed()
}

/// Lists tenants in quarantine at this process. Empty where it runs no worker.
#[utoipa::path(get, path = "/admin/v1/quarantine", tag = "operators",
    responses((status = 200, body = crate::api::pagination::Listed<QuarantineView>, description = "A page")),
    security(("admin_key" = [])))]
pub(in crate::api) fn list(context: &Context) -> Answer {
    let status = context.tenants.as_ref().map(Tenants::status).unwrap_or_default();
    let items = status
        .into_iter()
        .filter_map(|status| match status.state {
            TenantState::Quarantined { reason, since } => Some(QuarantineView {
                tenant_id: status.tenant.0,
                reason,
                since,
            }),
            _ => None,
        })
        .collect();
    reply::ok(&Listed::whole(items))
}

/// Lets a tenant in quarantine try again with its next work. Its campaigns stay paused until they are resumed.
#[utoipa::path(post, path = "/admin/v1/tenants/{id}/release", tag = "operators", params(("id" = Uuid, Path)),
    responses((status = 200, body = Released),
        (status = 409, description = "The tenant is not in quarantine at this process")),
    security(("admin_key" = [])))]
pub(in crate::api) fn release(context: &Context, tenant: Uuid) -> Answer {
    let tenants = context.tenants.as_ref().ok_or_else(|| {
        ApiError::conflict(
            "this process runs no worker; ask one whose GET /admin/v1/quarantine lists the tenant",
        )
    })?;
    if tenants.release(TenantId(tenant)) {
        reply::ok(&Released { tenant_id: tenant })
    } else {
        Err(ApiError::conflict(
            "this tenant is not in quarantine at this process",
        ))
    }
}
