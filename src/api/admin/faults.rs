//! `/admin/v1/faults`, in builds of the tests alone: lets a child of a tenant's actors fail on demand.

use actors::faults::{Deed, Fault, Planted, Step, Unknown};
use domain::ids::TenantId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::api::authentication::operator;
use crate::api::body::{self, Json};
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::pagination::Listed;
use crate::api::reply::{self, Answer, finish};

/// A fault to plant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultBody {
    /// Whose child; every tenant's if absent.
    #[serde(default)]
    tenant_id: Option<Uuid>,
    /// `rate_limiter`, `send_queue` or `billing_counter`.
    child: String,
    /// `handle`, `taken`, `handled`, `recover`, `committed` or `claimed`.
    step: String,
    /// `panic`, `stop`, `vanish` or `block`; `panic` if absent.
    #[serde(default)]
    deed: Option<String>,
    /// How often; until it is cleared if absent.
    #[serde(default)]
    times: Option<u64>,
}

/// A fault and how often it struck.
#[derive(Debug, Serialize)]
struct FaultView {
    id: u64,
    tenant_id: Option<Uuid>,
    child: &'static str,
    step: &'static str,
    deed: &'static str,
    times: Option<u64>,
    struck: u64,
    armed: bool,
}

impl From<Planted> for FaultView {
    fn from(planted: Planted) -> Self {
        let fault = planted.fault;
        Self {
            id: planted.id,
            tenant_id: fault.tenant.map(|tenant| tenant.0),
            child: fault.child.as_str(),
            step: fault.step.as_str(),
            deed: fault.deed.as_str(),
            times: fault.times,
            struck: planted.struck,
            armed: planted.armed,
        }
    }
}

/// The routes of this room: `POST` plants, `GET` tells how often each struck, `DELETE` clears all, or one by its id.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let all = warp::path!("admin" / "v1" / "faults");
    let plant = all
        .and(warp::post())
        .and(operator(context))
        .and(body::json())
        .and(with.clone())
        .then(|body, context| async move { finish(plant(&context, body)) })
        .boxed();
    let list = all
        .and(warp::get())
        .and(operator(context))
        .and(with.clone())
        .then(|context| async move { finish(list(&context)) })
        .boxed();
    let clear_all = all
        .and(warp::delete())
        .and(operator(context))
        .and(with.clone())
        .then(|context| async move { finish(clear(&context, None)) })
        .boxed();
    let clear_one = warp::path!("admin" / "v1" / "faults" / u64)
        .and(warp::delete())
        .and(operator(context))
        .and(with)
        .then(|id, context| async move { finish(clear(&context, Some(id))) })
        .boxed();
    plant
        .or(list)
        .unify()
        .or(clear_all)
        .unify()
        .or(clear_one)
        .unify()
        .boxed()
}

fn plant(context: &Context, body: Json<FaultBody>) -> Answer {
    let faults = faults_of(context)?;
    let body = body.value;
    let fault = Fault {
        tenant: body.tenant_id.map(TenantId),
        child: body.child.parse().map_err(|error| unknown("child", &error))?,
        step: body
            .step
            .parse::<Step>()
            .map_err(|error| unknown("step", &error))?,
        deed: body
            .deed
            .map_or(Ok(Deed::Panic), |deed| deed.parse())
            .map_err(|error| unknown("deed", &error))?,
        times: body.times,
    };
    let id = faults.plant(fault);
    let planted = faults.all().into_iter().find(|planted| planted.id == id);
    Ok(reply::json(StatusCode::CREATED, &planted.map(FaultView::from)))
}

fn list(context: &Context) -> Answer {
    let planted = faults_of(context)?.all();
    let items: Vec<_> = planted.into_iter().map(FaultView::from).collect();
    reply::ok(&Listed::whole(items))
}

fn clear(context: &Context, id: Option<u64>) -> Answer {
    faults_of(context)?.clear(id);
    list(context)
}

fn faults_of(context: &Context) -> Result<actors::faults::Faults, ApiError> {
    let tenants = context.tenants.as_ref();
    let tenants = tenants.ok_or_else(|| ApiError::conflict("this process runs no worker"))?;
    Ok(tenants.faults())
}

fn unknown(field: &str, error: &Unknown) -> ApiError {
    ApiError::invalid(format!("{field}: {error}"))
}
