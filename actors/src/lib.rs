//! The living part of Malote: the supervision tree of tenants. The only crate that knows actix.

pub mod ports;
