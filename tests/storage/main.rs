//! What the API stores, on a real and migrated PostgreSQL (`dev/stack up`, `malote migrate up`). Each test has a tenant of
//! its own and touches nothing else.

mod audit;
mod billing;
mod calls;
mod campaigns;
mod committer;
mod corrections;
mod dead_letters;
mod expiry;
mod findings;
mod late_events;
mod life;
mod limit;
mod messages;
mod meta_costs;
mod migrator;
mod poison;
mod refusals;
mod requests;
mod roles;
mod row_security;
mod scratch;
mod sending;
mod statements;
mod tenant;
mod tokens;
