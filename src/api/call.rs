//! The call under way: its id, where it comes from, and what its answer will tell beside the handler's words. It travels with the
//! task, so that handlers need not hand it on.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use crate::storage::request_limits::{Allowance, Taken};

tokio::task_local! {
    static UNDER_WAY: Arc<Call>;
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    /// Its id: `X-Request-Id` of the answer, and the audit log's.
    pub id: Uuid,
    /// Where it comes from.
    pub from: IpAddr,
    /// What is left of its key's allowance.
    pub allowance: OnceLock<(Allowance, Taken)>,
    /// What it does, if that is written to the audit log.
    pub action: OnceLock<Action>,
    /// What it made.
    made: OnceLock<Uuid>,
}

/// What a call does, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    /// The fingerprint of the operators' key.
    pub operator: String,
    /// Method and path, with names in place of ids.
    pub name: String,
    /// Whose it concerns.
    pub tenant: Option<Uuid>,
    /// The path as it was called.
    pub target: String,
}

impl Call {
    /// A call from an address.
    pub(super) fn from(from: IpAddr) -> Self {
        Self {
            id: Uuid::now_v7(),
            from,
            allowance: OnceLock::new(),
            action: OnceLock::new(),
            made: OnceLock::new(),
        }
    }

    /// What it made, if it made something.
    pub(super) fn made(&self) -> Option<Uuid> {
        self.made.get().copied()
    }
}

/// Runs the work of a call.
pub(super) async fn under<T>(call: Arc<Call>, work: impl Future<Output = T>) -> T {
    UNDER_WAY.scope(call, work).await
}

/// Gives the call under way.
pub(super) fn current() -> Option<Arc<Call>> {
    UNDER_WAY.try_with(Arc::clone).ok()
}

/// Notes what the call under way made, for the audit log.
pub(super) fn note_made(id: Uuid) {
    if let Some(call) = current() {
        let _ = call.made.set(id);
    }
}
