//! Operators' routes, on the internal listener: plans, tenants, keys, quarantine, nodes.

pub(super) mod audit_log;
#[cfg(feature = "fault-injection")]
mod faults;
pub(super) mod keys;
pub(super) mod nodes;
pub(super) mod plans;
pub(super) mod quarantine;
pub(super) mod tenants;

use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::context::Context;
use super::error::ApiError;
use super::limits::NAME_LONGEST;

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let routes = plans::routes(context)
        .or(tenants::routes(context))
        .unify()
        .or(keys::routes(context))
        .unify()
        .or(quarantine::routes(context))
        .unify()
        .or(audit_log::routes(context))
        .unify()
        .or(nodes::routes(context))
        .unify()
        .boxed();
    #[cfg(feature = "fault-injection")]
    let routes = routes.or(faults::routes(context)).unify().boxed();
    routes
}

/// Gives a name without the white space around it.
fn checked_name(name: &str) -> Result<&str, ApiError> {
    let name = name.trim();
    if (1..=NAME_LONGEST).contains(&name.chars().count()) {
        Ok(name)
    } else {
        Err(ApiError::invalid(format!("name: 1 to {NAME_LONGEST} characters")))
    }
}
