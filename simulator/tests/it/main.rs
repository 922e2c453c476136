//! The simulator as a client sees it: over real sockets, in one binary.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it is"
)]

mod control;
mod faults;
mod limits;
mod reads;
mod requests;
mod support;
mod webhooks;
