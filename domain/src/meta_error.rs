//! What Meta's error codes mean for us. Classified by `error.code` alone: Meta's HTTP status is not reliable.
//!
//! Source: Meta's error-code page (developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes,
//! copy of 2026-09-11) and the field reports collected beside it.

/// What an error stops, and what becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The number sends too fast: slow down, keep the message.
    ThrottleNumber,
    /// Too much to this recipient in a short time: wait for them alone.
    ThrottlePair,
    /// The app or the business account calls too often: wait.
    ThrottleApp,
    /// Meta restricts the number: pause what leaves from it.
    NumberHold,
    /// The number cannot send at all until somebody acts.
    NumberFatal,
    /// Token, permission, payment or account: pause the tenant.
    TenantFatal,
    /// The template cannot be sent: pause the campaign.
    TemplateFatal,
    /// This recipient cannot get this message now.
    RecipientTerminal,
    /// This recipient wants no marketing from the tenant: suppress.
    RecipientOptedOut,
    /// This message is malformed.
    MessageFatal,
    /// It will probably work later.
    Transient,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 11] = [
        Self::ThrottleNumber,
        Self::ThrottlePair,
        Self::ThrottleApp,
        Self::NumberHold,
        Self::NumberFatal,
        Self::TenantFatal,
        Self::TemplateFatal,
        Self::RecipientTerminal,
        Self::RecipientOptedOut,
        Self::MessageFatal,
        Self::Transient,
    ];

    /// Gives the name used in metrics, logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ThrottleNumber => "throttle_number",
            Self::ThrottlePair => "throttle_pair",
            Self::ThrottleApp => "throttle_app",
            Self::NumberHold => "number_hold",
            Self::NumberFatal => "number_fatal",
            Self::TenantFatal => "tenant_fatal",
            Self::TemplateFatal => "template_fatal",
            Self::RecipientTerminal => "recipient_terminal",
            Self::RecipientOptedOut => "recipient_opted_out",
            Self::MessageFatal => "message_fatal",
            Self::Transient => "transient",
        }
    }

    /// Gives what the tenant can do about it, in one sentence.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::ThrottleNumber => {
                "Nothing to do: the number is slowed down and the message goes out later."
            }
            Self::ThrottlePair => {
                "Nothing to do: Meta limits how often one recipient is written to; it goes out later."
            }
            Self::ThrottleApp => "Nothing to do: Meta limits the app's calls; the message goes out later.",
            Self::NumberHold => {
                "Check the number's quality rating at Meta; resume the campaign when it has recovered."
            }
            Self::NumberFatal => {
                "Check the number's registration, display name and verification at Meta, then resume."
            }
            Self::TenantFatal => {
                "Renew the access token, or settle permissions, payment or the account's status at Meta, then resume."
            }
            Self::TemplateFatal => {
                "Check the template's status, language and parameters at Meta, then resume or start a new campaign."
            }
            Self::RecipientTerminal => {
                "This recipient cannot be reached with this message; do not repeat it within a day."
            }
            Self::RecipientOptedOut => {
                "The recipient stopped marketing from you and is now on your suppression list."
            }
            Self::MessageFatal => "Correct this recipient's values; the message was refused as malformed.",
            Self::Transient => "Nothing to do unless it ends as dead: then replay it when Meta works again.",
        }
    }

    /// Tells whether replaying a message that ended with this class can make sense.
    pub const fn is_safe_to_replay(self) -> bool {
        !matches!(
            self,
            Self::RecipientTerminal | Self::RecipientOptedOut | Self::MessageFatal
        )
    }
}

/// Gives the class of a code. `transient` is Meta's `is_transient`, or an HTTP status of 500 and above; it decides only
/// for codes that mean several things, or that are not known.
pub const fn classify(code: i32, transient: bool) -> ErrorClass {
    match code {
        130_429 => ErrorClass::ThrottleNumber,
        131_056 => ErrorClass::ThrottlePair,
        4 | 17 | 613 | 80_007 | 80_008 | 134_101 | 132_069 => ErrorClass::ThrottleApp,
        131_048 | 131_064 => ErrorClass::NumberHold,
        131_045 | 133_010 | 133_006 | 33 | 131_037 => ErrorClass::NumberFatal,
        0 | 3 | 10 | 104 | 190 | 200..=299 | 368 | 131_005 | 131_031 | 131_042 | 134_011 => {
            ErrorClass::TenantFatal
        }
        132_000 | 132_001 | 132_007 | 132_015 | 132_016 | 132_068 | 131_063 | 131_055 | 134_100 | 134_102 => {
            ErrorClass::TemplateFatal
        }
        131_050 => ErrorClass::RecipientOptedOut,
        130_497 | 131_049 | 130_472 | 131_026 | 131_021 | 131_030 | 130_403 | 131_062 | 131_036 | 137_000
        | 131_047 => ErrorClass::RecipientTerminal,
        132_005 | 132_008 | 132_012 | 132_018 | 100 | 131_008 | 131_009 | 131_051 | 131_052 | 135_000 => {
            ErrorClass::MessageFatal
        }
        2 | 131_000 | 131_016 | 133_004 | 131_053 | 131_057 | 2_494_100 => ErrorClass::Transient,
        _ if transient => ErrorClass::Transient,
        _ => ErrorClass::MessageFatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_limit_has_a_scope_of_its_own() {
        assert_eq!(classify(130_429, false), ErrorClass::ThrottleNumber);
        assert_eq!(classify(131_056, true), ErrorClass::ThrottlePair);
        assert_eq!(classify(80_007, false), ErrorClass::ThrottleApp);
        assert_eq!(classify(131_048, true), ErrorClass::NumberHold);
    }

    #[test]
    fn a_capped_recipient_is_never_retried() {
        assert_eq!(classify(131_049, true), ErrorClass::RecipientTerminal);
    }

    #[test]
    fn an_unknown_code_is_retried_only_if_meta_calls_it_transient() {
        assert_eq!(classify(999_999, true), ErrorClass::Transient);
        assert_eq!(classify(999_999, false), ErrorClass::MessageFatal);
        assert_eq!(classify(1, true), ErrorClass::Transient);
    }
}
