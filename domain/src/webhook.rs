//! What a webhook of Meta may say and whose it is: fields, times, owners, and the identity by which a repeat is known.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::ids::TenantId;
use crate::named::named_states;

/// How old an event may be: Meta repeats a delivery for up to seven days.
pub const OLDEST: SignedDuration = SignedDuration::from_hours(8 * 24);
/// How far ahead of our clock an event may be.
pub const AHEAD_MOST: SignedDuration = SignedDuration::from_mins(5);
/// From when on an event counts as late; it is processed all the same.
pub const LATE_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// Updates of one delivery, as Meta promises.
pub const UPDATES_MOST: usize = 1_000;
/// Bytes of one delivery, as Meta promises.
pub const BYTES_MOST: usize = 3 * 1024 * 1024;

named_states! {
    /// A field of Meta's webhooks, as apps subscribe to them.
    Field, UnknownField {
        /// Messages of users, and statuses of ours.
        Messages = "messages",
        /// A template was approved, paused, rejected ...
        TemplateStatus = "message_template_status_update",
        /// A template's quality changed.
        TemplateQuality = "message_template_quality_update",
        /// A template's text changed.
        TemplateComponents = "message_template_components_update",
        /// A template's category changed.
        TemplateCategory = "template_category_update",
        /// Meta says which category a template should have.
        TemplateCorrectCategory = "template_correct_category_detection",
        /// A number's throughput or quality changed.
        NumberQuality = "phone_number_quality_update",
        /// A number's display name was reviewed.
        NumberName = "phone_number_name_update",
        /// A limit of the business changed.
        BusinessCapability = "business_capability_update",
        /// A business was verified or restricted.
        BusinessStatus = "business_status_update",
        /// An account was restricted, banned, shared ...
        Account = "account_update",
        /// An account was reviewed.
        AccountReview = "account_review_update",
        /// Something about an account deserves a look.
        AccountAlerts = "account_alerts",
        /// Two-step verification changed.
        Security = "security",
        /// A user wants marketing messages, or no more.
        UserPreferences = "user_preferences",
        /// A flow's endpoint or status.
        Flows = "flows",
        /// Calls.
        Calls = "calls",
        /// Groups: made, deleted.
        GroupLifecycle = "group_lifecycle_update",
        /// Groups: members.
        GroupParticipants = "group_participants_update",
        /// Groups: settings.
        GroupSettings = "group_settings_update",
        /// Groups: status.
        GroupStatus = "group_status_update",
        /// Messages that the business sent by its phone.
        AppEchoes = "smb_message_echoes",
        /// Contacts of the business's phone.
        AppState = "smb_app_state_sync",
        /// Past messages of the business's phone.
        History = "history",
        /// Another app has the conversation.
        Handovers = "messaging_handovers",
        /// A partner's solution.
        PartnerSolutions = "partner_solutions",
        /// A payment configuration.
        Payments = "payment_configuration_update",
        /// Orders and leads that Meta found in conversations.
        AutomaticEvents = "automatic_events",
        /// Tracking of marketing messages.
        TrackingEvents = "tracking_events",
        /// A field that nobody here has heard of.
        Unknown = "unknown",
    }
}

impl Field {
    /// Finds a field by its name; [`Field::Unknown`] if it is new.
    pub fn of(name: &str) -> Self {
        name.parse().unwrap_or(Self::Unknown)
    }
}

named_states! {
    /// Why something that Meta signed is kept and not acted on.
    Quarantine, UnknownQuarantine {
        /// No tenant has this number.
        UnknownNumber = "unknown_number",
        /// The number belongs to another account than the one that reports it.
        ForeignAccount = "foreign_account",
        /// No tenant has this account.
        UnknownAccount = "unknown_account",
        /// Several tenants have this account.
        SharedAccount = "shared_account",
        /// The event is older than eight days.
        TooOld = "too_old",
        /// The event is more than five minutes ahead of our clock.
        TooFarAhead = "too_far_ahead",
        /// The message was not sent by us: it names no attempt.
        NotOurs = "not_ours",
        /// The status is new.
        UnknownStatus = "unknown_status",
        /// A part of the delivery has another form than Meta documents.
        NotUnderstood = "not_understood",
        /// The database does not take it as it is.
        NotStorable = "not_storable",
    }
}

impl Quarantine {
    /// Tells whether somebody may be trying to speak for another tenant.
    pub const fn is_security_event(self) -> bool {
        matches!(
            self,
            Self::UnknownNumber | Self::ForeignAccount | Self::UnknownAccount | Self::SharedAccount
        )
    }
}

/// How an event's time stands to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeliness {
    /// It is as expected.
    OnTime,
    /// Meta repeats it after an outage, or was late itself. It counts like any other.
    Late,
    /// It cannot be: kept, not acted on.
    Impossible(Quarantine),
}

/// Judges the time of an event. This is never a reason to refuse a delivery: Meta would repeat it for a week.
pub fn timeliness(occurred_at: Timestamp, now: Timestamp) -> Timeliness {
    let age = now.duration_since(occurred_at);
    if age > OLDEST {
        Timeliness::Impossible(Quarantine::TooOld)
    } else if age < -AHEAD_MOST {
        Timeliness::Impossible(Quarantine::TooFarAhead)
    } else if age > LATE_AFTER {
        Timeliness::Late
    } else {
        Timeliness::OnTime
    }
}

/// Reads a time of Meta: seconds since 1970, or milliseconds where they cannot be seconds.
pub fn time_of(number: i64) -> Option<Timestamp> {
    /// In the year 5138; as milliseconds, in 1973.
    const SECONDS_MOST: u64 = 100_000_000_000;
    if number.unsigned_abs() < SECONDS_MOST {
        Timestamp::from_second(number).ok()
    } else {
        Timestamp::from_millisecond(number).ok()
    }
}

/// Who has the number that a change is about.
#[derive(Clone, Copy, Debug)]
pub struct NumberOwner<'a> {
    /// Its tenant.
    pub tenant: TenantId,
    /// The number's account at Meta.
    pub account: &'a str,
}

/// Finds the tenant of a change about a number: the number must be known, and of the account that reports it.
///
/// # Errors
/// Why the change is nobody's.
pub fn owner_by_number(
    owner: Option<NumberOwner<'_>>,
    reporting_account: &str,
) -> Result<TenantId, Quarantine> {
    let owner = owner.ok_or(Quarantine::UnknownNumber)?;
    if owner.account == reporting_account {
        Ok(owner.tenant)
    } else {
        Err(Quarantine::ForeignAccount)
    }
}

/// Finds the tenant of a change about a whole account, by the tenants that have numbers of it.
///
/// # Errors
/// Why the change is nobody's.
pub const fn owner_by_account(tenants: &[TenantId]) -> Result<TenantId, Quarantine> {
    match tenants {
        [] => Err(Quarantine::UnknownAccount),
        [tenant] => Ok(*tenant),
        _ => Err(Quarantine::SharedAccount),
    }
}

/// Makes the identity by which a repeat is known, whatever the bytes around it: SHA-256 over the parts, each with its length.
pub fn identity(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn fields_have_the_names_of_meta_and_new_ones_are_unknown() {
        assert_eq!(Field::of("messages"), Field::Messages);
        assert_eq!(Field::of("message_template_status_update"), Field::TemplateStatus);
        assert_eq!(Field::of("a_field_of_next_year"), Field::Unknown);
        for field in Field::ALL {
            assert_eq!(Field::of(field.as_str()), *field);
        }
    }

    #[test]
    fn the_table_of_times() {
        let now = Timestamp::from_second(1_764_000_000).unwrap();
        let day = 24 * 3_600;
        for (age, expected) in [
            (0, Timeliness::OnTime),
            (300, Timeliness::OnTime),
            (301, Timeliness::Late),
            (6 * day, Timeliness::Late),
            (8 * day, Timeliness::Late),
            (8 * day + 1, Timeliness::Impossible(Quarantine::TooOld)),
            (-300, Timeliness::OnTime),
            (-301, Timeliness::Impossible(Quarantine::TooFarAhead)),
        ] {
            let occurred_at = now - SignedDuration::from_secs(age);
            assert_eq!(timeliness(occurred_at, now), expected, "age {age}");
        }
        assert_eq!(
            timeliness(Timestamp::MIN, Timestamp::MAX),
            Timeliness::Impossible(Quarantine::TooOld)
        );
        assert_eq!(
            timeliness(Timestamp::MAX, Timestamp::MIN),
            Timeliness::Impossible(Quarantine::TooFarAhead)
        );
    }

    #[test]
    fn times_are_seconds_or_milliseconds() {
        assert_eq!(time_of(1_731_705_721), Timestamp::from_second(1_731_705_721).ok());
        assert_eq!(time_of(1_731_705_721_000), time_of(1_731_705_721));
        assert_eq!(time_of(i64::MAX), None);
        assert_eq!(time_of(i64::MIN), None);
    }

    #[test]
    fn a_change_belongs_to_the_tenant_of_its_number_and_account() {
        let tenant = TenantId(Uuid::from_u128(1));
        let other = TenantId(Uuid::from_u128(2));
        let owner = NumberOwner {
            tenant,
            account: "waba",
        };
        assert_eq!(owner_by_number(Some(owner), "waba"), Ok(tenant));
        assert_eq!(
            owner_by_number(Some(owner), "another"),
            Err(Quarantine::ForeignAccount)
        );
        assert_eq!(owner_by_number(None, "waba"), Err(Quarantine::UnknownNumber));
        assert_eq!(owner_by_account(&[tenant]), Ok(tenant));
        assert_eq!(owner_by_account(&[]), Err(Quarantine::UnknownAccount));
        assert_eq!(owner_by_account(&[tenant, other]), Err(Quarantine::SharedAccount));
    }

    #[test]
    fn only_what_speaks_for_another_is_a_security_event() {
        let loud: Vec<_> = Quarantine::ALL
            .iter()
            .filter(|reason| reason.is_security_event())
            .map(|reason| reason.as_str())
            .collect();
        assert_eq!(
            loud,
            [
                "unknown_number",
                "foreign_account",
                "unknown_account",
                "shared_account"
            ]
        );
    }

    #[test]
    fn an_identity_knows_where_each_part_ends() {
        assert_eq!(identity(&[b"a", b"b"]), identity(&[b"a", b"b"]));
        assert_ne!(identity(&[b"a", b"b"]), identity(&[b"ab"]));
        assert_ne!(identity(&[b"a", b"b"]), identity(&[b"", b"ab"]));
    }
}
