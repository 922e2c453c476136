//! `/v1/usage`, `/v1/invoices`, `/v1/ledger`: what a tenant used, what it costs, and the rows that prove it.

pub(super) mod invoices;
pub(super) mod ledger;
pub(super) mod usage;

use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::authentication::{Scope, tenant};
use super::context::Context;
use super::query::{no_query, query};
use super::reply::finish;

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let usage = warp::path!("v1" / "usage")
        .and(warp::get())
        .and(tenant(context, Scope::Billing))
        .and(no_query())
        .and(with.clone())
        .then(|tenant, context| async move { finish(usage::read(context, tenant).await) })
        .boxed();
    let invoices = warp::path!("v1" / "invoices")
        .and(warp::get())
        .and(tenant(context, Scope::Billing))
        .and(query())
        .and(with.clone())
        .then(|tenant, query, context| async move { finish(invoices::list(context, tenant, query).await) })
        .boxed();
    let invoice = warp::path!("v1" / "invoices" / Uuid)
        .and(warp::get())
        .and(tenant(context, Scope::Billing))
        .and(no_query())
        .and(with.clone())
        .then(|id, tenant, context| async move { finish(invoices::read(context, tenant, id).await) })
        .boxed();
    let ledger = warp::path!("v1" / "ledger")
        .and(warp::get())
        .and(tenant(context, Scope::Billing))
        .and(query())
        .and(with)
        .then(|tenant, query, context| async move { finish(ledger::list(context, tenant, query).await) })
        .boxed();
    let some = usage.or(invoices).unify().or(invoice).unify();
    some.or(ledger).unify().boxed()
}
