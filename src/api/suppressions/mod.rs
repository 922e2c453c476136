//! The suppression list: who a tenant must not write to.

pub(super) mod routes;

pub(super) use routes::routes;
