//! What used units cost: a pure function of how many, never of the order in which they came.

#![deny(clippy::float_arithmetic)]

use crate::money::{Micros, Minor, TooLarge, round_half_even};
use crate::plan::Plan;

/// What a line of an invoice charges for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// The fee of the period.
    Fee,
    /// Units included in the fee; they cost nothing more.
    Allowance,
    /// Units beyond the allowance.
    Overage,
}

impl LineKind {
    /// Gives the name used in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fee => "fee",
            Self::Allowance => "allowance",
            Self::Overage => "overage",
        }
    }
}

/// One line of an invoice with its arithmetic: quantity times unit price, rounded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvoiceLine {
    /// What it charges for.
    pub kind: LineKind,
    /// How many.
    pub quantity: i64,
    /// The price of one.
    pub unit_price: Micros,
    /// The exact product, in micros.
    pub exact_micros: i128,
    /// What is charged.
    pub amount: Minor,
}

/// Prices a period: `captured` units used under `plan`.
///
/// # Errors
/// When an amount does not fit 64 bits.
pub fn invoice_lines(plan: &Plan, captured: i64) -> Result<Vec<InvoiceLine>, TooLarge> {
    let included = captured.min(plan.allowance_units);
    let beyond = captured - included;
    let scale = 10_i64.pow(6 - u32::from(plan.currency.exponent.min(6)));
    let fee = Micros(plan.fee.0.checked_mul(scale).ok_or(TooLarge)?);
    Ok(vec![
        line(plan, LineKind::Fee, 1, fee)?,
        line(plan, LineKind::Allowance, included, Micros(0))?,
        line(plan, LineKind::Overage, beyond, plan.overage_price)?,
    ])
}

fn line(plan: &Plan, kind: LineKind, quantity: i64, unit_price: Micros) -> Result<InvoiceLine, TooLarge> {
    let exact_micros = i128::from(quantity) * i128::from(unit_price.0);
    let amount = round_half_even(exact_micros, &plan.currency)?;
    Ok(InvoiceLine {
        kind,
        quantity,
        unit_price,
        exact_micros,
        amount,
    })
}

/// Sums the lines: the total of an invoice is the sum of its rounded lines.
///
/// # Errors
/// When the sum does not fit 64 bits.
pub fn total(lines: &[InvoiceLine]) -> Result<Minor, TooLarge> {
    lines
        .iter()
        .try_fold(0_i64, |sum, line| sum.checked_add(line.amount.0))
        .map(Minor)
        .ok_or(TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PlanId;
    use crate::money::Currency;
    use crate::plan::Policy;

    fn plan(allowance_units: i64, overage_price: i64) -> Plan {
        Plan {
            id: PlanId(uuid::Uuid::nil()),
            currency: Currency::from_code("BRL").expect("a currency"),
            fee: Minor(9_900),
            allowance_units,
            policy: Policy::Overage { cap_units: None },
            overage_price: Micros(overage_price),
            messages_per_second: None,
            rating_version: 1,
        }
    }

    fn total_of(captured: i64) -> i64 {
        total(&invoice_lines(&plan(1_000, 120_000), captured).expect("fits"))
            .expect("fits")
            .0
    }

    #[test]
    fn the_allowance_costs_the_fee_and_nothing_more() {
        assert_eq!(total_of(0), 9_900);
        assert_eq!(total_of(1_000), 9_900);
    }

    #[test]
    fn units_beyond_the_allowance_cost_their_price() {
        assert_eq!(total_of(1_001), 9_912);
        assert_eq!(total_of(1_300), 9_900 + 3_600);
    }

    #[test]
    fn an_impossible_amount_is_an_error_and_no_wrong_number() {
        assert_eq!(invoice_lines(&plan(0, i64::MAX), i64::MAX), Err(TooLarge));
    }
}
