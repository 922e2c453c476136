//! The lines of an invoice, each with its arithmetic: quantity times unit price, rounded once.

use super::{PeriodUse, PoolShare, RatingError, Segment};
use crate::correction::Correction;
use crate::ids::PlanId;
use crate::money::{Currency, Micros, Minor, TooLarge, round_half_even, round_ratio_half_even};
use crate::named::named_states;

named_states! {
    /// What a line of an invoice charges for.
    LineKind, UnknownLineKind {
        /// The fee of a whole period.
        Fee = "fee",
        /// The unused part of a fee, given back because the plan changed.
        FeeCredit = "fee_credit",
        /// The fee of the new plan for the rest of the period.
        FeeCharge = "fee_charge",
        /// Units included in the fees; they cost nothing more.
        Allowance = "allowance",
        /// Units beyond the allowance.
        Overage = "overage",
        /// What became known of an earlier period after its invoice.
        Adjustment = "adjustment",
        /// What somebody set right by hand.
        Correction = "correction",
    }
}

/// One line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceLine {
    /// What it charges for.
    pub kind: LineKind,
    /// The pool whose units it is about.
    pub pool: Option<String>,
    /// The plan that priced it.
    pub plan: Option<PlanId>,
    /// The earlier period that it is about; the invoice's own if there is none.
    pub service_period: Option<i32>,
    /// How many.
    pub quantity: i64,
    /// The price of one.
    pub unit_price: Micros,
    /// The exact amount, in micros.
    pub exact_micros: i128,
    /// What is charged.
    pub amount: Minor,
    /// Why, where somebody set it right by hand.
    pub reason: Option<String>,
}

/// Prices a period.
///
/// # Errors
/// When it cannot be priced.
pub fn period_lines(period: &PeriodUse) -> Result<Vec<InvoiceLine>, RatingError> {
    let period = period.settled();
    let shares = period.shares()?;
    let mut lines = fees(&period)?;
    for share in &shares {
        if share.included > 0 {
            let segment = &period.segments[share.segment];
            let mut line = line(segment, LineKind::Allowance, share.included, Micros(0))?;
            line.pool = Some(share.pool.clone());
            lines.push(line);
        }
    }
    for share in shares.iter().filter(|share| share.beyond > 0) {
        lines.extend(overage(&period.segments[share.segment], share)?);
    }
    Ok(lines)
}

fn fees(period: &PeriodUse) -> Result<Vec<InvoiceLine>, RatingError> {
    let mut lines = Vec::new();
    let mut before: Option<&Segment> = None;
    for segment in &period.segments {
        match before {
            None => lines.push(line(segment, LineKind::Fee, 1, fee_of(segment)?)?),
            Some(before) => {
                let rest = (period.days - segment.first_day, period.days);
                lines.push(part_of_fee(before, LineKind::FeeCredit, rest)?);
                lines.push(part_of_fee(segment, LineKind::FeeCharge, rest)?);
            }
        }
        before = Some(segment);
    }
    Ok(lines)
}

fn fee_of(segment: &Segment) -> Result<Micros, TooLarge> {
    let scale = segment.plan.currency.micros_per_minor();
    segment.plan.fee.0.checked_mul(scale).map(Micros).ok_or(TooLarge)
}

/// The fee for the rest of the period's days, to be given back or to be charged.
fn part_of_fee(segment: &Segment, kind: LineKind, (rest, days): (i64, i64)) -> Result<InvoiceLine, TooLarge> {
    let fee = fee_of(segment)?;
    let sign = if kind == LineKind::FeeCredit { -1 } else { 1 };
    let product = i128::from(fee.0) * i128::from(rest) * sign;
    let amount = round_ratio_half_even(product, days, &segment.plan.currency)?;
    Ok(InvoiceLine {
        kind,
        pool: None,
        plan: Some(segment.plan.id),
        service_period: None,
        quantity: rest * i64::try_from(sign).unwrap_or(1),
        unit_price: Micros(fee.0 / days),
        exact_micros: product / i128::from(days),
        amount,
        reason: None,
    })
}

fn overage(segment: &Segment, share: &PoolShare) -> Result<Vec<InvoiceLine>, RatingError> {
    let pool = segment.plan.pool(&share.pool);
    let pool = pool.ok_or_else(|| RatingError::NoPool(share.pool.clone()))?;
    let bands = pool.bands(share.beyond_before, share.beyond);
    let priced = bands.into_iter().map(|(units, price)| {
        let mut line = line(segment, LineKind::Overage, units, price)?;
        line.pool = Some(share.pool.clone());
        Ok(line)
    });
    priced.collect()
}

fn line(
    segment: &Segment,
    kind: LineKind,
    quantity: i64,
    unit_price: Micros,
) -> Result<InvoiceLine, TooLarge> {
    let exact_micros = i128::from(quantity) * i128::from(unit_price.0);
    Ok(InvoiceLine {
        kind,
        pool: None,
        plan: Some(segment.plan.id),
        service_period: None,
        quantity,
        unit_price,
        exact_micros,
        amount: round_half_even(exact_micros, &segment.plan.currency)?,
        reason: None,
    })
}

/// Gives the line by which a later invoice sets an earlier period right: what the period costs by all that is known now, less
/// what was invoiced for it; none when that is nothing.
///
/// # Errors
/// When the period cannot be priced.
pub fn adjustment(
    number: i32,
    period: &PeriodUse,
    invoiced: Minor,
) -> Result<Option<InvoiceLine>, RatingError> {
    let now = total(&period_lines(period)?)?;
    let difference = now.0.checked_sub(invoiced.0).ok_or(TooLarge)?;
    let Some(first) = period.segments.first().filter(|_| difference != 0) else {
        return Ok(None);
    };
    let scale = first.plan.currency.micros_per_minor();
    let price = difference.checked_mul(scale).map(Micros).ok_or(TooLarge)?;
    Ok(Some(InvoiceLine {
        plan: None,
        service_period: Some(number),
        ..line(first, LineKind::Adjustment, 1, price)?
    }))
}

/// Gives the line of a correction by hand.
///
/// # Errors
/// When the amount does not fit.
pub fn correction(correction: &Correction, currency: &Currency) -> Result<InvoiceLine, TooLarge> {
    let exact_micros = i128::from(correction.amount.0);
    Ok(InvoiceLine {
        kind: LineKind::Correction,
        pool: None,
        plan: None,
        service_period: None,
        quantity: 1,
        unit_price: correction.amount,
        exact_micros,
        amount: round_half_even(exact_micros, currency)?,
        reason: Some(correction.reason.clone()),
    })
}

/// Sums the lines: the total of an invoice is the sum of its rounded lines.
///
/// # Errors
/// When the sum does not fit 64 bits.
pub fn total(lines: &[InvoiceLine]) -> Result<Minor, TooLarge> {
    let mut amounts = lines.iter().map(|line| line.amount.0);
    let sum = amounts.try_fold(0_i64, i64::checked_add);
    sum.map(Minor).ok_or(TooLarge)
}
