//! Checking a tenant's books from their rows alone, in constant memory: the chain, the counters, the balance of campaigns.

use std::collections::{BTreeMap, HashMap};

use domain::audit_chain::{LedgerRow, Verifier};
use domain::ids::{AttemptId, TenantId};
use domain::invariants::{
    ANCHORED, BALANCE, CHAIN, Counters, FOLD, INVOICE, Invariant, Rows, UNITS, fold_attempt,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::anchors::{self, Anchored};
use super::committer::closing;
use super::invoices;
use super::named::named;
use super::{Connection, Database, StorageError};

/// Rows of the ledger that are read at once.
const PAGE: i64 = 5_000;

/// Something that must be true and is not.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which invariant is broken.
    pub invariant: Invariant,
    /// Whose books.
    pub tenant: TenantId,
    /// What was found.
    pub found: String,
}

/// What was checked, and what was wrong.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Tenants whose books were read.
    pub tenants: usize,
    /// Ledger rows that were hashed again.
    pub rows: i64,
    /// Invoices that were drawn up again.
    pub invoices: i64,
    /// Campaigns whose counts were taken again.
    pub campaigns: i64,
    /// The attempts of a sample.
    pub attempts: Vec<Uuid>,
    /// How many of them were drawn of all, and of each kind besides.
    pub strata: BTreeMap<String, usize>,
    /// Accounts that were not compared with Meta's figures, because Meta gave none, and why.
    pub unanswered: Vec<String>,
    /// What was wrong.
    pub findings: Vec<Finding>,
}

/// Checks the books of one tenant, or of all, against the stored anchors and those that were exported.
///
/// # Errors
/// What the database says.
pub async fn verify(
    database: &Database,
    only: Option<TenantId>,
    exported: &Anchored,
) -> Result<Report, StorageError> {
    let mut connection = database.get().await?;
    let mut anchored = anchors::stored(&mut connection, only).await?;
    for (tenant, covered) in exported {
        anchored
            .entry(*tenant)
            .or_default()
            .extend(covered.iter().cloned());
    }
    let tenants = connection
        .query(
            "SELECT tenant_id FROM billing_head WHERE $1::uuid IS NULL OR tenant_id = $1 ORDER BY tenant_id",
            &[&only.map(|tenant| tenant.0)],
        )
        .await?;
    let mut report = Report::default();
    for row in tenants {
        let tenant = TenantId(row.try_get(0)?);
        // One snapshot for all of a tenant's tables: the server may be at work.
        let mut snapshot = database.begin().await?;
        snapshot
            .run_script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let covered = anchored.remove(&tenant).unwrap_or_default();
        let counters = verify_ledger(&mut snapshot, tenant, covered, &mut report).await?;
        verify_counters(&mut snapshot, tenant, &counters, &mut report).await?;
        verify_invoices(&mut snapshot, tenant, &mut report).await?;
        verify_campaigns(&mut snapshot, tenant, &mut report).await?;
        snapshot.rollback().await?;
        report.tenants += 1;
    }
    Ok(report)
}

impl Report {
    fn find(&mut self, invariant: Invariant, tenant: TenantId, found: String) {
        self.findings.push(Finding {
            invariant,
            tenant,
            found,
        });
    }
}

async fn verify_ledger(
    connection: &mut Connection,
    tenant: TenantId,
    mut covered: Vec<(i64, i64, Vec<u8>)>,
    report: &mut Report,
) -> Result<Counters, StorageError> {
    covered.sort_unstable_by_key(|(_, seq, _)| std::cmp::Reverse(*seq));
    let mut verifier = Verifier::new(tenant);
    let mut attempts: HashMap<AttemptId, Rows> = HashMap::new();
    loop {
        let (after, _) = verifier.head();
        let rows = connection
            .query(
                "SELECT seq, kind, attempt_id, period, segment, pool, category, debit, credit, units, micros, currency,
                    evidence_id, epoch, at, hash FROM ledger WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
                &[&tenant.0, &after, &PAGE],
            )
            .await?;
        for row in &rows {
            let read = ledger_row(tenant, row)?;
            if let Err(broken) = verifier.check(&read, row.try_get("hash")?) {
                report.find(CHAIN, tenant, broken.to_string());
                return Ok(fold(attempts));
            }
            while let Some((anchor, seq, hash)) = covered.pop_if(|(_, seq, _)| *seq <= read.seq) {
                if seq == read.seq && hash != verifier.head().1 {
                    let found = format!("row {seq} is another one than when anchor {anchor} was taken");
                    report.find(ANCHORED, tenant, found);
                }
            }
            if let Some(attempt) = read.attempt {
                let key = (read.period, read.segment, read.pool, read.category);
                attempts.entry(attempt).or_default().push((read.kind, key));
            }
        }
        report.rows += i64::try_from(rows.len()).unwrap_or(0);
        if rows.is_empty() {
            break;
        }
    }
    if let Some((anchor, seq, _)) = covered.first() {
        let last = verifier.head().0;
        let found = format!(
            "anchor {anchor} covers row {seq}, and the ledger ends with row {last}: what followed was cut off"
        );
        report.find(ANCHORED, tenant, found);
    }
    verify_head(connection, tenant, &verifier, report).await?;
    Ok(fold(attempts))
}

async fn verify_head(
    connection: &mut Connection,
    tenant: TenantId,
    verifier: &Verifier,
    report: &mut Report,
) -> Result<(), StorageError> {
    let row = connection
        .query_one(
            "SELECT seq, head_hash FROM billing_head WHERE tenant_id = $1",
            &[&tenant.0],
        )
        .await?;
    let (seq, hash) = verifier.head();
    if row.try_get::<_, i64>(0)? != seq || row.try_get::<_, &[u8]>(1)? != hash {
        report.find(
            CHAIN,
            tenant,
            format!("the head does not point at the last row, {seq}"),
        );
    }
    Ok(())
}

fn ledger_row(tenant: TenantId, row: &Row) -> Result<LedgerRow, StorageError> {
    let at: jiff::Timestamp = row.try_get("at")?;
    Ok(LedgerRow {
        tenant,
        seq: row.try_get("seq")?,
        kind: named(row, "kind")?,
        attempt: row.try_get::<_, Option<Uuid>>("attempt_id")?.map(AttemptId),
        period: row.try_get("period")?,
        segment: row.try_get("segment")?,
        pool: row.try_get("pool")?,
        category: row.try_get("category")?,
        debit: named(row, "debit")?,
        credit: named(row, "credit")?,
        units: row.try_get("units")?,
        micros: row.try_get("micros")?,
        currency: row.try_get("currency")?,
        evidence: row.try_get("evidence_id")?,
        epoch: row.try_get("epoch")?,
        at_us: at.as_microsecond(),
    })
}

fn fold(attempts: HashMap<AttemptId, Rows>) -> Counters {
    let mut counters = Counters::new();
    for rows in attempts.into_values() {
        fold_attempt(&mut counters, &rows);
    }
    counters
}

async fn verify_counters(
    connection: &mut Connection,
    tenant: TenantId,
    folded: &Counters,
    report: &mut Report,
) -> Result<(), StorageError> {
    let rows = connection
        .query(
            "SELECT period, segment, pool, category, held, captured, free, voided, expired, forced FROM pool_counters
             WHERE tenant_id = $1",
            &[&tenant.0],
        )
        .await?;
    let mut stored = Counters::new();
    for row in &rows {
        let change = domain::ledger::CounterChange {
            held: row.try_get(4)?,
            captured: row.try_get(5)?,
            free: row.try_get(6)?,
            voided: row.try_get(7)?,
            expired: row.try_get(8)?,
            forced: row.try_get(9)?,
        };
        stored.insert(
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?),
            change,
        );
    }
    for (key, counted) in folded {
        if stored.get(key) != Some(counted) {
            report.find(
                FOLD,
                tenant,
                format!(
                    "{key:?}: rows fold to {counted:?}, stored is {:?}",
                    stored.get(key)
                ),
            );
        }
    }
    for (key, counted) in &stored {
        let is_empty = *counted == domain::ledger::CounterChange::default();
        if !folded.contains_key(key) && !is_empty {
            report.find(
                FOLD,
                tenant,
                format!("{key:?}: no row, and stored is {counted:?}"),
            );
        }
    }
    let reserved = connection
        .query_one(
            "SELECT count(*) FROM ledger WHERE tenant_id = $1 AND kind = 'reserve'",
            &[&tenant.0],
        )
        .await?
        .try_get::<_, i64>(0)?;
    let settled: i64 = stored
        .values()
        .map(|counter| counter.held + counter.captured + counter.free + counter.voided + counter.expired)
        .sum();
    if reserved != settled {
        report.find(
            UNITS,
            tenant,
            format!("{reserved} units were reserved and {settled} are accounted for"),
        );
    }
    Ok(())
}

/// Draws every invoice up again from the rows that it was drawn up from.
async fn verify_invoices(
    connection: &mut Connection,
    tenant: TenantId,
    report: &mut Report,
) -> Result<(), StorageError> {
    for stored in invoices::all(connection, tenant).await? {
        report.invoices += 1;
        let cut = connection
            .query_opt(
                "SELECT hash FROM ledger WHERE tenant_id = $1 AND seq = $2 AND kind = 'close' AND period = $3",
                &[&tenant.0, &stored.cut_seq, &stored.period],
            )
            .await?;
        let is_cut = cut.is_some_and(|row| row.get::<_, &[u8]>(0) == stored.cut_hash);
        let hash = stored
            .cut_hash
            .as_slice()
            .try_into()
            .map_err(StorageError::nonsense)?;
        let again = closing::draw(connection, tenant, stored.period, (stored.cut_seq, hash)).await;
        let is_same = match &again {
            Ok(again) => again.total.0 == stored.total_minor && invoices::lines_text(again)? == stored.lines,
            Err(StorageError::Unavailable(reason)) => return Err(StorageError::Unavailable(reason.clone())),
            Err(_) => false,
        };
        if !is_cut || !is_same {
            let what = if is_cut {
                "its rows come to another one"
            } else {
                "its cut is not in the ledger"
            };
            report.find(
                INVOICE,
                tenant,
                format!("the invoice of period {}: {what}", stored.period),
            );
        }
    }
    Ok(())
}

const UNBALANCED: &str = "WITH counted AS (
        SELECT campaign_id, sum(planned) AS planned, sum(queued) AS queued, sum(sending) AS sending, sum(accepted) AS accepted,
            sum(sent) AS sent, sum(delivered) AS delivered, sum(read) AS read, sum(failed) AS failed, sum(unknown) AS unknown,
            sum(dead) AS dead, sum(cancelled) AS cancelled, sum(suppressed) AS suppressed
        FROM campaign_counts WHERE tenant_id = $1 GROUP BY campaign_id),
    actual AS (
        SELECT campaign_id, state, count(*) AS many FROM messages WHERE tenant_id = $1 AND campaign_id IS NOT NULL
        GROUP BY campaign_id, state),
    stored AS (
        SELECT campaign_id, s.state, s.many FROM counted, LATERAL (VALUES ('planned', planned), ('queued', queued),
            ('sending', sending), ('accepted', accepted), ('sent', sent), ('delivered', delivered), ('read', read),
            ('failed', failed), ('unknown', unknown), ('dead', dead), ('cancelled', cancelled), ('suppressed', suppressed))
            AS s (state, many) WHERE s.many <> 0)
    SELECT coalesce(a.campaign_id, s.campaign_id), coalesce(a.state, s.state), coalesce(a.many, 0)::bigint,
        coalesce(s.many, 0)::bigint
    FROM actual a FULL JOIN stored s ON a.campaign_id = s.campaign_id AND a.state = s.state
    WHERE a.many IS DISTINCT FROM s.many";

async fn verify_campaigns(
    connection: &mut Connection,
    tenant: TenantId,
    report: &mut Report,
) -> Result<(), StorageError> {
    let row = connection
        .query_one(
            "SELECT count(*) FROM campaigns WHERE tenant_id = $1",
            &[&tenant.0],
        )
        .await?;
    report.campaigns += row.try_get::<_, i64>(0)?;
    for row in connection.query(UNBALANCED, &[&tenant.0]).await? {
        let (campaign, state): (Uuid, String) = (row.try_get(0)?, row.try_get(1)?);
        let (actual, stored): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
        report.find(
            BALANCE,
            tenant,
            format!("campaign {campaign}: {actual} are {state}, counted are {stored}"),
        );
    }
    Ok(())
}
