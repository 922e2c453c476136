//! What a cell and the tenant's supervisor tell each other.

use crate::metrics::Kind;

/// What the tenant's supervisor wants of its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Raised to make all cells start anew.
    pub(crate) generation: u64,
    /// Set once, for good.
    pub(crate) stop: bool,
}

/// What a cell tells the tenant's supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It is recovering.
    Failing(Kind),
    /// It works again.
    Working(Kind),
    /// It failed too often and waits for orders: what failed last, and whether nothing was served well between.
    Escalated(Kind, String, bool),
    /// A later owner has taken over; it waits for orders.
    EpochGone(Kind),
    /// It was dropped without having been told to stop.
    Vanished(Kind),
}
