//! Corrections by hand as they are kept: who asked for what, and what became of it. `committer::correcting` books them.

use domain::correction::Correction;
use domain::ids::TenantId;
use domain::money::Micros;
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Connection, StorageError};

/// A correction with its state.
#[derive(Clone, Debug, Serialize)]
pub struct KeptCorrection {
    /// Its id.
    pub id: Uuid,
    /// Whose invoice it changes.
    pub tenant_id: Uuid,
    /// What the tenant owes more, in millionths of the currency's main unit; below zero it is a credit.
    pub micros: i64,
    /// ISO 4217.
    pub currency: String,
    /// Why.
    pub reason: String,
    /// Whether a second person has to approve it.
    pub needs_second: bool,
    /// Who asked for it.
    pub proposed_by: String,
    /// When.
    pub proposed_at: Timestamp,
    /// `proposed`, `booked` or `withdrawn`.
    pub state: String,
    /// Who booked or withdrew it.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// The period on whose invoice it stands.
    pub period: Option<i32>,
    /// The ledger row that books it.
    pub seq: Option<i64>,
}

const OF_PERIOD: &str = "SELECT l.micros, c.reason FROM corrections c JOIN ledger l ON (l.tenant_id, l.seq) = (c.tenant_id, c.seq)
    WHERE c.tenant_id = $1 AND c.period = $2 AND c.seq <= $3 AND (l.kind, l.evidence_id, l.period) = ('adjust', c.id, c.period)
    ORDER BY c.seq";

/// Reads what was corrected on the invoice of a period by the ledger's rows up to a cut, in their order. The money is the ledger's.
///
/// # Errors
/// What the database says.
pub async fn of_period(
    connection: &mut Connection,
    tenant: TenantId,
    period: i32,
    cut_seq: i64,
) -> Result<Vec<Correction>, StorageError> {
    let rows = connection
        .query(OF_PERIOD, &[&tenant.0, &period, &cut_seq])
        .await?;
    let read = rows.iter().map(|row| {
        Ok(Correction {
            amount: Micros(row.try_get(0)?),
            reason: row.try_get(1)?,
        })
    });
    read.collect()
}

const LIST: &str = "SELECT id, tenant_id, micros, currency, reason, needs_second, proposed_by, proposed_at, state, decided_by, decided_at,
        period, seq FROM corrections
    WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2 OR state = 'proposed') AND ($3::uuid IS NULL OR id = $3)
    ORDER BY proposed_at, id";

/// Lists corrections, the oldest first: those that wait for a second person, or all.
///
/// # Errors
/// What the database says.
pub async fn list(
    connection: &mut Connection,
    tenant: Option<TenantId>,
    all: bool,
) -> Result<Vec<KeptCorrection>, StorageError> {
    let none: Option<Uuid> = None;
    let rows = connection
        .query(LIST, &[&tenant.map(|tenant| tenant.0), &all, &none])
        .await?;
    rows.iter().map(read).collect()
}

/// Finds a correction.
///
/// # Errors
/// What the database says.
pub async fn find(connection: &mut Connection, id: Uuid) -> Result<Option<KeptCorrection>, StorageError> {
    let tenant: Option<Uuid> = None;
    let row = connection.query_opt(LIST, &[&tenant, &true, &Some(id)]).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<KeptCorrection, StorageError> {
    Ok(KeptCorrection {
        id: row.try_get("id")?,
        tenant_id: row.try_get("tenant_id")?,
        micros: row.try_get("micros")?,
        currency: row.try_get("currency")?,
        reason: row.try_get("reason")?,
        needs_second: row.try_get("needs_second")?,
        proposed_by: row.try_get("proposed_by")?,
        proposed_at: row.try_get("proposed_at")?,
        state: row.try_get("state")?,
        decided_by: row.try_get("decided_by")?,
        decided_at: row.try_get("decided_at")?,
        period: row.try_get("period")?,
        seq: row.try_get("seq")?,
    })
}
