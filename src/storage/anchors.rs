//! Anchors: the heads of all ledgers at a moment, kept in the database and copied outside of it. A chain proves that no row was
//! changed; an anchor proves that it was not cut, or written anew as a whole.

use std::collections::BTreeMap;

use domain::audit_chain::{ChainHash, anchor_root};
use domain::ids::TenantId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Connection, Database, StorageError};

/// An anchor as it is exported: one line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Its number, from 1.
    pub number: i64,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// SHA-256 over the anchor before and all heads, hexadecimal.
    pub root: String,
    /// The head of each ledger that has rows.
    pub heads: Vec<AnchoredHead>,
}

/// How far a ledger had come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchoredHead {
    /// Whose.
    pub tenant: Uuid,
    /// Its last row.
    pub seq: i64,
    /// The chain's hash at that row, hexadecimal.
    pub hash: String,
}

/// Rows that anchors cover, by tenant: the number of the anchor, the row, its hash.
pub type Anchored = BTreeMap<TenantId, Vec<(i64, i64, Vec<u8>)>>;

/// Writes bytes as text.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(pair).collect()
}

/// Takes an anchor of all ledgers. Two at once get two numbers.
///
/// # Errors
/// What the database says.
pub async fn take(database: &Database) -> Result<Anchor, StorageError> {
    let mut transaction = database.begin().await?;
    transaction
        .execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('audit_anchors', 0))",
            &[],
        )
        .await?;
    let before = transaction
        .query_opt(
            "SELECT number, root FROM audit_anchors ORDER BY number DESC LIMIT 1",
            &[],
        )
        .await?;
    let (number, previous) = match before {
        Some(row) => (row.try_get::<_, i64>(0)? + 1, row.try_get::<_, Vec<u8>>(1)?),
        None => (1, Vec::new()),
    };
    let rows = transaction
        .query(
            "SELECT tenant_id, seq, head_hash FROM billing_head WHERE seq > 0 ORDER BY tenant_id",
            &[],
        )
        .await?;
    let mut heads: Vec<(TenantId, i64, ChainHash)> = Vec::with_capacity(rows.len());
    for row in &rows {
        let hash: &[u8] = row.try_get(2)?;
        heads.push((
            TenantId(row.try_get(0)?),
            row.try_get(1)?,
            hash.try_into().map_err(StorageError::nonsense)?,
        ));
    }
    let root = anchor_root(&previous, &heads);
    let taken_at =
        Timestamp::from_microsecond(Timestamp::now().as_microsecond()).map_err(StorageError::nonsense)?;
    write(&mut transaction, (number, taken_at, &root), &heads).await?;
    transaction.commit().await?;
    Ok(Anchor {
        number,
        taken_at,
        root: hexadecimal(&root),
        heads: heads
            .iter()
            .map(|(tenant, seq, hash)| AnchoredHead {
                tenant: tenant.0,
                seq: *seq,
                hash: hexadecimal(hash),
            })
            .collect(),
    })
}

async fn write(
    connection: &mut Connection,
    (number, taken_at, root): (i64, Timestamp, &ChainHash),
    heads: &[(TenantId, i64, ChainHash)],
) -> Result<(), StorageError> {
    connection
        .execute(
            "INSERT INTO audit_anchors (number, taken_at, root) VALUES ($1, $2, $3)",
            &[&number, &taken_at, &root.as_slice()],
        )
        .await?;
    let tenants: Vec<Uuid> = heads.iter().map(|(tenant, ..)| tenant.0).collect();
    let seqs: Vec<i64> = heads.iter().map(|(_, seq, _)| *seq).collect();
    let hashes: Vec<&[u8]> = heads.iter().map(|(.., hash)| hash.as_slice()).collect();
    connection
        .execute(
            "INSERT INTO audit_anchor_heads (tenant_id, number, seq, hash)
             SELECT w.tenant_id, $4, w.seq, w.hash FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS w (tenant_id, seq, hash)",
            &[&tenants, &seqs, &hashes, &number],
        )
        .await?;
    Ok(())
}

/// Reads the rows that the stored anchors cover.
///
/// # Errors
/// What the database says.
pub async fn stored(connection: &mut Connection, only: Option<TenantId>) -> Result<Anchored, StorageError> {
    let rows = connection
        .query(
            "SELECT tenant_id, number, seq, hash FROM audit_anchor_heads WHERE $1::uuid IS NULL OR tenant_id = $1
             ORDER BY tenant_id, seq",
            &[&only.map(|tenant| tenant.0)],
        )
        .await?;
    let mut anchored = Anchored::new();
    for row in rows {
        let covered = anchored.entry(TenantId(row.try_get(0)?)).or_default();
        covered.push((row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
    }
    Ok(anchored)
}

/// Reads the rows that exported anchors cover: the copies that nobody who owns the database can change.
///
/// # Errors
/// When a line is no anchor.
pub fn exported(lines: &str) -> Result<Anchored, String> {
    let mut anchored = Anchored::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let anchor: Anchor = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        for head in anchor.heads {
            let hash = bytes_of(&head.hash).ok_or_else(|| format!("no hash: {}", head.hash))?;
            let covered = anchored.entry(TenantId(head.tenant)).or_default();
            covered.push((anchor.number, head.seq, hash));
        }
    }
    Ok(anchored)
}
