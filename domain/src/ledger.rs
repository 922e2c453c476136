//! The ledger's kinds of rows and the lattice by which facts settle an attempt.

use crate::named::named_states;

named_states! {
    /// What a ledger row records. Per attempt each kind stands at most once.
    LedgerKind, UnknownLedgerKind {
        /// Units appear for a period or a plan change.
        Grant = "grant",
        /// Units are set aside before the call to Meta.
        Reserve = "reserve",
        /// Delivered and billable: the reserved units are used.
        Capture = "capture",
        /// Delivered, not billed by Meta: the reserved units come back.
        Free = "free",
        /// Never arrived: the reserved units come back.
        Void = "void",
        /// No news within the message's time to live: the units come back.
        Expire = "expire",
        /// A billable truth after void or expire.
        Recapture = "recapture",
        /// The period was closed.
        Close = "close",
    }
}
