//! Somebody who owns the database changes the books, and each change is found and named: by the chain, by anchors, by a second count.

use domain::audit_chain::{LedgerRow, genesis, hash_row};
use domain::ids::{AttemptId, TenantId};
use domain::ledger::{Account, LedgerKind};
use malote::storage::anchors::{self, Anchored};
use malote::storage::audit::{self, Report};
use malote::storage::committer::closing;
use malote::storage::reconcile::{Sample, reconcile};
use malote::storage::{Database, Role};
use std::time::Duration;
use uuid::Uuid;

use crate::scratch::ScratchDatabase;

/// Attempts of the books, each reserved and captured.
const ATTEMPTS: i64 = 20;

/// A tenant's books of a period that ended a week ago, in a database of their own.
pub(crate) struct Books {
    scratch: ScratchDatabase,
    pub(crate) owner: tokio_postgres::Client,
    pub(crate) auditor: Database,
    pub(crate) system: Database,
    pub(crate) tenant: TenantId,
}

const TENANT: &str = "
    INSERT INTO tenants (id, name, timezone) VALUES ('{tenant}', 'a test', 'UTC');
    INSERT INTO plans (id, code, version, name, currency, currency_exponent, fee_minor, allowance_units, policy, overage_price_micros)
        VALUES ('{tenant}', '{tenant}', 1, 'a test', 'BRL', 2, 9900, 10, 'soft', 120000);
    INSERT INTO plan_assignments (tenant_id, effective_from, plan_id, timing)
        VALUES ('{tenant}', now() - interval '30 days', '{tenant}', 'now');
    INSERT INTO billing_periods (tenant_id, number, starts_at, ends_at, timezone, anchor_day)
        VALUES ('{tenant}', 1, now() - interval '35 days', now() - interval '7 days', 'UTC', 1);
    INSERT INTO period_segments (tenant_id, period, number, plan_id, starts_at, ends_at, assigned_at)
        VALUES ('{tenant}', 1, 1, '{tenant}', now() - interval '35 days', now() - interval '7 days', now() - interval '30 days');
    INSERT INTO pool_counters (tenant_id, period, segment, pool, category, captured) VALUES ('{tenant}', 1, 1, 'units', 'utility', 20);";

impl Books {
    pub(crate) async fn open(name: &str) -> Self {
        let scratch = ScratchDatabase::migrated(name).await;
        let owner = scratch.client(Role::MigrationAdmin).await;
        owner.batch_execute("SET search_path = app").await.expect("ours");
        let tenant = TenantId(Uuid::now_v7());
        let script = TENANT.replace("{tenant}", &tenant.to_string());
        owner.batch_execute(&script).await.expect("a tenant");
        let books = Self {
            auditor: scratch.pool(Role::ReadonlyAudit).await,
            system: scratch.pool(Role::AppSystem).await,
            scratch,
            owner,
            tenant,
        };
        books.fill().await;
        books
    }

    /// Throws the database away. The auditor leaves it first: whoever throws away may not throw her out.
    pub(crate) async fn close(self) {
        drop((self.auditor, self.system, self.owner));
        self.scratch.discard().await;
    }

    /// Writes a reservation and a capture for each attempt, with the message and the event that belong to them.
    async fn fill(&self) {
        let (mut seq, mut hash) = (0, genesis(self.tenant));
        let at =
            jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - 10 * 86_400).expect("a time");
        let sender = Uuid::now_v7();
        for number in 1..=ATTEMPTS {
            let (attempt, event) = (Uuid::now_v7(), Uuid::now_v7());
            self.store_message(sender, number, attempt, event).await;
            for kind in [LedgerKind::Reserve, LedgerKind::Capture] {
                seq += 1;
                let is_capture = kind == LedgerKind::Capture;
                let row = LedgerRow {
                    tenant: self.tenant,
                    seq,
                    kind,
                    attempt: Some(AttemptId(attempt)),
                    period: 1,
                    segment: 1,
                    pool: "units".into(),
                    category: "utility".into(),
                    debit: if is_capture {
                        Account::Held
                    } else {
                        Account::Available
                    },
                    credit: if is_capture { Account::Used } else { Account::Held },
                    units: 1,
                    micros: 0,
                    currency: "BRL".into(),
                    evidence: is_capture.then_some(event),
                    epoch: 1,
                    at_us: at.as_microsecond(),
                };
                hash = hash_row(&hash, &row);
                self.store_row(&row, at, &hash).await;
            }
        }
        let head = "INSERT INTO billing_head (tenant_id, epoch, seq, head_hash) VALUES ($1, 1, $2, $3)";
        self.owner
            .execute(head, &[&self.tenant.0, &seq, &hash.as_slice()])
            .await
            .expect("a head");
    }

    async fn store_row(&self, row: &LedgerRow, at: jiff::Timestamp, hash: &[u8]) {
        let statement = "INSERT INTO ledger (tenant_id, seq, kind, attempt_id, period, segment, pool, category, debit, credit, units,
                micros, currency, evidence_id, fingerprint, epoch, at, hash)
            VALUES ($1, $2, $3, $4, 1, 1, 'units', 'utility', $5, $6, 1, 0, 'BRL', $7, '', 1, $8, $9)";
        let (kind, debit, credit) = (row.kind.as_str(), row.debit.as_str(), row.credit.as_str());
        let attempt = row.attempt.map(|attempt| attempt.0);
        self.owner
            .execute(
                statement,
                &[
                    &row.tenant.0,
                    &row.seq,
                    &kind,
                    &attempt,
                    &debit,
                    &credit,
                    &row.evidence,
                    &at,
                    &hash,
                ],
            )
            .await
            .expect("a row");
    }

    async fn store_message(&self, sender: Uuid, number: i64, attempt: Uuid, event: Uuid) {
        let recipient = format!("+55119{number:08}");
        let wamid = format!("wamid.{number}");
        self.owner
            .execute(
                "INSERT INTO messages (tenant_id, id, sender_id, recipient, category, body, state, attempt_id, attempt_number, wamid)
                 VALUES ($1, $2, $3, $4, 'utility', '{}', 'delivered', $5, 1, $6)",
                &[&self.tenant.0, &Uuid::now_v7(), &sender, &recipient, &attempt, &wamid],
            )
            .await
            .expect("a message");
        self.owner
            .execute(
                "INSERT INTO events (tenant_id, id, source, status, attempt_id, occurred_at, pricing_type, applied_at)
                 VALUES ($1, $2, 'meta', 'delivered', $3, now(), 'regular', now())",
                &[&self.tenant.0, &event, &attempt],
            )
            .await
            .expect("an event");
    }

    /// Does what only the owner of the database can: the triggers stand in everybody else's way.
    pub(crate) async fn tamper(&self, script: &str) {
        let script = script.replace("{tenant}", &self.tenant.to_string());
        let all = format!(
            "ALTER TABLE ledger DISABLE TRIGGER USER; {script}; ALTER TABLE ledger ENABLE TRIGGER USER"
        );
        self.owner.batch_execute(&all).await.expect("tampered");
    }

    pub(crate) async fn verify(&self, exported: &Anchored) -> Vec<String> {
        told(
            &audit::verify(&self.auditor, Some(self.tenant), exported)
                .await
                .expect("an answer"),
        )
    }

    pub(crate) async fn reconcile(&self, sample: Option<Sample>) -> Vec<String> {
        told(&reconcile(&self.auditor, None, sample).await.expect("an answer"))
    }
}

fn told(report: &Report) -> Vec<String> {
    let findings = report.findings.iter();
    findings
        .map(|finding| format!("{}: {}", finding.invariant.id, finding.found))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_is_closed_and_its_invoice_computes_again() {
    let books = Books::open("closing").await;
    let grace = Duration::from_secs(72 * 3_600);
    let mut connection = books.system.get().await.expect("a connection");
    let draft = closing::ended(&mut connection, books.tenant)
        .await
        .expect("drawn");
    assert_eq!(draft.expect("it has ended").1.total.0, 9_900 + 10 * 12);
    drop(connection);
    assert_eq!(closing::close_due(&books.system, grace).await.expect("closed"), 1);
    assert_eq!(
        closing::close_due(&books.system, grace)
            .await
            .expect("nothing left"),
        0
    );
    let row = books
        .owner
        .query_one("SELECT total_minor, state FROM invoices", &[])
        .await
        .expect("an invoice");
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, &str>(1)),
        (9_900 + 10 * 12, "final")
    );
    assert_eq!(books.verify(&Anchored::new()).await, [] as [String; 0]);
    books
        .tamper("UPDATE invoices SET total_minor = total_minor + 1")
        .await;
    let found = books.verify(&Anchored::new()).await;
    assert!(
        matches!(&found[..], [one] if one.starts_with("I12") && one.contains("period 1")),
        "{found:?}"
    );
    books.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_the_books_is_found_and_named() {
    let books = Books::open("tampered").await;
    assert_eq!(
        books.verify(&Anchored::new()).await,
        [] as [String; 0],
        "a clean ledger"
    );
    let copy =
        "CREATE TABLE kept AS SELECT * FROM ledger; CREATE TABLE kept_head AS SELECT * FROM billing_head";
    books.owner.batch_execute(copy).await.expect("copied");
    let anchor = anchors::take(&books.system).await.expect("anchored");
    let exported = anchors::exported(&serde_json::to_string(&anchor).expect("a line")).expect("an anchor");
    let restore = "DELETE FROM ledger; INSERT INTO ledger SELECT * FROM kept; DELETE FROM billing_head;
        INSERT INTO billing_head SELECT * FROM kept_head; UPDATE pool_counters SET captured = 20";
    let cut = "DELETE FROM ledger WHERE seq > 30; UPDATE billing_head SET seq = 30, head_hash = (SELECT hash FROM ledger WHERE seq = 30);
        UPDATE pool_counters SET captured = 15";
    // Two rows change places.
    let swap = "ALTER TABLE ledger DROP CONSTRAINT ledger_seq_check; UPDATE ledger SET seq = -seq WHERE seq IN (11, 13);
        UPDATE ledger SET seq = CASE seq WHEN -11 THEN 13 ELSE 11 END WHERE seq IN (-11, -13);
        ALTER TABLE ledger ADD CONSTRAINT ledger_seq_check CHECK (seq >= 1)";
    let cases = [
        (
            "UPDATE ledger SET hash = set_byte(hash, 3, get_byte(hash, 3) # 1) WHERE seq = 7",
            "I17: row 7 ",
        ),
        (
            "UPDATE ledger SET at = at + interval '1 microsecond' WHERE seq = 8",
            "I17: row 8 ",
        ),
        (swap, "I17: row 11 "),
        ("DELETE FROM ledger WHERE seq = 20", "I17: row 20 is missing"),
        ("UPDATE pool_counters SET captured = 19", "I10: "),
        (
            cut,
            "I17a: anchor 1 covers row 40, and the ledger ends with row 30",
        ),
    ];
    for (tampering, named) in cases {
        books.tamper(tampering).await;
        let found = books.verify(&exported).await;
        assert!(
            found.iter().any(|finding| finding.starts_with(named)),
            "{tampering}: {found:?}"
        );
        books.tamper(restore).await;
        assert_eq!(books.verify(&exported).await, [] as [String; 0], "restored");
    }
    books.tamper(cut).await;
    let forgotten = "ALTER TABLE audit_anchor_heads DISABLE TRIGGER USER; DELETE FROM audit_anchor_heads;
        ALTER TABLE audit_anchor_heads ENABLE TRIGGER USER";
    books.owner.batch_execute(forgotten).await.expect("forgotten");
    assert_eq!(
        books.verify(&Anchored::new()).await,
        [] as [String; 0],
        "nothing in the database tells"
    );
    assert!(!books.verify(&exported).await.is_empty(), "the copy outside does");
    books.close().await;
}

/// Faults to plant, each with the check that must find it.
fn faults() -> Vec<(&'static str, String)> {
    let one = "(SELECT attempt_id FROM ledger WHERE seq = 7)";
    vec![
        ("R1", "UPDATE pool_counters SET captured = 19".to_owned()),
        (
            "R1",
            "INSERT INTO pool_counters (tenant_id, period, segment, pool, category, held)
            VALUES ('{tenant}', 1, 1, 'units', 'service', 1)"
                .to_owned(),
        ),
        (
            "R2",
            format!("UPDATE messages SET attempt_id = NULL, state = 'failed' WHERE attempt_id = {one}"),
        ),
        ("R2", format!("DELETE FROM messages WHERE attempt_id = {one}")),
        ("R2", format!("DELETE FROM ledger WHERE attempt_id = {one}")),
        (
            "R3",
            format!("DELETE FROM ledger WHERE attempt_id = {one} AND kind = 'capture'"),
        ),
        (
            "R3",
            format!("UPDATE events SET pricing_type = 'free_entry_point' WHERE attempt_id = {one}"),
        ),
        (
            "R3",
            format!("UPDATE ledger SET kind = 'void' WHERE attempt_id = {one} AND kind = 'capture'"),
        ),
        ("R4", format!("DELETE FROM events WHERE attempt_id = {one}")),
        (
            "R7",
            format!(
                "DELETE FROM ledger WHERE attempt_id = {one} AND kind = 'capture';
            UPDATE messages SET state = 'failed' WHERE attempt_id = {one}"
            ),
        ),
        (
            "R8",
            format!("DELETE FROM ledger WHERE attempt_id = {one} AND kind = 'reserve'"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciliation_finds_each_planted_fault_and_nothing_on_a_clean_run() {
    let books = Books::open("reconciled").await;
    let everything = Sample { seed: 5, size: 299 };
    assert_eq!(books.reconcile(None).await, [] as [String; 0]);
    assert_eq!(books.reconcile(Some(everything)).await, [] as [String; 0]);
    let faults = faults();
    for (check, fault) in &faults {
        let copies = ["ledger", "messages", "events", "pool_counters"];
        for table in copies {
            let copy = format!(
                "DROP TABLE IF EXISTS kept_{table}; CREATE TABLE kept_{table} AS SELECT * FROM {table}"
            );
            books.owner.batch_execute(&copy).await.expect("copied");
        }
        books.tamper(fault).await;
        let found = books.reconcile(None).await;
        assert!(
            found.iter().any(|finding| finding.starts_with(check)),
            "{fault}: {found:?}"
        );
        if *check != "R1" {
            let found = books.reconcile(Some(everything)).await;
            let is_drawn = !fault.contains(
                "DELETE FROM ledger WHERE attempt_id = (SELECT attempt_id FROM ledger WHERE seq = 7)",
            );
            assert!(
                !is_drawn || !found.is_empty(),
                "{fault}: a sample of all attempts finds it too"
            );
        }
        for table in copies {
            books
                .tamper(&format!(
                    "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}"
                ))
                .await;
        }
    }
    println!("{} planted faults were found", faults.len());
    books.close().await;
}
