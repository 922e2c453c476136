//! Tests of the tree at its doors, in paused time, against the world in memory.

mod billing;
mod chaos;
mod ownership;
mod rig;
mod sending;
mod supervision;
