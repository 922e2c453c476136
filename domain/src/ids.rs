//! Identifiers: one type per thing, so that a campaign's id can never be taken for a message's.
//!
//! All are UUIDs of version 7 (RFC 9562), whose order follows time. They are made at the edges,
//! where the clock is; here they are only values.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;
use uuid::fmt::Simple;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )*};
}

ids! {
    /// A customer of the installation.
    TenantId;
    /// A key with which a tenant calls the API.
    ApiKeyId;
    /// A published, immutable version of a plan.
    PlanId;
    /// A phone number of a tenant at Meta, with its token.
    SenderId;
    /// One message to many recipients.
    CampaignId;
    /// One message to one recipient; it keeps its id through all attempts.
    MessageId;
    /// One attempt to send a message. Meta echoes it in every status (`biz_opaque_callback_data`).
    AttemptId;
    /// One stored fact about an attempt: a status from Meta, or a refusal of the send itself.
    EventId;
    /// Something that was given up on and waits for an operator.
    DeadLetterId;
    /// An invoice of a closed period.
    InvoiceId;
}

impl MessageId {
    /// Gives the id of its trace as W3C writes it: its own, without hyphens, so that nobody has to look one up for the other.
    pub const fn trace(self) -> Simple {
        self.0.simple()
    }
}
