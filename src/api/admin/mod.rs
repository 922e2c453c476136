//! Operators' routes, on the internal listener: plans, tenants, keys, quarantine.

pub(super) mod keys;
pub(super) mod plans;
pub(super) mod quarantine;
pub(super) mod tenants;

use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::context::Context;

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    plans::routes(context)
        .or(tenants::routes(context))
        .unify()
        .or(keys::routes(context))
        .unify()
        .or(quarantine::routes(context))
        .unify()
        .boxed()
}
