//! Every limit of this crate. The constants at the end hold them in relation to each other.

use std::time::Duration;

use domain::in_flight::{RATE_MOST, burst_most, in_flight_most};

/// Message ids of one tenant inside `SendQueue`: waiting, proposed or being given back.
pub const SEND_QUEUE_MOST: usize = 2_048;
/// Event ids of one tenant inside `BillingCounter`.
pub const BILLING_QUEUE_MOST: usize = 4_096;
/// Permits in one lease of a sender, and claims in one proposal.
pub const LEASE_MOST: usize = 100;
/// Claims in one commit of a tenant.
pub const CLAIMS_PER_COMMIT_MOST: usize = 200;
/// Events in one commit of a tenant.
pub const EVENTS_PER_COMMIT_MOST: usize = 500;
/// Attempts of one tenant between proposal and stored outcome, whatever its numbers; each number has a bound of its own,
/// [`domain::in_flight::in_flight_most`].
pub const IN_FLIGHT_MOST: usize = 2_048;
/// Message ids that campaigns leave room for in `SendQueue`, so that a single message never waits at its door.
pub const FAST_ROOM: usize = 256;
/// How long an id may wait in `SendQueue` before it goes back to `planned`.
pub const WAIT_LONGEST: Duration = Duration::from_secs(5);
/// How long a delivery is held in all, whatever its tenant waits for; then its rows are left to their state.
pub const DELIVER_LONGEST: Duration = Duration::from_secs(10);
/// When an id that waited too long is due again.
pub const GIVE_BACK_DELAY: Duration = Duration::from_secs(2);
/// How often giving back is tried; beyond it the row's own time in `queued` brings it back.
pub const GIVE_BACK_TRIES: usize = 5;
/// The least wait for permits when there is none, so that permits come in batches.
pub const LEASE_WAIT_LEAST: Duration = Duration::from_millis(20);
/// When a lease that got no answer is asked for again.
pub const LEASE_ASK_AGAIN: Duration = Duration::from_secs(3);
/// How long a number that may not send is left alone before its limits are looked at again.
pub const LEASE_WAIT_LONGEST: Duration = Duration::from_secs(1);
/// Pairs with debts that are stored with a number's limiter.
pub const PAIRS_STORED_MOST: usize = 100;
/// The longest time after which a message is due again that was held back by its number or by an outage.
pub const HOLD_LOOK_AGAIN: Duration = Duration::from_secs(600);
/// Rounds of settling unknown messages in a row.
pub const SETTLE_ROUNDS_MOST: usize = 20;
/// How often a sender's limiter is stored at most.
pub const LIMITER_SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often a number's limits are read again.
pub const LIMITER_LOAD_EVERY: Duration = Duration::from_secs(60);
/// Numbers remembered by one `RateLimiter`; beyond it the quiet ones are forgotten.
pub const SENDERS_MOST: usize = 1_000;
/// How often rows past their deadline are looked for.
pub const EXPIRE_EVERY: Duration = Duration::from_secs(5);
/// How often stored events that nobody applied are looked for.
pub const UNAPPLIED_EVERY: Duration = Duration::from_secs(10);
/// How old a ledger's head may be when it is the reason to block: limits and periods change without a commit.
pub const HEAD_FRESH: Duration = Duration::from_secs(1);
/// How long an automatic pause is not repeated.
pub const PAUSE_AGAIN: Duration = Duration::from_secs(5);
/// Messages that a cell handles before it lets others run.
pub const CELL_BUDGET: u32 = 8;
/// Failures on the same message that make it poison.
pub const POISON_TRIES: u32 = 3;
/// Rounds of [`POISON_TRIES`] after which work is poison although nothing else of its tenant succeeded meanwhile.
pub const POISON_ROUNDS_MOST: u32 = 4;
/// Messages and events of one tenant that are tried alone because they may be poison; beyond it all are trusted again.
pub const SUSPECTS_MOST: usize = 4_096;
/// Failures of a cell in [`INTENSITY_WINDOW`] beyond which its tenant decides.
pub const INTENSITY_MOST: usize = 5;
/// The window of [`INTENSITY_MOST`].
pub const INTENSITY_WINDOW: Duration = Duration::from_secs(60);
/// Escalations in [`ESCALATION_WINDOW`] that put a tenant in quarantine.
pub const ESCALATIONS_MOST: usize = 3;
/// The window of [`ESCALATIONS_MOST`].
pub const ESCALATION_WINDOW: Duration = Duration::from_secs(600);
/// Failures in a row, without one message served well between them, beyond which a cell's tenant decides. More than one
/// message's poison, so that a single one never gets there.
pub const FRUITLESS_MOST: u32 = 5;
/// Escalations of cells that served nothing well, in [`FRUITLESS_WINDOW`], that put a tenant in quarantine.
pub const FRUITLESS_ESCALATIONS_MOST: usize = 2;
/// The window of [`FRUITLESS_ESCALATIONS_MOST`].
pub const FRUITLESS_WINDOW: Duration = Duration::from_secs(60);
/// Actors of a tenant that may be gone without a word in [`INTENSITY_WINDOW`]; each costs the tenant all three.
pub const VANISHINGS_MOST: usize = 3;
/// How often each thread of actors says that it is alive.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// Silence of a thread of actors after which the process is not ready.
pub const SILENT_NOT_READY: Duration = Duration::from_secs(10);
/// Silence of a thread of actors after which the process ends itself, so that another node takes over.
pub const SILENT_ENDS_PROCESS: Duration = Duration::from_secs(30);
/// How often the rows of quarantined tenants are looked at.
pub const QUARANTINE_LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest text of an error that is kept with a quarantine, in bytes.
pub const QUARANTINE_ERROR_LONGEST: usize = 2_000;
/// Quarantined tenants that the metrics name.
pub const QUARANTINED_NAMED_MOST: usize = 100;
/// Tenants of a kind of actor whose depth the metrics name.
pub const DEEPEST_NAMED_MOST: usize = 5;
/// The first wait before a cell is restarted.
pub const RESTART_FIRST: Duration = Duration::from_millis(100);
/// The longest wait before a cell is restarted.
pub const RESTART_LONGEST: Duration = Duration::from_secs(30);
/// Good service after which the wait starts from the first one again.
pub const RESTART_FORGET: Duration = Duration::from_secs(60);
/// The first wait before a dependency is asked again.
pub const DEPENDENCY_FIRST: Duration = Duration::from_millis(100);
/// The longest wait before a dependency is asked again.
pub const DEPENDENCY_LONGEST: Duration = Duration::from_secs(5);
/// Recoveries of cells at once on a node, so that a start does not overrun the database.
pub const RECOVERIES_MOST: usize = 16;
/// How often a delivery is handed in again whose cell lost it.
pub const REDELIVERIES_MOST: u32 = 5;

// What is *told* to an actor needs no permit, because it follows from what is bounded. To `SendQueue`: permits and leases,
// one per number with ids inside; claims, refusals and lost proposals, each of attempts in flight; one `Landed`; ticks, while it
// works. To `BillingCounter`: proposals and events of attempts in flight; the end of the one call, one reading of the
// head. To `RateLimiter`: one wish and one timer per number; throttles of attempts in flight. So an inbox holds no more
// than the room at its gate and a few per attempt in flight: `actors/tests/actors/bounds.rs` looks.
const _: () = assert!(IN_FLIGHT_MOST <= BILLING_QUEUE_MOST);
const _: () = assert!(SENDERS_MOST <= SEND_QUEUE_MOST);
const _: () = assert!(WAIT_LONGEST.as_millis() < DELIVER_LONGEST.as_millis());
const _: () = assert!(POISON_TRIES < FRUITLESS_MOST);
const _: () = assert!(SILENT_NOT_READY.as_millis() < SILENT_ENDS_PROCESS.as_millis());
// A delivery whose actors vanish is handed in again until its tenant is in quarantine, and not given up before.
const _: () = assert!(VANISHINGS_MOST + 1 < REDELIVERIES_MOST as usize);
const _: () = assert!(LEASE_MOST <= CLAIMS_PER_COMMIT_MOST);
const _: () = assert!(CLAIMS_PER_COMMIT_MOST <= IN_FLIGHT_MOST);
const _: () = assert!(IN_FLIGHT_MOST <= SEND_QUEUE_MOST);
const _: () = assert!(in_flight_most(RATE_MOST) as usize <= IN_FLIGHT_MOST);
const _: () = assert!(burst_most(RATE_MOST) as usize <= LEASE_MOST);
const _: () = assert!(FAST_ROOM < SEND_QUEUE_MOST);
const _: () = assert!(EVENTS_PER_COMMIT_MOST <= BILLING_QUEUE_MOST);
