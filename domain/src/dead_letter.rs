//! What gave up: why, and whether trying again is safe.

use crate::meta_error::{ErrorClass, classify};
use crate::named::named_states;

named_states! {
    /// Why something is a dead letter.
    LetterKind, UnknownLetterKind {
        /// A message whose last attempt failed.
        AttemptsExhausted = "attempts_exhausted",
        /// A message or an event that failed again and again before anything came of it.
        Poison = "poison",
        /// A delivery of the broker that this program cannot read.
        Undecodable = "undecodable",
        /// A delivery that the broker gave up on and nobody can read.
        DeliveryLimit = "delivery_limit",
    }
}

/// Whether a letter may be replayed without further thought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// It cannot harm.
    Safe,
    /// Only when somebody insists; says why.
    Forced(&'static str),
}

/// Gives the class of a letter's last error, where it has one. A message dies only of errors that were worth repeating, so a
/// code that means several things is read as transient; without a code there was no connection.
pub fn class_of(kind: LetterKind, error_code: Option<i32>) -> Option<ErrorClass> {
    let class = error_code.map_or(ErrorClass::Transient, |code| classify(code, true));
    (kind == LetterKind::AttemptsExhausted).then_some(class)
}

/// Decides whether replaying a letter is safe.
pub fn replay_of(kind: LetterKind, error_code: Option<i32>) -> Replay {
    match (kind, class_of(kind, error_code)) {
        (LetterKind::Poison, _) => {
            Replay::Forced("it failed again and again on our side: mend the cause first, then insist")
        }
        (_, Some(class)) if !class.is_safe_to_replay() => {
            Replay::Forced("its last error says that a repetition cannot help or may harm")
        }
        // A delivery is only a hint: at worst it comes back as a letter.
        _ => Replay::Safe,
    }
}

/// Says in one sentence what to do about a letter.
pub fn advice_of(kind: LetterKind, error_code: Option<i32>) -> &'static str {
    match (kind, class_of(kind, error_code)) {
        (_, Some(class)) => class.advice(),
        (LetterKind::Poison, None) => {
            "Read its error: a row or a rule of ours is broken. Mend it, then replay by force; or purge it."
        }
        (_, None) => {
            "Written by a newer or a foreign program: replay it with a program that can read it; or purge it."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_harm_is_replayed_without_force() {
        let exhausted = |code| replay_of(LetterKind::AttemptsExhausted, code);
        assert_eq!(exhausted(None), Replay::Safe);
        assert_eq!(exhausted(Some(131_000)), Replay::Safe);
        assert!(matches!(exhausted(Some(131_026)), Replay::Forced(_)));
        assert!(matches!(exhausted(Some(131_050)), Replay::Forced(_)));
        assert!(matches!(replay_of(LetterKind::Poison, None), Replay::Forced(_)));
        assert_eq!(replay_of(LetterKind::Undecodable, None), Replay::Safe);
    }

    #[test]
    fn every_letter_has_advice_and_only_messages_have_a_class() {
        for &kind in LetterKind::ALL {
            assert!(!advice_of(kind, None).is_empty());
            assert_eq!(
                class_of(kind, None).is_some(),
                kind == LetterKind::AttemptsExhausted
            );
        }
    }
}
