//! The simulator as a client sees it: over real sockets, in one binary.
#![allow(clippy::unwrap_used)]

mod control;
mod faults;
mod limits;
mod reads;
mod requests;
mod support;
mod webhooks;
