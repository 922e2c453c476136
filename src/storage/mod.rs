//! PostgreSQL and Redis: the only room that knows them. PostgreSQL holds every fact; Redis holds what may be lost.
//!
//! One file per kind of fact. Functions take a [`Transaction`] (or a [`Connection`], where one statement is the whole
//! story), so that their caller decides what happens together.

pub mod anchors;
pub mod api_keys;
pub mod audit;
pub mod audit_log;
pub mod billing_reads;
pub mod booked;
pub mod campaign_counts;
pub mod campaign_events;
pub mod campaigns;
pub mod canaries;
pub mod charges;
pub mod committer;
pub mod count_changes;
mod database;
pub mod dead_letters;
mod error;
pub mod events;
pub mod findings;
pub mod forecasts;
pub mod history;
pub mod idempotency;
pub mod invoices;
pub mod jobs;
pub mod ledger_lines;
pub mod limiter;
pub mod message_rows;
pub mod messages;
pub mod meta_news;
pub mod migrations;
pub mod migrator;
mod named;
pub mod nonces;
pub mod number_holds;
pub mod outages;
pub mod ownership;
pub mod paces;
pub mod planning;
pub mod plans;
pub mod quarantine;
pub mod recipients;
pub mod reconcile;
mod redis;
pub mod reports;
pub mod request_limits;
pub mod revivals;
mod roles;
pub mod schema;
pub mod scratch;
pub mod sealing;
pub mod sender_directory;
pub mod senders;
mod sending_windows;
pub mod standings;
pub mod suppressions;
pub mod taking;
pub mod templates;
pub mod tenants;
pub mod token_rotation;
pub mod unknown;

pub use database::{Connection, CopyIn, Database, Parameters, Transaction};
pub use error::StorageError;
pub use redis::Redis;
pub use roles::Role;
