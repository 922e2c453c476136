//! Corrections by hand: each is a row of the ledger on the oldest invoice that is not issued yet, with who asked for it and why beside it.
//!
//! Done under the lock of the tenant's head, as closing a period is: a correction is on the invoice that a planner draws up next, or
//! finds that one issued and goes on the next. It moves no unit, so it needs no owner to be awake.

use domain::correction::{self, Correction, Refused};
use domain::ids::TenantId;
use domain::ledger::{Account, LedgerKind};
use domain::money::{Currency, Micros};
use jiff::Timestamp;
use uuid::Uuid;

use super::chain::{self, Chain, Plain};
use super::period::open_periods;
use crate::storage::corrections::{self, KeptCorrection};
use crate::storage::{Connection, Database, StorageError, Transaction};

/// Millionths of a currency's main unit.
const MICROS: u64 = 1_000_000;

/// A correction that somebody asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Whose invoice.
    pub tenant: TenantId,
    /// What the tenant owes more; below zero it is a credit.
    pub amount: Micros,
    /// Why: it stands on the invoice.
    pub reason: &'a str,
    /// Who asks.
    pub by: &'a str,
}

/// Why a correction is not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CorrectionError {
    /// It is none, or not by whoever it takes.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nobody to bill.
    #[error("tenant {0} does not exist or was never on a plan: there is no invoice to correct")]
    NoInvoice(TenantId),
    /// It was asked for before.
    #[error(
        "the same amount was corrected for the same reason: if it is meant once more, give a reason that tells them apart"
    )]
    Twice,
    /// Nobody asked for it.
    #[error("there is no correction {0}")]
    Unknown(Uuid),
    /// Somebody was faster.
    #[error("correction {0} is {1}: that is final; another one takes it back")]
    Decided(Uuid, String),
    /// The database.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<StorageError> for CorrectionError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Duplicate { constraint } if constraint == "corrections_once" => Self::Twice,
            other => Self::Storage(other),
        }
    }
}

const INSERT: &str =
    "INSERT INTO corrections (tenant_id, id, micros, currency, reason, needs_second, proposed_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// Books a correction, or keeps it for a second person when it is large: when all that was corrected on that invoice by one person comes
/// to more than `alone` main units of the currency.
///
/// # Errors
/// Why it is not made; then nothing was.
pub async fn propose(
    database: &Database,
    wanted: Wanted<'_>,
    alone: u64,
) -> Result<KeptCorrection, CorrectionError> {
    let by = correction::name(wanted.by)?;
    let mut books = Books::open(database, wanted.tenant).await?;
    let correction = Correction::new(wanted.amount, wanted.reason, &books.currency)?;
    let corrected = books.corrected_alone().await?;
    let needs_second = correction.needs_second(corrected, alone.saturating_mul(MICROS));
    let id = Uuid::now_v7();
    let (tenant, micros) = (wanted.tenant.0, correction.amount.0);
    books
        .transaction
        .execute(
            INSERT,
            &[
                &tenant,
                &id,
                &micros,
                &books.currency.code,
                &correction.reason,
                &needs_second,
                &by,
            ],
        )
        .await?;
    if !needs_second {
        books.book(id, correction.amount, &by).await?;
    }
    books.keep(id).await
}

/// Books a correction that somebody else proposed.
///
/// # Errors
/// Why not; then nothing was.
pub async fn approve(database: &Database, id: Uuid, by: &str) -> Result<KeptCorrection, CorrectionError> {
    let by = correction::name(by)?;
    let mut connection = database.get().await?;
    let proposed = waiting(&mut connection, id).await?;
    drop(connection);
    correction::approves(&proposed.proposed_by, &by)?;
    let mut books = Books::open(database, TenantId(proposed.tenant_id)).await?;
    // Under the lock nobody else decides.
    let proposed = waiting(&mut books.transaction, id).await?;
    if proposed.currency != books.currency.code {
        return Err(StorageError::nonsense("a correction in another currency than the plan's").into());
    }
    books.book(id, Micros(proposed.micros), &by).await?;
    books.keep(id).await
}

const WITHDRAW: &str = "UPDATE corrections SET state = 'withdrawn', decided_by = $2, decided_at = now()
    WHERE id = $1 AND state = 'proposed'";

/// Withdraws a correction that was proposed and not booked.
///
/// # Errors
/// Why not.
pub async fn withdraw(database: &Database, id: Uuid, by: &str) -> Result<KeptCorrection, CorrectionError> {
    let by = correction::name(by)?;
    let mut connection = database.get().await?;
    let proposed = waiting(&mut connection, id).await?;
    drop(connection);
    let mut books = Books::open(database, TenantId(proposed.tenant_id)).await?;
    waiting(&mut books.transaction, id).await?;
    books.transaction.execute(WITHDRAW, &[&id, &by]).await?;
    books.keep(id).await
}

async fn waiting(connection: &mut Connection, id: Uuid) -> Result<KeptCorrection, CorrectionError> {
    let found = corrections::find(connection, id).await?;
    let found = found.ok_or(CorrectionError::Unknown(id))?;
    if found.state != "proposed" {
        return Err(CorrectionError::Decided(id, found.state));
    }
    Ok(found)
}

/// A tenant's ledger, locked, and the invoice that a correction of it goes on.
struct Books {
    transaction: Transaction,
    chain: Chain,
    period: i32,
    currency: Currency,
    now: Timestamp,
}

const OLDEST: &str = "SELECT p.number, l.currency FROM billing_periods p
    JOIN period_segments s ON (s.tenant_id, s.period) = (p.tenant_id, p.number) JOIN plans l ON l.id = s.plan_id
    WHERE p.tenant_id = $1 AND p.state <> 'invoiced' ORDER BY p.number, s.number LIMIT 1";
const ALONE: &str = "SELECT coalesce(sum(abs(micros::numeric)), 0)::bigint FROM corrections
    WHERE tenant_id = $1 AND period = $2 AND state = 'booked' AND NOT needs_second";
const BOOKED: &str =
    "UPDATE corrections SET state = 'booked', decided_by = $3, decided_at = now(), period = $4, seq = $5
    WHERE tenant_id = $1 AND id = $2";

impl Books {
    async fn open(database: &Database, tenant: TenantId) -> Result<Self, CorrectionError> {
        let mut transaction = database.begin().await?;
        let chain = chain::lock(&mut transaction, tenant).await?;
        let chain = chain.ok_or(CorrectionError::NoInvoice(tenant))?;
        let now = Timestamp::now();
        open_periods(&mut transaction, &[tenant.0], now).await?;
        let oldest = transaction.query_opt(OLDEST, &[&tenant.0]).await?;
        let oldest = oldest.ok_or(CorrectionError::NoInvoice(tenant))?;
        let (period, code) = read_oldest(&oldest)?;
        Ok(Self {
            transaction,
            chain,
            period,
            currency: Currency::from_code(&code).map_err(StorageError::nonsense)?,
            now,
        })
    }

    /// Gives what one person alone corrected on this invoice, in micros.
    async fn corrected_alone(&mut self) -> Result<u64, StorageError> {
        let row = self
            .transaction
            .query_one(ALONE, &[&self.chain.tenant.0, &self.period])
            .await?;
        Ok(row.try_get::<_, i64>(0)?.unsigned_abs())
    }

    async fn book(&mut self, id: Uuid, amount: Micros, by: &str) -> Result<(), StorageError> {
        let row = Plain {
            kind: LedgerKind::Adjust,
            period: self.period,
            debit: Account::Corrections,
            credit: Account::Receivable,
            money: Some((amount, &self.currency.code)),
            evidence: Some(id),
        };
        chain::append(&mut self.transaction, &mut self.chain, &row, self.now).await?;
        self.transaction
            .execute(
                BOOKED,
                &[&self.chain.tenant.0, &id, &by, &self.period, &self.chain.seq],
            )
            .await?;
        Ok(())
    }

    async fn keep(mut self, id: Uuid) -> Result<KeptCorrection, CorrectionError> {
        let kept = corrections::find(&mut self.transaction, id).await?;
        self.transaction.commit().await?;
        kept.ok_or(CorrectionError::Unknown(id))
    }
}

fn read_oldest(row: &tokio_postgres::Row) -> Result<(i32, String), StorageError> {
    Ok((row.try_get(0)?, row.try_get(1)?))
}
