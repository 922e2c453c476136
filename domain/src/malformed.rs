//! When refused messages say that their campaign is wrong, and not one recipient's values.
//!
//! Meta refuses a message whose parameters have a wrong form (132008, 132012, 132018 and the like). One such row is a typing error in
//! a file; a quarter of all rows is a template or a column that was mixed up, and every further call earns the same refusal.

use crate::meta_error::{ErrorClass, classify};

/// Refusals below which a campaign is never paused: a few bad rows are a file's daily life.
pub const LEAST_REFUSALS: i64 = 20;
/// The share of malformed messages among those tried that is still borne, in percent.
pub const BORNE_PERCENT: i64 = 25;

/// Counts the failures whose code says that the message was malformed.
pub fn count(failures_by_code: impl IntoIterator<Item = (i32, i64)>) -> i64 {
    let malformed = |code| classify(code, false) == ErrorClass::MessageFatal;
    let counted = failures_by_code.into_iter().filter(|(code, _)| malformed(*code));
    counted.map(|(_, number)| number).sum()
}

/// Tells whether a campaign of which so many were tried has too many malformed messages to go on without somebody's look.
pub const fn is_too_much(malformed: i64, tried: i64) -> bool {
    malformed >= LEAST_REFUSALS && malformed.saturating_mul(100) > tried.saturating_mul(BORNE_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_of_malformed_messages_count() {
        let failures = [(132_012, 3), (132_008, 2), (131_026, 50), (100, 1), (132_000, 7)];
        assert_eq!(count(failures), 6);
    }

    #[test]
    fn a_few_bad_rows_stop_nothing_and_a_quarter_is_still_borne() {
        assert!(!is_too_much(19, 19));
        assert!(is_too_much(20, 20));
        assert!(!is_too_much(25, 100));
        assert!(is_too_much(26, 100));
        assert!(!is_too_much(1_000, 1_000_000));
    }
}
