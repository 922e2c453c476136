//! Money as whole numbers: micros for prices, the currency's smallest unit for what is charged. No floats.

use std::fmt;
use std::str::FromStr;

/// An amount in millionths of the currency's main unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

/// All its digits, and no more zeros than two.
impl fmt::Display for Micros {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, micros) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let text = format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let kept = text.trim_end_matches('0').len().max(text.len() - 4);
        formatter.write_str(&text[..kept])
    }
}

/// The text is no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no price: write digits, and up to six more behind a point (0.0625)")]
pub struct UnknownPrice(pub String);

impl FromStr for Micros {
    type Err = UnknownPrice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        micros(text).ok_or_else(|| UnknownPrice(text.to_owned()))
    }
}

/// Reads digits, and up to six more behind a point.
fn micros(text: &str) -> Option<Micros> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, behind) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(behind) || behind.len() > 6 {
        return None;
    }
    let behind: i64 = format!("{behind:0<6}").parse().ok()?;
    let amount = whole
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(behind)?;
    Some(Micros(if digits.len() < text.len() {
        -amount
    } else {
        amount
    }))
}

/// An amount in the currency's smallest unit (cents, yen).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minor(pub i64);

/// A currency: its ISO 4217 code and how many decimal digits its smallest unit has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Currency {
    /// Three capital letters.
    pub code: String,
    /// 0 to 3.
    pub exponent: u8,
}

/// Why a text is no currency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a currency that can be billed in")]
pub struct UnknownCurrency(pub String);

impl Currency {
    /// Finds a currency by its ISO 4217 code.
    ///
    /// # Errors
    /// When the code is not three capital letters.
    pub fn from_code(code: &str) -> Result<Self, UnknownCurrency> {
        if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(UnknownCurrency(code.to_owned()));
        }
        let exponent = match code {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND"
            | "VUV" | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            _ => 2,
        };
        Ok(Self {
            code: code.to_owned(),
            exponent,
        })
    }

    /// Gives how many micros its smallest unit is.
    pub const fn micros_per_minor(&self) -> i64 {
        let exponent = if self.exponent > 6 { 6 } else { self.exponent };
        10_i64.pow(6 - exponent as u32)
    }

    /// Writes an amount with its decimal digits: `-12.30`.
    pub fn format(&self, amount: Minor) -> String {
        let unit = 10_u64.pow(u32::from(self.exponent));
        let sign = if amount.0 < 0 { "-" } else { "" };
        let (whole, rest) = (amount.0.unsigned_abs() / unit, amount.0.unsigned_abs() % unit);
        match self.exponent {
            0 => format!("{sign}{whole}"),
            digits => format!("{sign}{whole}.{rest:0width$}", width = usize::from(digits)),
        }
    }
}

/// The amount does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the amount is too large to be billed")]
pub struct TooLarge;

/// Rounds an exact amount of micros to the currency's smallest unit, half to even. Done once, at the invoice's line.
///
/// # Errors
/// When the result does not fit 64 bits.
pub fn round_half_even(micros: i128, currency: &Currency) -> Result<Minor, TooLarge> {
    round_ratio_half_even(micros, 1, currency)
}

/// Rounds `micros / divisor` as [`round_half_even`] does, without rounding the quotient first. The divisor is positive.
///
/// # Errors
/// When the result does not fit 64 bits.
pub fn round_ratio_half_even(micros: i128, divisor: i64, currency: &Currency) -> Result<Minor, TooLarge> {
    let step = i128::from(currency.micros_per_minor()) * i128::from(divisor);
    let (quotient, remainder) = (micros.div_euclid(step), micros.rem_euclid(step));
    let up = match (remainder * 2).cmp(&step) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient % 2 != 0,
    };
    i64::try_from(quotient + i128::from(up))
        .map(Minor)
        .map_err(|_| TooLarge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rounded(micros: i128, code: &str) -> i64 {
        round_half_even(micros, &Currency::from_code(code).expect("a currency"))
            .expect("fits")
            .0
    }

    #[test]
    fn prices_keep_their_digits() {
        assert_eq!(Micros(50_000).to_string(), "0.05");
        assert_eq!(Micros(1_234_567).to_string(), "1.234567");
        assert_eq!(Micros(29_000_000).to_string(), "29.00");
        assert_eq!(Micros(-250_000).to_string(), "-0.25");
    }

    #[test]
    fn prices_are_read_to_the_last_digit() {
        assert_eq!("0.0625".parse(), Ok(Micros(62_500)));
        assert_eq!("-12".parse(), Ok(Micros(-12_000_000)));
        for wrong in [
            "",
            ".5",
            "1.",
            "1,5",
            "+1",
            "--1",
            "0.0000001",
            "9223372036854.775808",
            "1e3",
        ] {
            assert!(wrong.parse::<Micros>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ties_go_to_the_even_neighbour() {
        assert_eq!(rounded(125_000, "BRL"), 12);
        assert_eq!(rounded(135_000, "BRL"), 14);
        assert_eq!(rounded(-125_000, "BRL"), -12);
        assert_eq!(rounded(2_500_000, "JPY"), 2);
        assert_eq!(rounded(1_500, "KWD"), 2);
    }

    #[test]
    fn amounts_are_written_with_their_digits() {
        let currency = |code| Currency::from_code(code).expect("a currency");
        assert_eq!(currency("BRL").format(Minor(-1_205)), "-12.05");
        assert_eq!(currency("JPY").format(Minor(500)), "500");
        assert_eq!(currency("KWD").format(Minor(1)), "0.001");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(amount in -i64::MAX..=i64::MAX) {
            prop_assert_eq!(Micros(amount).to_string().parse(), Ok(Micros(amount)));
        }

        #[test]
        fn a_credit_is_the_exact_negative(micros in -1_000_000_000_000_i64..1_000_000_000_000) {
            prop_assert_eq!(rounded(i128::from(micros), "BRL"), -rounded(-i128::from(micros), "BRL"));
        }

        #[test]
        fn rounding_moves_an_amount_by_half_a_unit_at_most(micros in any::<i64>()) {
            let minor = i128::from(rounded(i128::from(micros) / 100, "BRL"));
            prop_assert!((minor * 10_000 - i128::from(micros) / 100).abs() <= 5_000);
        }
    }
}
