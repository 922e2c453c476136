//! The living part of Malote: the supervision tree of tenants. The only crate that knows actix.
//!
//! ```text
//! Node                      arbiters (one a core) on one shared runtime; attends to what tenants give up
//!  `- Tenants               the handle others hold: grant, deliver, tick, revoke
//!      `- OwnedPartition    one per partition that this node owns: its epoch, its tenants
//!          `- TenantSupervisor        one per active tenant: restarts its children, quarantines the tenant
//!              |- Cell<BillingCounter>   the ledger's only writer: one commit in flight, what the plan allows
//!              |- Cell<RateLimiter>      leases of permits, number by number
//!              `- Cell<SendQueue>        ids that wait for permits; proposes claims, starts the calls to Meta
//! ```
//!
//! A `cell` keeps the inbox while its behaviour fails and recovers; a `gate` in front of it bounds what is inside. Calls to
//! Meta and all other I/O run in tasks on the shared runtime: no crash of an actor ends them. What an actor held in memory
//! when it failed is handed in again by whoever delivered it, or found again in the rows.

mod cell;
mod clock;
mod delays;
#[cfg(feature = "fault-injection")]
pub mod faults;
mod gate;
mod health;
mod inbox;
mod intensity;
pub mod limits;
pub mod metrics;
pub mod node;
mod partition;
pub mod ports;
mod quarantine;
mod registry;
mod sending_metrics;
mod sights;
mod tenant;
pub mod tenants;
pub mod testing;
mod watchdog;
