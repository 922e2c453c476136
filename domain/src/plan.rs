//! What a plan includes and what happens when it is used up.

#![deny(clippy::float_arithmetic)]

use crate::ids::PlanId;
use crate::money::{Currency, Micros, Minor};

/// What happens beyond the allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing more is sent.
    Hard,
    /// More is sent and charged for, up to a number of units if one is set.
    Overage {
        /// Units beyond the allowance.
        cap_units: Option<i64>,
    },
    /// More is sent; the price of overage may be zero.
    Soft,
}

impl Policy {
    /// Gives the name used in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Overage { .. } => "overage",
            Self::Soft => "soft",
        }
    }

    /// Gives how many units may be reserved or used at once in a period with this allowance; none where there is no end.
    pub const fn limit(self, allowance_units: i64) -> Option<i64> {
        match self {
            Self::Hard | Self::Overage { cap_units: Some(0) } => Some(allowance_units),
            Self::Overage { cap_units: Some(cap) } => Some(allowance_units.saturating_add(cap)),
            Self::Overage { cap_units: None } | Self::Soft => None,
        }
    }

    /// Reads a policy from its stored parts.
    pub fn from_parts(name: &str, cap_units: Option<i64>) -> Option<Self> {
        match name {
            "hard" => Some(Self::Hard),
            "overage" => Some(Self::Overage { cap_units }),
            "soft" => Some(Self::Soft),
            _ => None,
        }
    }
}

/// A published version of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// Its currency.
    pub currency: Currency,
    /// The fee of a period.
    pub fee: Minor,
    /// Units included in the fee.
    pub allowance_units: i64,
    /// What happens beyond them.
    pub policy: Policy,
    /// The price of a unit beyond them.
    pub overage_price: Micros,
    /// The plan's own rate, messages a second, if it has one.
    pub messages_per_second: Option<u32>,
    /// Which version of the rating functions prices it.
    pub rating_version: i16,
}

impl Plan {
    /// Gives how many units may be reserved or used at once in a period; none where there is no end.
    pub const fn limit(&self) -> Option<i64> {
        self.policy.limit(self.allowance_units)
    }
}

/// Gives how many of `wanted` units may be reserved, when `held` are reserved and `captured` are used already.
pub const fn reservable(limit: Option<i64>, held: i64, captured: i64, wanted: i64) -> i64 {
    let Some(limit) = limit else { return wanted };
    let room = limit.saturating_sub(held).saturating_sub(captured);
    if room < 0 {
        0
    } else if room < wanted {
        room
    } else {
        wanted
    }
}

/// The part of a limit, one in so many, that must be free before a blocked tenant sends again: a single unit that comes back
/// must not make its campaigns start and stop.
const FREE_AGAIN: i64 = 100;

/// Tells whether a tenant that its plan blocked may go on: where the limit is gone, where a hundredth of it is free again, or
/// where all that `waiting` messages need is free.
pub fn has_room_again(limit: Option<i64>, held: i64, captured: i64, waiting: i64) -> bool {
    let Some(limit) = limit else { return true };
    let room = limit.saturating_sub(held).saturating_sub(captured);
    let part = limit / FREE_AGAIN + i64::from(limit % FREE_AGAIN != 0);
    room > 0 && room >= part.min(waiting)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_unit_of_a_hard_plan_may_be_reserved_and_not_one_more() {
        assert_eq!(reservable(Some(10), 4, 5, 3), 1);
        assert_eq!(reservable(Some(10), 5, 5, 3), 0);
        assert_eq!(reservable(None, 5, 5, 3), 3);
    }

    #[test]
    fn a_single_unit_that_comes_back_does_not_wake_a_blocked_tenant() {
        assert!(!has_room_again(Some(1_000), 0, 1_000, 500));
        assert!(!has_room_again(Some(1_000), 0, 999, 500));
        assert!(has_room_again(Some(1_000), 0, 990, 500));
        assert!(has_room_again(Some(1_000), 0, 999, 1), "it is all that is needed");
        assert!(has_room_again(Some(2_000), 0, 1_000, 500), "a larger plan");
        assert!(has_room_again(None, 5, 5_000, 500), "a plan without an end");
        assert!(!has_room_again(Some(0), 0, 0, 0));
    }

    proptest! {
        #[test]
        fn reserving_never_passes_the_limit(limit in 0_i64..10_000, wishes in proptest::collection::vec(0_i64..300, 0..80)) {
            let mut held = 0;
            for wish in wishes {
                held += reservable(Some(limit), held, 0, wish);
                prop_assert!(held <= limit);
            }
        }
    }
}
