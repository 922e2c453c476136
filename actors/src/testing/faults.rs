//! What goes wrong on demand.

use std::collections::HashMap;

use domain::ids::TenantId;

/// A way for a port to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// `commit` panics when called, inside the actor's handler.
    CommitPanics,
    /// `commit` panics while it works, after nothing was committed.
    CommitPanicsLater,
    /// `commit` panics after all was committed.
    CommitPanicsDone,
    /// `commit` gets no answer; nothing was committed.
    CommitLost,
    /// `commit` gets no answer; all was committed.
    CommitAnswerLost,
    /// `commit` gets no answer at once; all is committed after the head has been read again.
    CommitLate,
    /// `commit` finds rows that make no sense.
    CommitBroken,
    /// `take_over` gets no answer.
    TakeOverUnavailable,
    /// `settle` gets no answer.
    SettleUnavailable,
    /// `expire_sending` panics.
    ExpirePanics,
    /// `save` of the limiter panics when called, inside the actor's handler.
    SavePanics,
    /// The call to Meta panics.
    SendPanics,
    /// The quarantine's row cannot be written.
    QuarantineUnavailable,
}

/// How often each port is still to fail, by tenant.
#[derive(Debug, Default)]
pub struct Faults(HashMap<(TenantId, Trouble), usize>);

impl Faults {
    /// Makes something go wrong so many times more.
    pub fn add(&mut self, tenant: TenantId, trouble: Trouble, times: usize) {
        *self.0.entry((tenant, trouble)).or_default() += times;
    }

    /// Tells whether it goes wrong now, and counts that.
    pub fn strikes(&mut self, tenant: TenantId, trouble: Trouble) -> bool {
        match self.0.get_mut(&(tenant, trouble)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}
