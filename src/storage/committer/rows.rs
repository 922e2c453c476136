//! The ledger rows and counters that a transaction adds, gathered and written in a few statements.

use std::collections::BTreeMap;

use domain::audit_chain::{ChainHash, LedgerRow, fingerprint, hash_row};
use domain::ids::AttemptId;
use domain::ledger::{CounterChange, Entry};
use jiff::Timestamp;
use uuid::Uuid;

use super::chain::Chain;
use super::period::Booking;
use crate::storage::{Connection, StorageError};

/// Rows to be written.
#[derive(Default)]
pub(super) struct NewRows {
    rows: Vec<(LedgerRow, ChainHash)>,
    changes: BTreeMap<Booking, CounterChange>,
}

const INSERT: &str = "INSERT INTO ledger (tenant_id, seq, kind, attempt_id, period, segment, pool, category, debit, credit,
        units, micros, currency, evidence_id, fingerprint, epoch, at, hash)
    SELECT w.tenant_id, w.seq, w.kind, w.attempt_id, w.period, w.segment, w.pool, w.category, w.debit, w.credit, 1, 0,
        w.currency, w.evidence_id, w.fingerprint, w.epoch, $15, w.hash
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::integer[], $6::integer[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::uuid[], $13::bytea[], $14::bigint[], $16::bytea[])
        AS w (tenant_id, seq, kind, attempt_id, period, segment, pool, category, debit, credit, currency, evidence_id,
            fingerprint, epoch, hash)";
const COUNT: &str = "UPDATE pool_counters c SET held = c.held + w.held, captured = c.captured + w.captured,
        free = c.free + w.free, voided = c.voided + w.voided, expired = c.expired + w.expired,
        forced = c.forced + w.forced
    FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])
        AS w (tenant_id, period, segment, pool, category, held, captured, free, voided, expired, forced)
    WHERE (c.tenant_id, c.period, c.segment, c.pool, c.category)
        = (w.tenant_id, w.period, w.segment, w.pool, w.category)";
const FIRST: &str = "INSERT INTO pool_counters (tenant_id, period, segment, pool, category)
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::text[]) ON CONFLICT DO NOTHING";

impl NewRows {
    /// Adds a row to a tenant's chain: units leave where they were reserved and enter where they are billed.
    pub(super) fn add(
        &mut self,
        chain: &mut Chain,
        (from, to): (&Booking, &Booking),
        attempt: AttemptId,
        entry: Entry,
        evidence: Option<Uuid>,
        at: Timestamp,
    ) {
        let row = LedgerRow {
            tenant: chain.tenant,
            seq: chain.seq + 1,
            kind: entry.kind,
            attempt: Some(attempt),
            period: to.period,
            segment: to.segment,
            pool: to.pool.clone(),
            category: to.category.clone(),
            debit: entry.debit,
            credit: entry.credit,
            units: 1,
            micros: 0,
            currency: to.currency.clone(),
            evidence,
            epoch: chain.epoch.0,
            at_us: at.as_microsecond(),
        };
        chain.hash = hash_row(&chain.hash, &row);
        chain.seq = row.seq;
        self.rows.push((row, chain.hash));
        let (leaves, enters) = entry.change.split();
        self.changes.entry(from.clone()).or_default().add(leaves);
        self.changes.entry(to.clone()).or_default().add(enters);
    }

    /// Writes rows and counters.
    pub(super) async fn write(self, connection: &mut Connection, at: Timestamp) -> Result<(), StorageError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.write_ledger(connection, at).await?;
        self.write_counters(connection).await
    }

    fn column<T>(&self, of: impl Fn(&LedgerRow) -> T) -> Vec<T> {
        self.rows.iter().map(|(row, _)| of(row)).collect()
    }

    async fn write_ledger(&self, connection: &mut Connection, at: Timestamp) -> Result<(), StorageError> {
        let prints: Vec<Vec<u8>> = self.column(|row| fingerprint(row).to_vec());
        let hashes: Vec<&[u8]> = self.rows.iter().map(|(_, hash)| hash.as_slice()).collect();
        connection
            .execute(
                INSERT,
                &[
                    &self.column(|row| row.tenant.0),
                    &self.column(|row| row.seq),
                    &self.column(|row| row.kind.as_str()),
                    &self.column(|row| row.attempt.map(|attempt| attempt.0)),
                    &self.column(|row| row.period),
                    &self.column(|row| row.segment),
                    &self
                        .rows
                        .iter()
                        .map(|(row, _)| row.pool.as_str())
                        .collect::<Vec<_>>(),
                    &self
                        .rows
                        .iter()
                        .map(|(row, _)| row.category.as_str())
                        .collect::<Vec<_>>(),
                    &self.column(|row| row.debit.as_str()),
                    &self.column(|row| row.credit.as_str()),
                    &self
                        .rows
                        .iter()
                        .map(|(row, _)| row.currency.as_str())
                        .collect::<Vec<_>>(),
                    &self.column(|row| row.evidence),
                    &prints,
                    &self.column(|row| row.epoch),
                    &at,
                    &hashes,
                ],
            )
            .await?;
        Ok(())
    }

    async fn write_counters(&self, connection: &mut Connection) -> Result<(), StorageError> {
        let tenants: Vec<Uuid> = self.changes.keys().map(|booking| booking.tenant.0).collect();
        let periods: Vec<i32> = self.changes.keys().map(|booking| booking.period).collect();
        let segments: Vec<i32> = self.changes.keys().map(|booking| booking.segment).collect();
        let pools: Vec<&str> = self.changes.keys().map(|booking| booking.pool.as_str()).collect();
        let categories: Vec<&str> = self
            .changes
            .keys()
            .map(|booking| booking.category.as_str())
            .collect();
        let change = |of: fn(&CounterChange) -> i64| self.changes.values().map(of).collect::<Vec<i64>>();
        connection
            .execute(FIRST, &[&tenants, &periods, &segments, &pools, &categories])
            .await?;
        connection
            .execute(
                COUNT,
                &[
                    &tenants,
                    &periods,
                    &segments,
                    &pools,
                    &categories,
                    &change(|change| change.held),
                    &change(|change| change.captured),
                    &change(|change| change.free),
                    &change(|change| change.voided),
                    &change(|change| change.expired),
                    &change(|change| change.forced),
                ],
            )
            .await?;
        Ok(())
    }
}
