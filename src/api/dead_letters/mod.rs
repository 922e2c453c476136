//! What gave up: listed, inspected, replayed, purged.

pub(super) mod routes;
pub(super) mod shapes;

pub(super) use routes::routes;
