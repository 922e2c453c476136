//! Faults on demand, in builds of the tests alone (feature `fault-injection`): a chosen child of a chosen tenant ends, or blocks
//! its thread, at a chosen step. Nothing of this is compiled into what is shipped.

mod struck;

use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ids::TenantId;

pub(crate) use crate::faults::struck::Struck;
pub use crate::metrics::Kind as Child;

/// Where in a child's work a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before a message is handled; it is kept.
    Handle,
    /// After a message was taken and before anything came of it; it is gone.
    Taken,
    /// After a message was handled; what the child remembers of it is gone.
    Handled,
    /// While the state is built anew.
    Recover,
    /// `BillingCounter`: a commit succeeded, and its result is not yet used.
    Committed,
    /// `SendQueue`: messages are claimed, and no call has begun.
    Claimed,
}

/// How the child fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It panics in its handler, where the cell catches it.
    Panic,
    /// It stops without having been told to.
    Stop,
    /// Its whole task unwinds: the actor is gone without a word.
    Vanish,
    /// It never returns: its thread, and whoever else lives there, does nothing any more.
    Block,
}

/// A name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of: {1}")]
pub struct Unknown(String, String);

/// Which fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose child; every tenant's if there is none.
    pub tenant: Option<TenantId>,
    /// Which child.
    pub child: Child,
    /// Where it strikes.
    pub step: Step,
    /// What it does.
    pub deed: Deed,
    /// How often it strikes; until it is cleared if there is none.
    pub times: Option<u64>,
}

/// A fault and how often it struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// By which it is cleared.
    pub id: u64,
    /// The fault.
    pub fault: Fault,
    /// How often it struck so far.
    pub struck: u64,
    /// Whether it may strike again.
    pub armed: bool,
}

/// The faults of a node. Clones are the same faults.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Planted>>>);

impl Faults {
    /// Plants a fault and gives the id by which it is cleared.
    pub fn plant(&self, fault: Fault) -> u64 {
        let mut planted = self.planted();
        let id = planted.len() as u64 + 1;
        planted.push(Planted {
            id,
            fault,
            struck: 0,
            armed: fault.times != Some(0),
        });
        id
    }

    /// Lets a fault, or all, strike no more. Tells how many were armed.
    pub fn clear(&self, id: Option<u64>) -> usize {
        let mut planted = self.planted();
        let armed = planted
            .iter_mut()
            .filter(|known| known.armed && id.is_none_or(|id| known.id == id));
        armed.map(|known| known.armed = false).count()
    }

    /// Gives every fault that was ever planted, with how often it struck.
    pub fn all(&self) -> Vec<Planted> {
        self.planted().clone()
    }

    /// Lets the child that asks fail, if a fault is planted here.
    ///
    /// # Panics
    /// That is what it is for.
    pub(crate) fn strike(&self, tenant: TenantId, child: Child, step: Step) {
        if let Some(deed) = self.draw(tenant, child, step) {
            deed.strike();
        }
    }

    /// Tells what a fault does here and now, and counts it.
    pub(crate) fn draw(&self, tenant: TenantId, child: Child, step: Step) -> Option<Deed> {
        let mut planted = self.planted();
        let known = planted.iter_mut().find(|known| {
            let fault = &known.fault;
            known.armed
                && (fault.child, fault.step) == (child, step)
                && fault.tenant.is_none_or(|of| of == tenant)
        })?;
        known.struck += 1;
        known.armed = known.fault.times.is_none_or(|times| known.struck < times);
        Some(known.fault.deed)
    }

    fn planted(&self) -> MutexGuard<'_, Vec<Planted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 6] = [
        Self::Handle,
        Self::Taken,
        Self::Handled,
        Self::Recover,
        Self::Committed,
        Self::Claimed,
    ];

    /// Gives the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handle => "handle",
            Self::Taken => "taken",
            Self::Handled => "handled",
            Self::Recover => "recover",
            Self::Committed => "committed",
            Self::Claimed => "claimed",
        }
    }
}

impl Deed {
    /// Every deed.
    pub const ALL: [Self; 4] = [Self::Panic, Self::Stop, Self::Vanish, Self::Block];
    /// The deeds that end the child.
    pub const ENDS: [Self; 3] = [Self::Panic, Self::Stop, Self::Vanish];

    /// Gives the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Stop => "stop",
            Self::Vanish => "vanish",
            Self::Block => "block",
        }
    }

    /// Gives what the panic says by which a deed reaches the cell.
    const fn text(self) -> &'static str {
        match self {
            Self::Panic => "an injected fault: panic",
            Self::Stop => "an injected fault: stop",
            Self::Vanish => "an injected fault: vanish",
            Self::Block => "an injected fault: block",
        }
    }

    /// Does it: the cell reads from the panic how to end.
    pub(crate) fn strike(self) -> ! {
        if self == Self::Block {
            loop {
                std::thread::park();
            }
        }
        std::panic::panic_any(self.text())
    }

    /// Reads the deed from what a panic said.
    pub(crate) fn of_panic(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|deed| deed.text() == text)
    }
}

impl FromStr for Child {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        named(text, &Self::ALL, Self::as_str)
    }
}

impl FromStr for Step {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        named(text, &Self::ALL, Self::as_str)
    }
}

impl FromStr for Deed {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        named(text, &Self::ALL, Self::as_str)
    }
}

fn named<T: Copy>(text: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, Unknown> {
    let found = all.iter().copied().find(|one| name(*one) == text);
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().copied().map(name).collect();
        Unknown(text.to_owned(), names.join(", "))
    })
}
