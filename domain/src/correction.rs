//! Corrections by hand: what somebody adds to a tenant's invoice, or takes off it, with a reason. Above a limit it takes two.

use crate::money::{Currency, Micros};

/// Characters of a reason. It stands on the invoice.
pub const REASON_MOST: usize = 200;
/// Characters of a name.
pub const NAME_MOST: usize = 100;

/// A correction as it stands on an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// What the tenant owes more; below zero it is a credit.
    pub amount: Micros,
    /// Why.
    pub reason: String,
}

/// Why a correction is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It changes nothing.
    #[error("an amount of nothing corrects nothing")]
    Nothing,
    /// The currency has no such part.
    #[error("{currency} has no smaller part than {smallest}")]
    Fraction {
        /// ISO 4217.
        currency: String,
        /// Its smallest unit.
        smallest: Micros,
    },
    /// Nobody could tell later why.
    #[error("the reason stands on the invoice: say why in 1 to {REASON_MOST} characters, on one line")]
    Reason,
    /// Nobody could tell later who.
    #[error("say who does it in 1 to {NAME_MOST} characters")]
    Name,
    /// Two people are two people.
    #[error("{0} proposed it: somebody else has to approve it")]
    SamePerson(String),
}

impl Correction {
    /// Makes a correction of what somebody typed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(amount: Micros, reason: &str, currency: &Currency) -> Result<Self, Refused> {
        let reason = one_line(reason, REASON_MOST).ok_or(Refused::Reason)?;
        if amount.0 == 0 {
            return Err(Refused::Nothing);
        }
        let smallest = currency.micros_per_minor();
        if amount.0 % smallest != 0 {
            return Err(Refused::Fraction {
                currency: currency.code.clone(),
                smallest: Micros(smallest),
            });
        }
        Ok(Self { amount, reason })
    }

    /// Tells whether a second person has to approve it: when it, and what was corrected on the same invoice without one, come to more
    /// than `alone`, credits and charges alike. So nobody gives away in small pieces what they may not as a whole.
    pub const fn needs_second(&self, corrected_alone: u64, alone: u64) -> bool {
        corrected_alone.saturating_add(self.amount.0.unsigned_abs()) > alone
    }
}

/// Reads the name of whoever does something.
///
/// # Errors
/// When it is none.
pub fn name(text: &str) -> Result<String, Refused> {
    one_line(text, NAME_MOST).ok_or(Refused::Name)
}

/// Tells whether `by` may approve what `proposed_by` proposed.
///
/// # Errors
/// When they are one person, by whatever capitals and blanks.
pub fn approves(proposed_by: &str, by: &str) -> Result<(), Refused> {
    let same = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    if same(proposed_by) == same(by) {
        return Err(Refused::SamePerson(proposed_by.to_owned()));
    }
    Ok(())
}

fn one_line(text: &str, most: usize) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(amount: i64, reason: &str, code: &str) -> Result<Correction, Refused> {
        let currency = Currency::from_code(code).expect("a currency");
        Correction::new(Micros(amount), reason, &currency)
    }

    #[test]
    fn a_correction_is_whole_units_with_a_reason() {
        let credit = of(-12_500_000, "  outage of 3 May ", "BRL").expect("a correction");
        assert_eq!(
            (credit.amount, &*credit.reason),
            (Micros(-12_500_000), "outage of 3 May")
        );
        assert_eq!(of(0, "why", "BRL"), Err(Refused::Nothing));
        for (amount, code, is_whole) in [
            (10_000, "BRL", true),
            (10_001, "BRL", false),
            (500_000, "JPY", false),
            (1_000, "KWD", true),
        ] {
            assert_eq!(of(amount, "why", code).is_ok(), is_whole, "{amount} {code}");
        }
        for reason in ["", "  ", "two\nlines", &"x".repeat(REASON_MOST + 1)] {
            assert_eq!(of(10_000, reason, "BRL"), Err(Refused::Reason), "{reason:?}");
        }
        assert!(
            of(10_000, &"ã".repeat(REASON_MOST), "BRL").is_ok(),
            "characters, not bytes"
        );
    }

    #[test]
    fn two_are_needed_above_the_limit_and_for_the_sum_of_small_pieces() {
        let one = of(-60_000_000, "why", "BRL").expect("a correction");
        assert!(!one.needs_second(0, 60_000_000));
        assert!(one.needs_second(0, 59_999_999));
        assert!(one.needs_second(1, 60_000_000));
        assert!(one.needs_second(u64::MAX, 60_000_000));
    }

    #[test]
    fn nobody_is_a_second_person_by_other_capitals() {
        assert_eq!(approves("Ana Souza", "Bruno Lima"), Ok(()));
        for same in ["Ana Souza", "ana souza", " ANA  SOUZA", "anasouza"] {
            assert!(approves("Ana Souza", same).is_err(), "{same}");
        }
        assert_eq!(name(" \t "), Err(Refused::Name));
    }
}
