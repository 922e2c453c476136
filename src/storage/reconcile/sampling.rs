//! Which attempts a sample takes: some of all, and some of each kind among which faults are likelier.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::storage::{Connection, StorageError};

/// A sample of attempts, drawn so that the same seed draws the same ones.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What it is drawn by.
    pub seed: i64,
    /// How many of all.
    pub size: i64,
}

/// How many of all are drawn usually: they find, with a confidence of 95 %, faults that touch one in a hundred.
pub const SAMPLE_USUAL: i64 = 299;
/// How many are drawn of each kind besides.
const OF_EACH: i64 = 30;

/// Gives how many attempts must be looked at to find, with a confidence, faults that touch a share of them: ln(1 - c) / ln(1 - p). None
/// where one of them is not between 0 and 1.
pub fn size_for(share: f64, confidence: f64) -> Option<i64> {
    let is_part = |value: f64| value > 0.0 && value < 1.0;
    (is_part(share) && is_part(confidence))
        .then(|| ((1.0 - confidence).ln() / (1.0 - share).ln()).ceil() as i64)
}

/// Draws of the attempts that the ledger's rows `l` name.
macro_rules! draw {
    ($stratum:literal, $rest:literal, $many:literal) => {
        concat!(
            "(SELECT l.attempt_id, '",
            $stratum,
            "' AS stratum FROM ledger l ",
            $rest,
            " AND l.attempt_id IS NOT NULL AND ($1::uuid IS NULL OR l.tenant_id = $1)
              ORDER BY hashtextextended(l.attempt_id::text, $2) LIMIT ",
            $many,
            ")"
        )
    };
}

/// A billed category, a change of plan within a day, the first or last day of a period, news after the period's end, no news, a unit that
/// was used after it had come back, another category than was reserved.
const DRAWN: &str = concat!(
    draw!("all", "WHERE l.kind = 'reserve'", "$3"),
    " UNION ALL ",
    draw!("marketing", "WHERE l.kind = 'reserve' AND l.category = 'marketing'", "$4"),
    " UNION ALL ",
    draw!("utility", "WHERE l.kind = 'reserve' AND l.category = 'utility'", "$4"),
    " UNION ALL ",
    draw!("authentication", "WHERE l.kind = 'reserve' AND l.category = 'authentication'", "$4"),
    " UNION ALL ",
    draw!("service", "WHERE l.kind = 'reserve' AND l.category = 'service'", "$4"),
    " UNION ALL ",
    draw!(
        "change of plan",
        "JOIN period_segments s ON s.tenant_id = l.tenant_id AND s.period = l.period AND s.number > 1
            AND l.at BETWEEN s.starts_at - interval '1 day' AND s.starts_at + interval '1 day' WHERE l.kind = 'reserve'",
        "$4"
    ),
    " UNION ALL ",
    draw!(
        "edge of the period",
        "JOIN billing_periods p ON p.tenant_id = l.tenant_id AND p.number = l.period
            AND (l.at < p.starts_at + interval '1 day' OR l.at >= p.ends_at - interval '1 day') WHERE l.kind = 'reserve'",
        "$4"
    ),
    " UNION ALL ",
    draw!(
        "late",
        "JOIN billing_periods p ON p.tenant_id = l.tenant_id AND p.number = l.period AND l.at >= p.ends_at WHERE l.kind <> 'reserve'",
        "$4"
    ),
    " UNION ALL ",
    draw!("expired", "WHERE l.kind = 'expire'", "$4"),
    " UNION ALL ",
    draw!("forced", "WHERE l.kind = 'recapture'", "$4"),
    " UNION ALL ",
    draw!(
        "other category",
        "JOIN ledger r ON r.tenant_id = l.tenant_id AND r.attempt_id = l.attempt_id AND r.kind = 'reserve' AND r.category <> l.category
            WHERE l.kind IN ('capture', 'recapture')",
        "$4"
    ),
);

/// Draws a sample; tells how many of each kind it has.
pub(super) async fn draw(
    snapshot: &mut Connection,
    tenant: Option<Uuid>,
    sample: Sample,
) -> Result<(Vec<Uuid>, BTreeMap<String, usize>), StorageError> {
    let rows = snapshot
        .query(DRAWN, &[&tenant, &sample.seed, &sample.size, &OF_EACH])
        .await?;
    let (mut attempts, mut strata) = (Vec::with_capacity(rows.len()), BTreeMap::new());
    for row in &rows {
        attempts.push(row.try_get(0)?);
        *strata.entry(row.try_get(1)?).or_default() += 1;
    }
    attempts.sort_unstable();
    attempts.dedup();
    Ok((attempts, strata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_as_large_as_its_confidence_needs() {
        assert_eq!(size_for(0.01, 0.95), Some(SAMPLE_USUAL));
        assert_eq!(size_for(0.001, 0.95), Some(2_995));
        assert_eq!(size_for(0.0, 0.95), None);
        assert_eq!(size_for(0.01, 1.0), None);
    }
}
