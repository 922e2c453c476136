//! `/v1/usage`, `/v1/invoices`, `/v1/ledger`, `/v1/plan`: what a tenant used, what it costs, the rows that prove it, what another
//! plan would cost.

pub(super) mod export;
pub(super) mod invoices;
pub(super) mod ledger;
pub(super) mod preview;
pub(super) mod usage;

use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::authentication::{Scope, tenant};
use super::body;
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
    let invoice =
        warp::path!("v1" / "invoices" / Uuid)
            .and(warp::get())
            .and(tenant(context, Scope::Billing))
            .and(query())
            .and(with.clone())
            .then(|id, tenant, query, context| async move {
                finish(invoices::read(context, tenant, id, query).await)
            })
            .boxed();
    let ledger = warp::path!("v1" / "ledger")
        .and(warp::get())
        .and(tenant(context, Scope::Billing))
        .and(query())
        .and(with.clone())
        .then(|tenant, query, context| async move { finish(ledger::list(context, tenant, query).await) })
        .boxed();
    let export = warp::path!("v1" / "ledger" / "export")
        .and(warp::get())
        .and(tenant(context, Scope::Billing))
        .and(query())
        .and(with.clone())
        .then(|tenant, query, context| async move { finish(export::export(context, tenant, query).await) })
        .boxed();
    let preview = warp::path!("v1" / "plan" / "preview")
        .and(warp::post())
        .and(tenant(context, Scope::Billing))
        .and(body::json())
        .and(with.clone())
        .then(|tenant, body, context| async move { finish(preview::preview(context, tenant, body).await) })
        .boxed();
    let cancel = warp::path!("v1" / "plan" / "pending")
        .and(warp::delete())
        .and(tenant(context, Scope::Billing))
        .and(no_query())
        .and(with)
        .then(|tenant, context| async move { finish(preview::cancel(context, tenant).await) })
        .boxed();
    let some = usage.or(invoices).unify().or(invoice).unify();
    let plan = preview.or(cancel).unify();
    some.or(ledger)
        .unify()
        .or(export)
        .unify()
        .or(plan)
        .unify()
        .boxed()
}
