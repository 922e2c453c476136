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
    /// The app calls too often: everything that leaves through it waits.
    ThrottleApp,
    /// The business account calls too often: what leaves from its numbers waits.
    ThrottleAccount,
    /// Meta works on the number: it waits for a moment.
    Maintenance,
    /// Meta restricts the number: pause what leaves from it.
    NumberHold,
    /// The number cannot send at all until somebody acts.
    NumberFatal,
    /// Meta limits the tenant's account, and lifts that by itself: pause the tenant.
    TenantHold,
    /// Token, permission, payment or account: pause the tenant.
    TenantFatal,
    /// The template cannot be sent for a while: pause the campaign, try later.
    TemplateHold,
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
    /// Meta itself is down or overloaded: all wait.
    Outage,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 16] = [
        Self::ThrottleNumber,
        Self::ThrottlePair,
        Self::ThrottleApp,
        Self::ThrottleAccount,
        Self::Maintenance,
        Self::NumberHold,
        Self::NumberFatal,
        Self::TenantHold,
        Self::TenantFatal,
        Self::TemplateHold,
        Self::TemplateFatal,
        Self::RecipientTerminal,
        Self::RecipientOptedOut,
        Self::MessageFatal,
        Self::Transient,
        Self::Outage,
    ];

    /// Gives the name used in metrics, logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ThrottleNumber => "throttle_number",
            Self::ThrottlePair => "throttle_pair",
            Self::ThrottleApp => "throttle_app",
            Self::ThrottleAccount => "throttle_account",
            Self::Maintenance => "maintenance",
            Self::NumberHold => "number_hold",
            Self::NumberFatal => "number_fatal",
            Self::TenantHold => "tenant_hold",
            Self::TenantFatal => "tenant_fatal",
            Self::TemplateHold => "template_hold",
            Self::TemplateFatal => "template_fatal",
            Self::RecipientTerminal => "recipient_terminal",
            Self::RecipientOptedOut => "recipient_opted_out",
            Self::MessageFatal => "message_fatal",
            Self::Transient => "transient",
            Self::Outage => "outage",
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
            Self::ThrottleAccount => {
                "Nothing to do: Meta limits the account's calls; the message goes out later."
            }
            Self::Maintenance => {
                "Nothing to do: Meta works on the number, mostly to raise its throughput; it goes on within minutes."
            }
            Self::NumberHold => {
                "Check the number's quality rating at Meta; resume the campaign when it has recovered."
            }
            Self::NumberFatal => {
                "Check the number's registration, display name and verification at Meta, then resume."
            }
            Self::TenantHold => {
                "Meta limits the account for misclassified templates and lifts that by itself: correct them, then resume."
            }
            Self::TenantFatal => {
                "Renew the access token, or settle permissions, payment or the account's status at Meta, then resume."
            }
            Self::TemplateHold => {
                "Meta does not take the template for a while: resume the campaign in some ten minutes."
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
            Self::Outage => "Nothing to do: Meta is not available; all wait and go on when it answers again.",
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
        4 | 17 | 613 => ErrorClass::ThrottleApp,
        80_007 | 80_008 => ErrorClass::ThrottleAccount,
        131_057 | 2_494_100 => ErrorClass::Maintenance,
        131_048 | 133_016 => ErrorClass::NumberHold,
        131_045 | 133_010 | 133_006 | 33 | 131_037 | 803 => ErrorClass::NumberFatal,
        131_064 => ErrorClass::TenantHold,
        0 | 3 | 10 | 104 | 190 | 200..=299 | 368 | 131_005 | 131_031 | 131_042 | 134_011 => {
            ErrorClass::TenantFatal
        }
        134_101 | 132_069 => ErrorClass::TemplateHold,
        132_000 | 132_001 | 132_007 | 132_015 | 132_016 | 132_068 | 131_063 | 131_055 | 134_100 | 134_102 => {
            ErrorClass::TemplateFatal
        }
        131_050 => ErrorClass::RecipientOptedOut,
        130_497 | 131_049 | 130_472 | 131_026 | 131_021 | 131_030 | 130_403 | 131_062 | 131_036 | 137_000 => {
            ErrorClass::RecipientTerminal
        }
        132_005 | 132_008 | 132_012 | 132_018 | 100 | 131_008 | 131_009 | 131_047 | 131_051 | 131_052 => {
            ErrorClass::MessageFatal
        }
        2 | 131_016 | 133_004 => ErrorClass::Outage,
        131_000 | 131_053 | 135_000 => ErrorClass::Transient,
        _ if transient => ErrorClass::Transient,
        _ => ErrorClass::MessageFatal,
    }
}

/// Tells whether Meta is to blame for a refusal, and not the message: the next one would be refused as well.
pub const fn is_metas_fault(code: i32, transient: bool) -> bool {
    // A file that Meta could not fetch, and what is malformed more often than not, are the message's.
    !matches!(code, 131_053 | 135_000)
        && matches!(
            classify(code, transient),
            ErrorClass::Transient | ErrorClass::Outage
        )
}

/// Attempts that count before a message with a transient error is given up, unless its code has a bound of its own.
pub const ATTEMPTS_MOST: u32 = 5;

/// Gives how many attempts that count a message may have with this code: Meta's own advice where there is some.
pub const fn attempts_most(code: i32) -> u32 {
    match code {
        // Three repetitions: what has failed four times with an unknown error fails again.
        1 | 131_000 => 4,
        // A file that three attempts could not fetch is not there.
        131_053 => 3,
        // Mostly malformed, now and then a hiccup.
        135_000 => 2,
        _ => ATTEMPTS_MOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row of the table of codes collected from Meta's page, with what it asks for.
    const TABLE: [(&[i32], bool, ErrorClass); 20] = [
        (&[0, 190, 104, 3], false, ErrorClass::TenantFatal),
        (&[10, 200, 250, 299, 131_005, 368], false, ErrorClass::TenantFatal),
        (&[131_031, 131_042, 134_011], false, ErrorClass::TenantFatal),
        (&[131_064], false, ErrorClass::TenantHold),
        (&[4, 17, 613], true, ErrorClass::ThrottleApp),
        (&[80_007, 80_008], true, ErrorClass::ThrottleAccount),
        (&[130_429], false, ErrorClass::ThrottleNumber),
        (&[131_056], true, ErrorClass::ThrottlePair),
        (&[131_048, 133_016], true, ErrorClass::NumberHold),
        (
            &[131_045, 133_010, 133_006, 33, 131_037, 803],
            false,
            ErrorClass::NumberFatal,
        ),
        (&[131_057, 2_494_100], true, ErrorClass::Maintenance),
        (&[131_050], false, ErrorClass::RecipientOptedOut),
        (
            &[
                131_049, 130_472, 131_026, 131_021, 131_030, 130_403, 131_062, 137_000, 131_036, 130_497,
            ],
            true,
            ErrorClass::RecipientTerminal,
        ),
        (
            &[
                132_000, 132_001, 132_007, 132_015, 132_016, 132_068, 131_063, 131_055, 134_100, 134_102,
            ],
            true,
            ErrorClass::TemplateFatal,
        ),
        (&[134_101, 132_069], false, ErrorClass::TemplateHold),
        (
            &[
                132_005, 132_008, 132_012, 132_018, 100, 131_008, 131_009, 131_051, 131_052, 131_047,
            ],
            true,
            ErrorClass::MessageFatal,
        ),
        (&[2, 131_016, 133_004], false, ErrorClass::Outage),
        (&[131_000, 131_053, 135_000], false, ErrorClass::Transient),
        (&[1, 999_999], true, ErrorClass::Transient),
        (&[1, 999_999], false, ErrorClass::MessageFatal),
    ];

    #[test]
    fn each_code_of_metas_table_has_its_class() {
        for (codes, transient, class) in TABLE {
            for &code in codes {
                assert_eq!(classify(code, transient), class, "{code}");
            }
        }
        let classed: Vec<_> = TABLE.iter().map(|(_, _, class)| *class).collect();
        assert!(ErrorClass::ALL.iter().all(|class| classed.contains(class)));
    }

    #[test]
    fn names_are_unlike_and_each_class_has_an_advice() {
        let mut names: Vec<_> = ErrorClass::ALL.iter().map(|class| class.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorClass::ALL.len());
        assert!(ErrorClass::ALL.iter().all(|class| class.advice().ends_with('.')));
    }

    #[test]
    fn metas_fault_is_what_would_refuse_any_message() {
        let to_blame = [2, 131_016, 131_000].map(|code| is_metas_fault(code, true));
        let not = [131_053, 135_000, 131_026, 130_429, 132_012, 190].map(|code| is_metas_fault(code, true));
        assert_eq!((to_blame, not), ([true; 3], [false; 6]));
        assert_eq!(
            [is_metas_fault(999_999, true), is_metas_fault(999_999, false)],
            [true, false]
        );
    }

    #[test]
    fn codes_with_a_bound_of_their_own_are_given_up_sooner() {
        assert_eq!(
            [1, 131_000, 131_053, 135_000, 2].map(attempts_most),
            [4, 4, 3, 2, ATTEMPTS_MOST]
        );
    }
}
