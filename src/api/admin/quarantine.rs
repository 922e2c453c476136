//! `/admin/v1/quarantine`: tenants of this process whose actors kept failing.

use actors::tenants::TenantState;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::api::authentication::operator;
use crate::api::context::Context;
use crate::api::pagination::Listed;
use crate::api::reply::{self, Answer, finish};

/// A tenant in quarantine.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct QuarantineView {
    /// Which.
    tenant_id: Uuid,
    /// Why: the last error.
    reason: String,
}

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    warp::path!("admin" / "v1" / "quarantine")
        .and(warp::get())
        .and(operator(context))
        .and(warp::any().map(move || with.clone()))
        .then(|context| async move { finish(list(&context)) })
        .boxed()
}

/// Lists tenants in quarantine at this node.
#[utoipa::path(get, path = "/admin/v1/quarantine", tag = "operators",
    responses((status = 200, body = [QuarantineView], description = "`{items, next_cursor}`")),
    security(("admin_key" = [])))]
pub(in crate::api) fn list(context: &Context) -> Answer {
    let status = context
        .tenants
        .as_ref()
        .map(actors::tenants::Tenants::status)
        .unwrap_or_default();
    let items = status
        .into_iter()
        .filter_map(|status| match status.state {
            TenantState::Quarantined { reason, .. } => Some(QuarantineView {
                tenant_id: status.tenant.0,
                reason,
            }),
            _ => None,
        })
        .collect();
    reply::ok(&Listed::whole(items))
}
