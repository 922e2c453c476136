//! How long a number rests after Meta restricted it, before it is tried again.

use std::time::Duration;

/// The first rest after a refused message; each further one in a row is twice as long.
pub const FIRST_REST: Duration = Duration::from_secs(15 * 60);
/// The longest rest after a refused message.
pub const LONGEST_REST: Duration = Duration::from_secs(6 * 3_600);
/// The rest after Meta told of a restriction without saying when it ends.
pub const REST_AFTER_NEWS: Duration = Duration::from_secs(24 * 3_600);

/// Gives the rest after a refusal, when `holds_before` rests in a row did not help.
pub fn rest_after_refusal(holds_before: u32) -> Duration {
    FIRST_REST
        .saturating_mul(1_u32 << holds_before.min(16))
        .min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_a_bound() {
        assert_eq!(rest_after_refusal(0), FIRST_REST);
        assert_eq!(rest_after_refusal(1), FIRST_REST * 2);
        assert_eq!(rest_after_refusal(9), LONGEST_REST);
        assert_eq!(rest_after_refusal(u32::MAX), LONGEST_REST);
    }
}
