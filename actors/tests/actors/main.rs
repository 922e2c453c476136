//! Tests of the tree at its doors, in paused time, against the world in memory.

mod billing;
mod bounds;
mod chaos;
#[cfg(feature = "fault-injection")]
mod faults;
mod limits;
mod outage;
mod ownership;
mod passivation;
mod poison;
#[cfg(feature = "fault-injection")]
mod quarantine;
mod rig;
mod sending;
mod supervision;
