//! Why messages ended badly, grouped so that a person can act: what it means, what to do, whether a repetition is safe.

use crate::message::MessageState;
use crate::meta_error::classify;

/// What messages have in common that ended in the same state for the same code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The error's class; `not_sent` where no connection came about, `unknown` where nobody can tell.
    pub class: &'static str,
    /// What to do, in one sentence.
    pub advice: &'static str,
    /// Whether a replay is offered: the message waits for one, and repeating it cannot harm.
    pub is_replayable: bool,
}

/// Gives the cause behind a state and Meta's code, if Meta answered.
pub fn cause(state: MessageState, code: Option<i32>) -> Cause {
    match (state, code) {
        (MessageState::Unknown, _) => Cause {
            class: "unknown",
            advice: "It may have arrived: wait for Meta's status, or let the tenant's policy for unknown outcomes decide; it is never repeated by itself.",
            is_replayable: false,
        },
        (MessageState::Dead, None) => Cause {
            class: "not_sent",
            advice: "Meta could not be reached: replay it when it can be again.",
            is_replayable: true,
        },
        (_, None) => Cause {
            class: "given_up",
            advice: "It was given up without an answer of Meta's.",
            is_replayable: false,
        },
        // A message dies only of errors that were worth repeating, so a code of several meanings is read as transient.
        (state, Some(code)) => {
            let class = classify(code, state == MessageState::Dead);
            Cause {
                class: class.as_str(),
                advice: class.advice(),
                is_replayable: state == MessageState::Dead && class.is_safe_to_replay(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_dead_and_harmless_is_offered_for_a_replay() {
        assert!(cause(MessageState::Dead, Some(131_000)).is_replayable);
        assert!(cause(MessageState::Dead, None).is_replayable);
        assert!(!cause(MessageState::Failed, Some(131_026)).is_replayable);
        assert!(!cause(MessageState::Dead, Some(131_049)).is_replayable);
        assert!(!cause(MessageState::Unknown, None).is_replayable);
    }

    #[test]
    fn every_cause_says_what_to_do() {
        for state in [MessageState::Failed, MessageState::Dead, MessageState::Unknown] {
            for code in [None, Some(190), Some(130_429), Some(999_999)] {
                assert!(!cause(state, code).advice.is_empty());
            }
        }
    }
}
