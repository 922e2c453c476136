//! Billing as a whole, on books kept in memory: golden cases from files, and every invariant against a reference.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it is"
)]

mod books;
mod case;
mod golden;
mod invariants;
mod made_up;
mod reference;
