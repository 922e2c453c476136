//! Faults that somebody who owns the database could plant, each in a place of its own, and the check that must name each.

use anyhow::Context as _;
use malote::storage::Database;
use serde_json::Value;

use crate::books::Books;

/// A planted fault.
#[derive(Debug)]
pub(crate) struct Fault {
    check: &'static str,
    /// What the finding must name: an attempt, or the tenant whose sums are wrong.
    place: String,
}

impl Fault {
    /// Tells whether a finding names it.
    pub(crate) fn is_among(&self, findings: &[Value]) -> bool {
        findings.iter().any(|finding| {
            let names_it = |field: &str| {
                finding[field]
                    .as_str()
                    .is_some_and(|text| text.contains(&self.place))
            };
            finding["invariant"] == self.check && (names_it("found") || names_it("tenant"))
        })
    }
}

/// Those about sums and money, each in the books of a tenant that has no other.
const OF_SUMS: [(&str, &str); 3] = [
    (
        "R1",
        "UPDATE app.pool_counters SET captured = captured - 1 WHERE tenant_id = '{place}'",
    ),
    (
        "R1",
        "INSERT INTO app.pool_counters (tenant_id, period, segment, pool, category, held)
            VALUES ('{place}', 1, 1, 'units', 'service', 1)",
    ),
    (
        "R10",
        "UPDATE app.ledger SET micros = -1000000 WHERE tenant_id = '{place}' AND seq = 1",
    ),
];
/// Those about an attempt that was captured.
const OF_ATTEMPTS: [(&str, &str); 9] = [
    (
        "R2",
        "UPDATE app.messages SET attempt_id = NULL, state = 'failed' WHERE attempt_id = '{place}'",
    ),
    ("R2", "DELETE FROM app.messages WHERE attempt_id = '{place}'"),
    ("R2", "DELETE FROM app.ledger WHERE attempt_id = '{place}'"),
    (
        "R3",
        "DELETE FROM app.ledger WHERE attempt_id = '{place}' AND kind = 'capture'",
    ),
    (
        "R3",
        "UPDATE app.events SET pricing_type = 'free_entry_point' WHERE attempt_id = '{place}'",
    ),
    (
        "R3",
        "UPDATE app.ledger SET kind = 'void' WHERE attempt_id = '{place}' AND kind = 'capture'",
    ),
    ("R4", "DELETE FROM app.events WHERE attempt_id = '{place}'"),
    (
        "R7",
        "DELETE FROM app.ledger WHERE attempt_id = '{place}' AND kind = 'capture';
            UPDATE app.messages SET state = 'failed' WHERE attempt_id = '{place}'",
    ),
    (
        "R8",
        "DELETE FROM app.ledger WHERE attempt_id = '{place}' AND kind = 'reserve'",
    ),
];

/// Plants all of them.
pub(crate) async fn plant(owner: &Database, books: &Books) -> anyhow::Result<Vec<Fault>> {
    let tenants = books.tenants.iter().map(ToString::to_string);
    let attempts = books.captured.iter().map(ToString::to_string);
    let of_sums = OF_SUMS.into_iter().zip(tenants);
    let of_attempts = OF_ATTEMPTS.into_iter().zip(attempts);
    let mut script = "ALTER TABLE app.ledger DISABLE TRIGGER USER;".to_owned();
    let mut planted = Vec::new();
    for ((check, statement), place) in of_sums.chain(of_attempts) {
        script.push_str(&statement.replace("{place}", &place));
        script.push(';');
        planted.push(Fault { check, place });
    }
    script.push_str("ALTER TABLE app.ledger ENABLE TRIGGER USER");
    let all = OF_SUMS.len() + OF_ATTEMPTS.len();
    anyhow::ensure!(planted.len() == all, "the books are too small for {all} faults");
    owner
        .get()
        .await?
        .run_script(&script)
        .await
        .context("planting faults")?;
    Ok(planted)
}
