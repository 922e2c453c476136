//! What Meta's webhooks about templates, numbers and accounts mean for sending.
//!
//! Source: Meta's webhook reference (developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference:
//! `message_template_status_update`, `phone_number_quality_update`, `account_update`; copies of 2026-09-11).

/// What a piece of news does to sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It may be sent with again.
    Sendable,
    /// It cannot be sent with.
    Stopped,
    /// Nothing.
    Nothing,
}

impl Effect {
    /// Gives the name under which the last word is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sendable => "sendable",
            Self::Stopped => "stopped",
            Self::Nothing => "nothing",
        }
    }
}

/// Reads `event` of a template's status update. `FLAGGED` is a warning, `IN_APPEAL` and `PENDING` say nothing of what may be sent
/// now; an archived template still sends.
pub fn of_template(event: &str) -> Effect {
    match event {
        "APPROVED" | "REINSTATED" | "UNPAUSED" => Effect::Sendable,
        "PAUSED" | "DISABLED" | "REJECTED" | "LIMIT_EXCEEDED" | "LOCKED" | "DELETED" => Effect::Stopped,
        _ => Effect::Nothing,
    }
}

/// Reads `event` of a number's quality update: a flagged number, or one whose limit falls, does more harm by going on.
pub fn of_number(event: &str) -> Effect {
    match event {
        "UNFLAGGED" | "UPGRADE" | "THROUGHPUT_UPGRADE" => Effect::Sendable,
        "FLAGGED" | "DOWNGRADE" => Effect::Stopped,
        _ => Effect::Nothing,
    }
}

/// Reads `event` of an account's update, with `ban_info.waba_ban_state` and the types of `restriction_info`.
pub fn of_account(event: &str, ban_state: Option<&str>, restrictions: &[&str]) -> Effect {
    match (event, ban_state) {
        ("DISABLED_UPDATE", Some("REINSTATE")) => Effect::Sendable,
        // An announcement: Meta still takes messages until the day.
        ("DISABLED_UPDATE", Some("SCHEDULE_FOR_DISABLE")) => Effect::Nothing,
        ("DISABLED_UPDATE" | "ACCOUNT_DELETED", _) => Effect::Stopped,
        ("ACCOUNT_RESTRICTION", _) if restrictions.contains(&"RESTRICTED_BIZ_INITIATED_MESSAGING") => {
            Effect::Stopped
        }
        _ => Effect::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_template_stops_and_an_approved_one_goes_on() {
        assert_eq!(of_template("PAUSED"), Effect::Stopped);
        assert_eq!(of_template("APPROVED"), Effect::Sendable);
        assert_eq!(of_template("FLAGGED"), Effect::Nothing);
        assert_eq!(of_template("SOMETHING_NEW"), Effect::Nothing);
    }

    #[test]
    fn only_a_restriction_of_messages_that_we_begin_stops_an_account() {
        let of = |restrictions: &[&str]| of_account("ACCOUNT_RESTRICTION", None, restrictions);
        assert_eq!(of(&["RESTRICTED_BIZ_INITIATED_MESSAGING"]), Effect::Stopped);
        assert_eq!(of(&["RESTRICTED_ADD_PHONE_NUMBER_ACTION"]), Effect::Nothing);
    }

    #[test]
    fn a_ban_that_is_announced_does_not_stop_and_one_that_is_lifted_goes_on() {
        assert_eq!(
            of_account("DISABLED_UPDATE", Some("SCHEDULE_FOR_DISABLE"), &[]),
            Effect::Nothing
        );
        assert_eq!(
            of_account("DISABLED_UPDATE", Some("DISABLE"), &[]),
            Effect::Stopped
        );
        assert_eq!(
            of_account("DISABLED_UPDATE", Some("REINSTATE"), &[]),
            Effect::Sendable
        );
    }
}
