//! Reconciliation: a second opinion on the books, written in SQL and sharing nothing with the code that keeps them.

mod sampling;

use domain::ids::TenantId;
use domain::invariants::Invariant;
use jiff::Timestamp;

pub use self::sampling::{SAMPLE_USUAL, Sample, size_for};
use super::audit::{Finding, Report};
use super::{Database, StorageError};

/// The counters by a fold of the ledger that knows nothing of the program's.
pub const COUNTERS: Invariant = Invariant {
    id: "R1",
    says: "the ledger, folded by SQL, gives the stored counters",
};
/// Every unit has its message.
pub const MESSAGES: Invariant = Invariant {
    id: "R2",
    says: "each reserved attempt is a message's, and each message that left has its reservation",
};
/// What Meta said is what the ledger says.
pub const EVIDENCE: Invariant = Invariant {
    id: "R3",
    says: "an attempt is settled as the strongest of its stored events says",
};
/// No capture without its proof.
pub const PROOF: Invariant = Invariant {
    id: "R4",
    says: "each captured unit names a stored event by which Meta bills it",
};
/// Nothing is held for ever.
pub const HELD: Invariant = Invariant {
    id: "R7",
    says: "no unit is held whose message has ended without arriving",
};
/// Nothing left unpaid.
pub const PAID: Invariant = Invariant {
    id: "R8",
    says: "no message has a Meta id and no reservation",
};

/// Money by hand has its reason.
pub const CORRECTED: Invariant = Invariant {
    id: "R10",
    says: "each row of money is a booked correction, in its amount, and each booked correction has its row",
};

/// One check: what it says, and the statement that finds what breaks it. `$1` is one tenant or none, `$2` a sample of attempts
/// or none; a hundred findings of one check say enough.
struct Check(Invariant, &'static str);

/// The strongest fact of each attempt by the ledger, and where it is counted.
macro_rules! attempts {
    ($rest:literal) => {
        concat!(
            "WITH attempts AS (SELECT tenant_id, attempt_id,
                max(CASE kind WHEN 'reserve' THEN 1 WHEN 'expire' THEN 2 WHEN 'void' THEN 3 WHEN 'free' THEN 4 WHEN 'capture' THEN 5
                    WHEN 'recapture' THEN 5 ELSE 0 END) AS reached,
                count(*) FILTER (WHERE kind = 'recapture') AS forced, count(*) FILTER (WHERE kind = 'reserve') AS reserved,
                count(*) - count(DISTINCT kind) AS twice,
                max(period) AS period, max(segment) AS segment,
                coalesce(max(pool) FILTER (WHERE kind IN ('capture', 'recapture')), max(pool) FILTER (WHERE kind = 'reserve')) AS pool,
                coalesce(max(category) FILTER (WHERE kind IN ('capture', 'recapture')),
                    max(category) FILTER (WHERE kind = 'reserve')) AS category
            FROM ledger WHERE attempt_id IS NOT NULL AND ($1::uuid IS NULL OR tenant_id = $1)
                AND ($2::uuid[] IS NULL OR attempt_id = ANY($2))
            GROUP BY tenant_id, attempt_id)",
            $rest,
            " LIMIT 100"
        )
    };
}

const CHECKS: &[Check] = &[
    Check(
        MESSAGES,
        attempts!(
            " SELECT a.tenant_id, format('attempt %s is reserved and no message''s', a.attempt_id) FROM attempts a
              WHERE NOT EXISTS (SELECT FROM messages m WHERE m.tenant_id = a.tenant_id AND m.attempt_id = a.attempt_id)
                AND NOT EXISTS (SELECT FROM message_attempts m WHERE m.tenant_id = a.tenant_id AND m.attempt_id = a.attempt_id)
              UNION ALL
              SELECT a.tenant_id, format('attempt %s has %s reservations and %s rows too many', a.attempt_id, a.reserved, a.twice)
              FROM attempts a WHERE a.reserved <> 1 OR a.twice > 0
              UNION ALL
              SELECT m.tenant_id, format('message %s is %s and attempt %s has no row', m.id, m.state, m.attempt_id) FROM messages m
              WHERE m.state IN ('sending', 'accepted', 'sent', 'delivered', 'read', 'unknown')
                AND ($1::uuid IS NULL OR m.tenant_id = $1) AND ($2::uuid[] IS NULL OR m.attempt_id = ANY($2))
                AND NOT EXISTS (SELECT FROM ledger l WHERE l.tenant_id = m.tenant_id AND l.attempt_id = m.attempt_id)"
        ),
    ),
    Check(
        EVIDENCE,
        attempts!(
            ", told AS (SELECT tenant_id, attempt_id, max(CASE
                    WHEN status IN ('delivered', 'read') AND coalesce(pricing_type NOT LIKE 'free%', pricing_billable) THEN 5
                    WHEN status IN ('delivered', 'read') AND coalesce(pricing_type LIKE 'free%', NOT pricing_billable) THEN 4
                    WHEN status = 'failed' THEN 3 ELSE 0 END) AS reached
                FROM events WHERE applied_at IS NOT NULL AND ($1::uuid IS NULL OR tenant_id = $1)
                    AND ($2::uuid[] IS NULL OR attempt_id = ANY($2)) GROUP BY tenant_id, attempt_id)
              SELECT a.tenant_id, format('attempt %s: its events say %s, the ledger %s', a.attempt_id,
                  (ARRAY['nothing', 'nothing', 'nothing', 'void', 'free', 'capture'])[coalesce(t.reached, 0) + 1],
                  (ARRAY['nothing', 'reserve', 'expire', 'void', 'free', 'capture'])[a.reached + 1])
              FROM attempts a LEFT JOIN told t USING (tenant_id, attempt_id)
              WHERE greatest(coalesce(t.reached, 0), 2) <> greatest(a.reached, 2)"
        ),
    ),
    Check(
        PROOF,
        "SELECT l.tenant_id, format('row %s captures attempt %s by no such event', l.seq, l.attempt_id) FROM ledger l
         WHERE l.kind IN ('capture', 'recapture') AND ($1::uuid IS NULL OR l.tenant_id = $1)
            AND ($2::uuid[] IS NULL OR l.attempt_id = ANY($2))
            AND NOT EXISTS (SELECT FROM events e WHERE e.tenant_id = l.tenant_id AND e.id = l.evidence_id
                AND e.attempt_id = l.attempt_id AND e.status IN ('delivered', 'read')) LIMIT 100",
    ),
    Check(
        HELD,
        attempts!(
            " SELECT a.tenant_id, format('attempt %s is held, and its message %s is %s', a.attempt_id, m.id, m.state)
              FROM attempts a JOIN messages m ON m.tenant_id = a.tenant_id AND m.attempt_id = a.attempt_id
              WHERE a.reached = 1 AND m.state IN ('failed', 'dead', 'cancelled', 'suppressed')
                AND NOT EXISTS (SELECT FROM events e WHERE e.tenant_id = a.tenant_id AND e.attempt_id = a.attempt_id
                    AND e.applied_at IS NULL)"
        ),
    ),
    Check(
        PAID,
        "SELECT m.tenant_id, format('message %s has the Meta id %s and attempt %s no reservation', m.id, m.wamid, m.attempt_id)
         FROM messages m WHERE m.wamid IS NOT NULL AND ($1::uuid IS NULL OR m.tenant_id = $1)
            AND ($2::uuid[] IS NULL OR m.attempt_id = ANY($2)) AND NOT EXISTS (SELECT FROM ledger l
                WHERE l.tenant_id = m.tenant_id AND l.attempt_id = m.attempt_id AND l.kind = 'reserve') LIMIT 100",
    ),
    Check(
        CORRECTED,
        "SELECT coalesce(l.tenant_id, c.tenant_id), CASE
                WHEN c.id IS NULL THEN format('row %s moves %s millionths of %s, and no correction says so', l.seq, l.micros, l.currency)
                WHEN l.seq IS NULL THEN format('correction %s is booked, and row %s does not say so', c.id, c.seq)
                ELSE format('row %s moves %s millionths of %s for period %s, and correction %s is %s of %s for period %s', l.seq, l.micros,
                    l.currency, l.period, c.id, c.micros, c.currency, c.period) END
         FROM (SELECT * FROM ledger WHERE (kind = 'adjust' OR micros <> 0) AND ($1::uuid IS NULL OR tenant_id = $1)
                AND $2::uuid[] IS NULL) l
         FULL JOIN (SELECT * FROM corrections WHERE state = 'booked' AND ($1::uuid IS NULL OR tenant_id = $1) AND $2::uuid[] IS NULL) c
            ON (l.tenant_id, l.seq, l.evidence_id) = (c.tenant_id, c.seq, c.id)
         WHERE (l.micros, l.currency, l.period, l.kind) IS DISTINCT FROM (c.micros, c.currency, c.period, 'adjust') LIMIT 100",
    ),
];

/// Whole tenants only: a sample has no sums.
const SUMS: Check = Check(
    COUNTERS,
    attempts!(
        ", folded AS (SELECT tenant_id, period, segment, pool, category, count(*) FILTER (WHERE reached = 1) AS held,
                count(*) FILTER (WHERE reached = 2) AS expired, count(*) FILTER (WHERE reached = 3) AS voided,
                count(*) FILTER (WHERE reached = 4) AS free, count(*) FILTER (WHERE reached = 5) AS captured,
                sum(forced)::bigint AS forced
            FROM attempts GROUP BY tenant_id, period, segment, pool, category),
            stored AS (SELECT * FROM pool_counters WHERE ($1::uuid IS NULL OR tenant_id = $1)
                AND held + expired + voided + free + captured > 0)
          SELECT coalesce(f.tenant_id, s.tenant_id), format('period %s, segment %s, %s of %s: %s held, %s captured, %s free, %s voided, '
              '%s expired by the rows; %s, %s, %s, %s, %s stored', coalesce(f.period, s.period), coalesce(f.segment, s.segment),
              coalesce(f.category, s.category), coalesce(f.pool, s.pool), f.held, f.captured, f.free, f.voided, f.expired,
              s.held, s.captured, s.free, s.voided, s.expired)
          FROM folded f FULL JOIN stored s ON (f.tenant_id, f.period, f.segment, f.pool, f.category)
              = (s.tenant_id, s.period, s.segment, s.pool, s.category)
          WHERE (f.held, f.captured, f.free, f.voided, f.expired, f.forced)
              IS DISTINCT FROM (s.held, s.captured, s.free, s.voided, s.expired, s.forced)"
    ),
);

/// Reconciles all books, or those of one tenant, or a sample of attempts. It only reads; the server may be at work.
///
/// # Errors
/// What the database says.
pub async fn reconcile(
    database: &Database,
    only: Option<TenantId>,
    sample: Option<Sample>,
) -> Result<Report, StorageError> {
    let mut snapshot = database.begin().await?;
    // One snapshot for all checks; and a million messages take longer than a request may.
    snapshot
        .run_script(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
             SET LOCAL statement_timeout = 0; SET LOCAL work_mem = '256MB'",
        )
        .await?;
    let tenant = only.map(|tenant| tenant.0);
    let mut report = Report::default();
    let attempts = match sample {
        Some(sample) => {
            (report.attempts, report.strata) = sampling::draw(&mut snapshot, tenant, sample).await?;
            Some(report.attempts.clone())
        }
        None => None,
    };
    let counted = snapshot
        .query_one(
            "SELECT count(DISTINCT tenant_id), count(*) FROM ledger WHERE ($1::uuid IS NULL OR tenant_id = $1)
                AND ($2::uuid[] IS NULL OR attempt_id = ANY($2))",
            &[&tenant, &attempts],
        )
        .await?;
    report.tenants = usize::try_from(counted.try_get::<_, i64>(0)?).unwrap_or(0);
    report.rows = counted.try_get(1)?;
    let sums = sample.is_none().then_some(&SUMS);
    for &Check(invariant, statement) in sums.into_iter().chain(CHECKS) {
        for row in snapshot.query(statement, &[&tenant, &attempts]).await? {
            report.findings.push(Finding {
                invariant,
                tenant: TenantId(row.try_get(0)?),
                found: row.try_get(1)?,
            });
        }
    }
    snapshot.rollback().await?;
    Ok(report)
}

/// Gives a seed that nobody chose.
pub fn any_seed() -> i64 {
    Timestamp::now().as_microsecond()
}
