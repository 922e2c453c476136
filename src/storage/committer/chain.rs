//! Where tenants' ledgers stand, and the fence around them: who holds the row of a head decides. A later owner waits there and an
//! earlier one finds its epoch gone; who adds rows without being the owner (closing a period, letting go of old holds) leaves it a
//! sequence that moved, and it goes on from there (decision 0025).

use std::collections::HashMap;

use domain::audit_chain::{ChainHash, LedgerRow, fingerprint, hash_row};
use domain::ids::TenantId;
use domain::ledger::{Account, LedgerKind};
use domain::money::Micros;
use domain::partition::Epoch;
use jiff::Timestamp;
use uuid::Uuid;

use crate::storage::{Connection, StorageError, Transaction};

/// A tenant's ledger within the transaction: where its chain stands.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) tenant: TenantId,
    pub(super) epoch: Epoch,
    pub(super) seq: i64,
    pub(super) hash: ChainHash,
}

const LOCK: &str = "SELECT tenant_id, epoch, seq, head_hash FROM billing_head WHERE tenant_id = ANY($1)
    ORDER BY tenant_id FOR UPDATE";
const MOVE: &str = "UPDATE billing_head h SET seq = w.seq, head_hash = w.hash
    FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS w (tenant_id, seq, hash)
    WHERE h.tenant_id = w.tenant_id";

/// Takes the locks of tenants' heads until the transaction ends; tenants without a ledger are left out.
pub(super) async fn lock_all(
    transaction: &mut Transaction,
    tenants: &[Uuid],
) -> Result<HashMap<TenantId, Chain>, StorageError> {
    let rows = transaction.query(LOCK, &[&tenants]).await?;
    rows.iter()
        .map(|row| {
            let (tenant, hash): (_, &[u8]) = (TenantId(row.try_get(0)?), row.try_get(3)?);
            let chain = Chain {
                tenant,
                epoch: Epoch(row.try_get(1)?),
                seq: row.try_get(2)?,
                hash: hash.try_into().map_err(StorageError::nonsense)?,
            };
            Ok((tenant, chain))
        })
        .collect()
}

/// Takes the lock of one tenant's head; nothing where there is no ledger.
pub(super) async fn lock(
    transaction: &mut Transaction,
    tenant: TenantId,
) -> Result<Option<Chain>, StorageError> {
    Ok(lock_all(transaction, &[tenant.0]).await?.remove(&tenant))
}

/// Moves heads to where their chains stand now.
pub(super) async fn store(connection: &mut Connection, moved: &[&Chain]) -> Result<(), StorageError> {
    if moved.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = moved.iter().map(|chain| chain.tenant.0).collect();
    let seqs: Vec<i64> = moved.iter().map(|chain| chain.seq).collect();
    let hashes: Vec<&[u8]> = moved.iter().map(|chain| chain.hash.as_slice()).collect();
    connection.execute(MOVE, &[&tenants, &seqs, &hashes]).await?;
    Ok(())
}

/// A row of a tenant's ledger that is about no message and moves no unit.
pub(super) struct Plain<'a> {
    pub(super) kind: LedgerKind,
    pub(super) period: i32,
    pub(super) debit: Account,
    pub(super) credit: Account,
    /// An amount and its currency.
    pub(super) money: Option<(Micros, &'a str)>,
    pub(super) evidence: Option<Uuid>,
}

const APPEND: &str = "INSERT INTO ledger (tenant_id, seq, kind, period, segment, pool, category, debit, credit, units, micros, currency,
        evidence_id, fingerprint, epoch, at, hash)
    VALUES ($1, $2, $3, $4, 1, '', '', $5, $6, 0, $7, $8, $9, $10, $11, $12, $13)";

/// Adds a row to a chain and moves its head.
pub(super) async fn append(
    connection: &mut Connection,
    chain: &mut Chain,
    plain: &Plain<'_>,
    now: Timestamp,
) -> Result<(), StorageError> {
    let at = Timestamp::from_microsecond(now.as_microsecond()).map_err(StorageError::nonsense)?;
    let (amount, currency) = plain.money.unwrap_or_default();
    let row = LedgerRow {
        tenant: chain.tenant,
        seq: chain.seq + 1,
        kind: plain.kind,
        attempt: None,
        period: plain.period,
        segment: 1,
        pool: String::new(),
        category: String::new(),
        debit: plain.debit,
        credit: plain.credit,
        units: 0,
        micros: amount.0,
        currency: currency.to_owned(),
        evidence: plain.evidence,
        epoch: chain.epoch.0,
        at_us: at.as_microsecond(),
    };
    (chain.hash, chain.seq) = (hash_row(&chain.hash, &row), row.seq);
    let print = fingerprint(&row);
    connection
        .execute(
            APPEND,
            &[
                &row.tenant.0,
                &row.seq,
                &row.kind.as_str(),
                &row.period,
                &row.debit.as_str(),
                &row.credit.as_str(),
                &row.micros,
                &row.currency,
                &row.evidence,
                &print.as_slice(),
                &row.epoch,
                &at,
                &chain.hash.as_slice(),
            ],
        )
        .await?;
    store(connection, &[chain]).await
}
