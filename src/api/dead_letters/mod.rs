//! Messages that used up their attempts: listed, replayed, purged.

pub(super) mod routes;

pub(super) use routes::routes;
