//! `/admin/v1/nodes`: the processes of the installation, and who owns which partition.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::api::authentication::operator;
use crate::api::context::Context;
use crate::api::query::no_query;
use crate::api::reply::{self, Answer, finish};
use crate::storage::ownership;

/// The nodes and the partitions.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct NodesView {
    /// Every process that was heard of in the last day, by name.
    nodes: Vec<NodeView>,
    /// Every partition that ever had an owner.
    partitions: Vec<PartitionView>,
}

/// A process of the installation.
#[derive(Debug, Serialize, ToSchema)]
struct NodeView {
    /// Its name.
    node: String,
    /// What it does.
    roles: Vec<String>,
    /// Its program's version.
    version: String,
    /// Whether it was heard of a moment ago.
    alive: bool,
    /// For how many partitions it consumes or waits.
    registered: usize,
    /// Since when it runs.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When it was last heard of.
    #[schema(value_type = String, format = DateTime)]
    heartbeat_at: Timestamp,
}

/// The owner of a partition.
#[derive(Debug, Serialize, ToSchema)]
struct PartitionView {
    /// Which.
    partition: u16,
    /// The node that took it last.
    node: String,
    /// How often it has changed hands.
    epoch: i64,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    claimed_at: Timestamp,
}

/// The routes of this room.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    warp::path!("admin" / "v1" / "nodes")
        .and(warp::get())
        .and(operator(context))
        .and(no_query())
        .then(move || {
            let context = with.clone();
            async move { finish(read(&context).await) }
        })
        .boxed()
}

/// Lists the processes of the installation, and who owns which partition.
#[utoipa::path(get, path = "/admin/v1/nodes", tag = "operators", responses((status = 200, body = NodesView)),
    security(("admin_key" = [])))]
pub(in crate::api) async fn read(context: &Context) -> Answer {
    let nodes = ownership::nodes(&context.app_system).await?;
    let owners = ownership::owners(&context.app_system).await?;
    reply::ok(&NodesView {
        nodes: nodes
            .into_iter()
            .map(|known| NodeView {
                node: known.node,
                roles: known.roles,
                version: known.version,
                alive: known.alive,
                registered: known.registered,
                started_at: known.started_at,
                heartbeat_at: known.heartbeat_at,
            })
            .collect(),
        partitions: owners
            .into_iter()
            .map(|owner| PartitionView {
                partition: owner.partition.0,
                node: owner.node,
                epoch: owner.epoch.0,
                claimed_at: owner.claimed_at,
            })
            .collect(),
    })
}
