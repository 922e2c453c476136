//! How a behaviour fails.

use crate::metrics::Cause;

/// Why a behaviour cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The tenant's own: counts against it.
    Tenant(String),
    /// A later owner has taken over: nothing may go on here.
    EpochGone,
}

/// How an incarnation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Panic(String),
    Fault(Fault),
}

impl Failure {
    /// Makes one of a panic.
    pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        Self::Panic(panic_text(panic))
    }

    /// Gives the cause to count.
    pub(crate) const fn cause(&self) -> Cause {
        match self {
            Self::Panic(_) => Cause::Panic,
            Self::Fault(_) => Cause::Fault,
        }
    }

    /// Gives what went wrong.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Panic(text) | Self::Fault(Fault::Tenant(text)) => text.clone(),
            Self::Fault(Fault::EpochGone) => "the epoch is gone".to_owned(),
        }
    }
}

/// Gives what a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}
