//! The end of the demo: every recipient in one state, our figures beside Meta's, the invoice worked by hand, the books verified.

use domain::message::MessageState;
use serde_json::Value;
use simulator::Truth;

use super::contacts::Contacts;
use super::screen::Screen;
use super::text;
use crate::storage::audit::Report;
use crate::trial::{Installation, PlanChoice, Tenant, counts_of};

/// Everything that must add up.
pub(super) struct Balance {
    counts: Vec<(&'static str, i64)>,
    truth: Truth,
    usage: Value,
    invoice: Value,
    audit: Report,
    plan: PlanChoice,
    checks: Vec<(bool, String)>,
}

impl Balance {
    pub(super) async fn take(
        installation: &Installation,
        tenant: &Tenant,
        campaign: &str,
        contacts: &Contacts,
        plan: PlanChoice,
    ) -> anyhow::Result<Self> {
        let campaign = tenant.campaign(campaign).await?;
        let counts = MessageState::ALL
            .iter()
            .map(|state| Ok((state.as_str(), counts_of(&campaign, state.as_str())?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let invoices = tenant.api.get("/v1/invoices").await?;
        let mut balance = Self {
            counts,
            truth: installation.simulator.truth(),
            usage: tenant.api.get("/v1/usage").await?,
            invoice: invoices["items"][0].clone(),
            audit: installation.verify_audit(Some(tenant.id)).await?,
            plan,
            checks: Vec::new(),
        };
        balance.check(contacts, counts_of(&campaign, "total")?);
        Ok(balance)
    }

    fn count(&self, wanted: &str) -> i64 {
        self.counts
            .iter()
            .find(|(state, _)| *state == wanted)
            .map_or(0, |(_, count)| *count)
    }

    fn check(&mut self, contacts: &Contacts, total: i64) {
        let sum: i64 = self.counts.iter().map(|(_, count)| count).sum();
        let listed = i64::try_from(contacts.expected()).unwrap_or(0)
            + i64::try_from(contacts.suppressed.len()).unwrap_or(0);
        let arrived = self.count("delivered") + self.count("read");
        let captured = self.usage["captured"].as_i64().unwrap_or(-1);
        let billable = i64::try_from(self.truth.billable).unwrap_or(0);
        let delivered = i64::try_from(self.truth.delivered).unwrap_or(0);
        let by_hand = self.by_hand(captured);
        self.checks = vec![
            (
                sum == total && total == listed,
                format!("{total} recipients, each in exactly one state"),
            ),
            (
                self.truth.most_accepted_for_one_recipient <= 1,
                format!(
                    "Meta accepted at most {} message per recipient",
                    self.truth.most_accepted_for_one_recipient
                ),
            ),
            (
                arrived == delivered,
                format!("{arrived} arrived here, {delivered} at Meta"),
            ),
            (
                captured == billable,
                format!("{captured} units captured, {billable} delivered and billable at Meta"),
            ),
            (
                self.invoice["total_minor"] == by_hand,
                format!(
                    "the invoice says {}, by hand it is {}",
                    self.invoice["total_minor"], by_hand
                ),
            ),
            (
                self.audit.findings.is_empty(),
                format!(
                    "the audit chain of {} ledger rows holds, and all counts taken again agree",
                    self.audit.rows
                ),
            ),
        ];
    }

    /// Allowance and overage, without the code that rates: fee + units beyond the allowance x price, in cents, half to even.
    fn by_hand(&self, captured: i64) -> i64 {
        let micros = (captured - self.plan.allowance_units).max(0) * self.plan.overage_price_micros;
        let (cents, rest) = (micros / 10_000, micros % 10_000);
        let up = rest > 5_000 || (rest == 5_000 && cents % 2 == 1);
        self.plan.fee_minor + cents + i64::from(up)
    }

    /// Tells whether everything adds up.
    pub(super) fn adds_up(&self) -> bool {
        self.checks.iter().all(|(holds, _)| *holds)
    }

    /// Shows all of it.
    pub(super) fn show(&self, screen: &Screen) {
        screen.title("Balance sheet of the campaign");
        for (state, count) in self.counts.iter().filter(|(_, count)| *count > 0) {
            screen.line(&format!("{state:<12} {count:>6}"));
        }
        screen.title("The same by Meta's own books");
        let truth = &self.truth;
        for (name, count) in [
            ("accepted", truth.accepted),
            ("delivered", truth.delivered),
            ("billable", truth.billable),
            ("refused", truth.refused),
            ("transient", truth.transient_errors),
            ("answers lost", truth.lost_answers),
            ("failed later", truth.failed_async),
            ("webhooks", truth.webhooks_sent),
            ("repeated", truth.webhooks_duplicated),
        ] {
            screen.line(&format!("{name:<12} {count:>6}"));
        }
        screen.title("Usage and invoice");
        for name in ["captured", "free", "voided", "held"] {
            screen.line(&format!("{name:<12} {:>6}", self.usage[name]));
        }
        for line in self.invoice["lines"].as_array().into_iter().flatten() {
            screen.line(&format!(
                "{:<32} {:>6} x {:>7} = {:>9}",
                text(&line["description"]),
                line["quantity"],
                text(&line["unit_price"]),
                text(&line["amount"])
            ));
        }
        screen.line(&format!(
            "{:<32} {:>28}",
            "Total",
            format!(
                "{} {}",
                text(&self.invoice["currency"]),
                text(&self.invoice["total"])
            )
        ));
        screen.title("Does it add up?");
        for (holds, sentence) in &self.checks {
            screen.check(*holds, sentence);
        }
        for finding in &self.audit.findings {
            screen.line(&format!("{}: {}", finding.invariant.id, finding.found));
        }
    }
}
