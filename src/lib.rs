//! The process: everything that touches the outside. `app` joins the parts; each other room knows one foreign thing.

pub mod api;
pub mod commands;
pub mod config;
pub mod content;
pub mod storage;
pub mod telemetry;
