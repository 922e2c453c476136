//! The process: everything that touches the outside. `app` joins the parts; each other room knows one foreign thing.

pub mod api;
pub mod app;
pub mod broker;
mod causes;
pub mod charges;
pub mod commands;
pub mod config;
pub mod consumers;
pub mod content;
pub mod dead_letters;
mod foundation;
pub mod gate;
pub mod meta;
pub mod planner;
pub mod relay;
mod signals;
mod spreadsheet;
pub mod statements;
pub mod storage;
pub mod telemetry;
pub mod trial;
pub mod webhooks;
