//! Books of many messages as a server would have left them, written quickly: rows chained by the product's own hashes, and copied.

use std::fmt;

use anyhow::Context as _;
use bytes::Bytes;
use domain::ids::TenantId;
use malote::storage::{Database, Transaction};
use uuid::Uuid;

use crate::rows::{Page, Writer};

/// Messages whose rows are copied at once.
const AT_ONCE: usize = 20_000;

const LEDGER: &str = "COPY app.ledger (tenant_id, seq, kind, attempt_id, period, segment, pool, category, debit, credit, units, micros,
    currency, evidence_id, fingerprint, epoch, at, hash) FROM STDIN";
const MESSAGES: &str = "COPY app.messages (tenant_id, id, sender_id, recipient, category, body, state, attempt_id, attempt_number, wamid)
    FROM STDIN";
const ATTEMPTS: &str = "COPY app.message_attempts (tenant_id, attempt_id, message_id, attempt_number, outcome, reason) FROM STDIN";
const EVENTS: &str = "COPY app.events (tenant_id, id, source, status, attempt_id, wamid, occurred_at, pricing_type, pricing_category,
    applied_at) FROM STDIN";
/// A tenant in the middle of its first period.
const TENANT: &str = "
    INSERT INTO app.tenants (id, name, timezone) VALUES ('{tenant}', 'made up', 'UTC');
    INSERT INTO app.plans (id, code, version, name, currency, currency_exponent, fee_minor, allowance_units, policy, overage_price_micros)
        VALUES ('{tenant}', '{tenant}', 1, 'made up', 'BRL', 2, 9900, 1000, 'soft', 120000);
    INSERT INTO app.plan_assignments (tenant_id, effective_from, plan_id, timing)
        VALUES ('{tenant}', now() - interval '20 days', '{tenant}', 'now');
    INSERT INTO app.billing_periods (tenant_id, number, starts_at, ends_at, timezone, anchor_day)
        VALUES ('{tenant}', 1, now() - interval '20 days', now() + interval '10 days', 'UTC', 1);
    INSERT INTO app.period_segments (tenant_id, period, number, plan_id, starts_at, ends_at, assigned_at)
        VALUES ('{tenant}', 1, 1, '{tenant}', now() - interval '20 days', now() + interval '10 days', now() - interval '20 days');";
const COUNTERS: &str =
    "INSERT INTO app.pool_counters (tenant_id, period, segment, pool, category, held, captured, free, voided, expired)
    VALUES ($1, 1, 1, 'units', 'utility', $2, $3, $4, $5, $6)";
const HEAD: &str = "INSERT INTO app.billing_head (tenant_id, epoch, seq, head_hash) VALUES ($1, 1, $2, $3)";

/// What was written.
pub(crate) struct Books {
    /// Whose books, in the order of writing.
    pub(crate) tenants: Vec<TenantId>,
    /// Some attempts of the last tenant that were captured.
    pub(crate) captured: Vec<Uuid>,
    messages: usize,
    events: usize,
    ledger: i64,
}

impl fmt::Display for Books {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} messages of {} tenants, {} statuses, {} ledger rows",
            self.messages,
            self.tenants.len(),
            self.events,
            self.ledger
        )
    }
}

impl Books {
    /// Writes the books of so many tenants with so many messages in all.
    pub(crate) async fn write(owner: &Database, tenants: u16, messages: usize) -> anyhow::Result<Self> {
        let mut books = Self {
            tenants: Vec::new(),
            captured: Vec::new(),
            messages: 0,
            events: 0,
            ledger: 0,
        };
        for _ in 0..tenants {
            books.add(owner, messages.div_ceil(usize::from(tenants))).await?;
        }
        // As autovacuum leaves tables in which nothing happened for a while.
        let mut connection = owner.get().await?;
        for table in [
            "ledger",
            "messages",
            "message_attempts",
            "events",
            "pool_counters",
        ] {
            connection
                .run_script(&format!("VACUUM ANALYZE app.{table}"))
                .await?;
        }
        Ok(books)
    }

    async fn add(&mut self, owner: &Database, messages: usize) -> anyhow::Result<()> {
        let tenant = TenantId(Uuid::now_v7());
        let mut transaction = owner.begin().await?;
        transaction
            .run_script(&TENANT.replace("{tenant}", &tenant.to_string()))
            .await?;
        let mut writer = Writer::new(tenant);
        for from in (0..messages).step_by(AT_ONCE) {
            let page = writer.page(from..messages.min(from + AT_ONCE));
            self.events += page.events.lines();
            copy(&mut transaction, page).await?;
        }
        let (seq, hash) = writer.head();
        let [held, captured, free, voided, expired] = writer.counted();
        transaction
            .execute(COUNTERS, &[&tenant.0, &held, &captured, &free, &voided, &expired])
            .await?;
        transaction
            .execute(HEAD, &[&tenant.0, &seq, &hash.as_slice()])
            .await?;
        transaction.commit().await.context("the books of a tenant")?;
        self.messages += messages;
        self.ledger += seq;
        self.captured = writer.some_captured();
        self.tenants.push(tenant);
        Ok(())
    }
}

async fn copy(transaction: &mut Transaction, page: Page) -> anyhow::Result<()> {
    let parts = [
        (LEDGER, page.ledger),
        (MESSAGES, page.messages),
        (ATTEMPTS, page.attempts),
        (EVENTS, page.events),
    ];
    for (statement, lines) in parts {
        let mut into = transaction.copy_in(statement).await?;
        into.send(Bytes::from(lines.into_text())).await?;
        into.finish().await?;
    }
    Ok(())
}
