//! Meta's message categories, by which messages are priced.

use std::str::FromStr;

/// A category of Meta's price list
/// (developers.facebook.com/documentation/business-messaging/whatsapp, pricing page).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Promotion, of any kind.
    Marketing,
    /// Follows from something the recipient did: an order, an account, a delivery.
    Utility,
    /// One-time passwords.
    Authentication,
    /// Free-form answers inside the 24 hour window.
    Service,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 4] = [
        Self::Marketing,
        Self::Utility,
        Self::Authentication,
        Self::Service,
    ];

    /// Gives the name used in the API, the database and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Marketing => "marketing",
            Self::Utility => "utility",
            Self::Authentication => "authentication",
            Self::Service => "service",
        }
    }
}

/// The text is no category.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown category {0:?}")]
pub struct UnknownCategory(pub String);

impl FromStr for Category {
    type Err = UnknownCategory;

    /// Takes our own names and all of Meta's spellings of `pricing.category`, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "marketing" | "marketing_lite" => Ok(Self::Marketing),
            "utility" => Ok(Self::Utility),
            "authentication" | "authentication-international" | "authentication_international" => {
                Ok(Self::Authentication)
            }
            "service" | "referral_conversion" => Ok(Self::Service),
            _ => Err(UnknownCategory(text.to_owned())),
        }
    }
}
