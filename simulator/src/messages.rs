//! Accepted messages, in 56 bytes each: no body is kept.

use std::sync::Arc;

use crate::recipients::RecipientIndex;

/// A status of a message, in the order of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Status {
    Sent,
    Delivered,
    Read,
    Failed,
}

impl Status {
    /// Every status, in order.
    pub(crate) const ALL: [Self; 4] = [Self::Sent, Self::Delivered, Self::Read, Self::Failed];

    /// As in webhooks.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What Meta charges a message as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    Authentication,
    Marketing,
    Service,
    Utility,
}

impl Category {
    /// The category of a template.
    pub(crate) fn of(template_category: &str) -> Self {
        match template_category {
            "AUTHENTICATION" => Self::Authentication,
            "MARKETING" => Self::Marketing,
            _ => Self::Utility,
        }
    }

    /// As in webhooks.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Marketing => "marketing",
            Self::Service => "service",
            Self::Utility => "utility",
        }
    }
}

/// One accepted message.
#[derive(Debug)]
pub(crate) struct Message {
    /// Who it went to.
    pub(crate) recipient: RecipientIndex,
    /// Which number sent it.
    pub(crate) number: u32,
    /// What it is charged as.
    pub(crate) category: Category,
    /// Meta charges nothing for it.
    pub(crate) free: bool,
    /// `biz_opaque_callback_data`, kept while statuses are to be sent.
    pub(crate) opaque: Option<Arc<str>>,
    /// Statuses planned and not yet acknowledged or dropped.
    pub(crate) pending: u8,
    /// The error code if it fails; 0 if it does not.
    pub(crate) failed_code: u32,
    /// When it was accepted, in tenths of a millisecond after the start.
    pub(crate) accepted_tenths_ms: u32,
    happened: u8,
    acknowledged: u8,
    times_s: [u32; 4],
}

impl Message {
    /// A message accepted and not yet sent.
    pub(crate) fn new(
        recipient: RecipientIndex,
        number: u32,
        category: Category,
        accepted_tenths_ms: u32,
    ) -> Self {
        Self {
            recipient,
            number,
            category,
            free: false,
            opaque: None,
            pending: 0,
            failed_code: 0,
            accepted_tenths_ms,
            happened: 0,
            acknowledged: 0,
            times_s: [0; 4],
        }
    }

    /// Notes that a status happened. False if that was known.
    pub(crate) fn happen(&mut self, status: Status, unix_s: u64) -> bool {
        let first = self.happened & status.bit() == 0;
        if first {
            self.happened |= status.bit();
            self.times_s[status as usize] = u32::try_from(unix_s).unwrap_or(u32::MAX);
        }
        first
    }

    /// Notes that the callback was told.
    pub(crate) fn acknowledge(&mut self, status: Status) {
        self.acknowledged |= status.bit();
    }

    /// Says whether the callback was told.
    pub(crate) fn is_acknowledged(&self, status: Status) -> bool {
        self.acknowledged & status.bit() != 0
    }

    /// When the status happened, in Unix seconds.
    pub(crate) fn happened_at(&self, status: Status) -> Option<u32> {
        (self.happened & status.bit() != 0).then_some(self.times_s[status as usize])
    }

    /// The furthest status, or `None` while it is only accepted.
    pub(crate) fn last(&self) -> Option<Status> {
        Status::ALL
            .into_iter()
            .rev()
            .find(|status| self.happened & status.bit() != 0)
    }

    /// One status less to send. The last one takes the opaque data with it.
    pub(crate) fn settle_one(&mut self) {
        self.pending = self.pending.saturating_sub(1);
        if self.pending == 0 {
            self.opaque = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_small_and_knows_its_furthest_status() {
        assert!(size_of::<Message>() <= 56, "{} bytes", size_of::<Message>());
        let mut message = Message::new(RecipientIndex(0), 0, Category::Utility, 0);
        assert_eq!(message.last(), None);
        assert!(message.happen(Status::Delivered, 5) && message.happen(Status::Sent, 3));
        assert!(!message.happen(Status::Delivered, 9));
        assert_eq!(
            (message.last(), message.happened_at(Status::Delivered)),
            (Some(Status::Delivered), Some(5))
        );
    }
}
