//! Seeded decisions: the same seed, recipient and attempt always decide the same, in any order of calls.

/// What is being decided; each question has its own throw.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    TransientError,
    TransientCode,
    Refused,
    NonJson,
    LostAnswer,
    AnswerDelay,
    AnswerDelayAngle,
    Failed,
    Free,
    Read,
    ReadWithoutDelivered,
    Reordered,
    LatencySent,
    LatencyDelivered,
    LatencyRead,
    Late(u8),
    Duplicated(u8),
    Split(u8),
}

impl Question {
    fn number(self) -> u64 {
        match self {
            Self::TransientError => 1,
            Self::TransientCode => 2,
            Self::NonJson => 3,
            Self::LostAnswer => 4,
            Self::AnswerDelay => 5,
            Self::AnswerDelayAngle => 6,
            Self::Failed => 7,
            Self::Free => 8,
            Self::Read => 9,
            Self::ReadWithoutDelivered => 10,
            Self::Reordered => 11,
            Self::LatencySent => 12,
            Self::LatencyDelivered => 13,
            Self::LatencyRead => 14,
            Self::Late(status) => 0x100 | u64::from(status),
            Self::Duplicated(status) => 0x200 | u64::from(status),
            Self::Refused => 15,
            Self::Split(status) => 0x300 | u64::from(status),
        }
    }
}

/// The dice of one call: thrown as often as there are questions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    /// The dice for the call number `attempt` to `recipient`.
    pub(crate) fn new(seed: u64, recipient: &str, attempt: u32) -> Self {
        let start = mix(seed ^ 0xcbf2_9ce4_8422_2325);
        let hashed = recipient.bytes().fold(start, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            state: mix(hashed ^ (u64::from(attempt) << 32)),
        }
    }

    /// A number from 0 up to, not including, 1.
    pub(crate) fn throw(self, question: Question) -> f64 {
        let bits = mix(self.state ^ question.number().wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True for `share` of all calls.
    pub(crate) fn says(self, question: Question, share: f64) -> bool {
        share > 0.0 && self.throw(question) < share
    }
}

/// The finaliser of splitmix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_call_decides_the_same_and_shares_are_kept() {
        let dice = |n: u32| Dice::new(7, &format!("1650{n:07}"), 1);
        let failed = |n: u32| dice(n).says(Question::Failed, 0.1);
        assert!((0..1000).all(|n| failed(n) == failed(n)));
        let count = (0..10_000).filter(|&n| failed(n)).count();
        assert!((850..1150).contains(&count), "{count} of 10000 failed");
    }

    #[test]
    fn attempts_and_questions_are_independent() {
        let differing = (0..1000)
            .filter(|&n| {
                let first = Dice::new(7, "16505551234", n).says(Question::Failed, 0.5);
                first != Dice::new(7, "16505551234", n + 1).says(Question::Free, 0.5)
            })
            .count();
        assert!((400..600).contains(&differing), "{differing}");
    }
}
