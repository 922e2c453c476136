//! Invoices: a pure function of what the ledger says up to a row, so that each can be computed again to the last byte.

use crate::audit_chain::ChainHash;
use crate::correction::Correction;
use crate::money::{Currency, Minor, TooLarge};
use crate::rating::{
    InvoiceLine, LineKind, PeriodUse, RatingError, adjustment, correction, period_lines, total,
};

/// The version of the rating functions. A stored invoice names the one that made it.
pub const RATING_VERSION: i16 = 1;

/// An earlier period, by all that is known of it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierPeriod {
    /// Its number.
    pub number: i32,
    /// What was used in it.
    pub used: PeriodUse,
    /// What the invoices so far charged for it.
    pub invoiced: Minor,
}

/// All that an invoice depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceFacts {
    /// The number of its period.
    pub period: i32,
    /// What was used in it, by the ledger's rows up to the cut.
    pub used: PeriodUse,
    /// The periods before it, by the same rows.
    pub earlier: Vec<EarlierPeriod>,
    /// What was set right by hand and goes on this invoice, by the same rows and in their order.
    pub corrections: Vec<Correction>,
    /// The last row that counts.
    pub cut_seq: i64,
    /// The chain's hash at that row.
    pub cut_hash: ChainHash,
}

/// An invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// The number of its period.
    pub period: i32,
    /// Its currency.
    pub currency: Currency,
    /// What is charged.
    pub lines: Vec<InvoiceLine>,
    /// The sum of its lines.
    pub total: Minor,
    /// The last ledger row that counts.
    pub cut_seq: i64,
    /// The chain's hash at that row.
    pub cut_hash: ChainHash,
}

impl Invoice {
    /// Draws an invoice up.
    ///
    /// # Errors
    /// When a period cannot be priced.
    pub fn of(facts: &InvoiceFacts) -> Result<Self, RatingError> {
        let first = facts.used.segments.first().ok_or(RatingError::Empty)?;
        let mut lines = period_lines(&facts.used)?;
        for earlier in &facts.earlier {
            lines.extend(adjustment(earlier.number, &earlier.used, earlier.invoiced)?);
        }
        let currency = first.plan.currency.clone();
        for one in &facts.corrections {
            lines.push(correction(one, &currency)?);
        }
        Ok(Self {
            period: facts.period,
            currency,
            total: total(&lines)?,
            lines,
            cut_seq: facts.cut_seq,
            cut_hash: facts.cut_hash,
        })
    }

    /// Gives what it charges for the use of a period: its own lines, or its adjustments of an earlier one. A correction by hand is not
    /// among them: a later adjustment would take it back.
    ///
    /// # Errors
    /// When the sum does not fit.
    pub fn charged_for(&self, period: i32) -> Result<Minor, TooLarge> {
        let wanted = |line: &&InvoiceLine| {
            line.kind != LineKind::Correction && line.service_period.unwrap_or(self.period) == period
        };
        let lines: Vec<InvoiceLine> = self.lines.iter().filter(wanted).cloned().collect();
        total(&lines)
    }
}
