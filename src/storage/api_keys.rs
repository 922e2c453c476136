//! API keys: only their prefix and SHA-256 are stored.

use domain::ids::{ApiKeyId, TenantId};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Connection, StorageError, Transaction};

/// A key as it is found when somebody shows it.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose.
    pub tenant: TenantId,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// Whether its tenant is active.
    pub is_active: bool,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Whether it was ended.
    pub is_revoked: bool,
}

/// A key as its tenant's operator sees it.
#[derive(Clone, Debug)]
pub struct ListedKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its name, for people.
    pub name: String,
    /// The part by which it is recognised.
    pub prefix: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was ended.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Finds a key by its prefix, before its tenant is known.
///
/// # Errors
/// What the database says.
pub async fn find(connection: &mut Connection, prefix: &str) -> Result<Option<StoredKey>, StorageError> {
    let row = connection
        .query_opt(
            "SELECT tenant_id, secret_sha256, scopes, expires_at, revoked_at, tenant_state, id FROM find_api_key($1)",
            &[&prefix],
        )
        .await?;
    row.map(|row| {
        let sha256: &[u8] = row.try_get(1)?;
        Ok(StoredKey {
            id: ApiKeyId(row.try_get(6)?),
            tenant: TenantId(row.try_get(0)?),
            sha256: sha256.try_into().map_err(StorageError::nonsense)?,
            scopes: row.try_get(2)?,
            expires_at: row.try_get(3)?,
            is_revoked: row.try_get::<_, Option<Timestamp>>(4)?.is_some(),
            is_active: row.try_get::<_, &str>(5)? == "active",
        })
    })
    .transpose()
}

/// A key to store.
#[derive(Clone, Debug)]
pub struct NewKey<'a> {
    /// Its id.
    pub id: ApiKeyId,
    /// Its name, for people.
    pub name: &'a str,
    /// The part by which it is looked up.
    pub prefix: &'a str,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// What it may be used for.
    pub scopes: &'a [String],
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// What became of a key to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    Stored,
    /// As many keys of its name are live as may be.
    TooMany,
    /// There is no such tenant.
    NoTenant,
}

/// Stores a key, unless `most` keys of its name are live already. Of several at once, one comes after the other.
///
/// # Errors
/// What the database says.
pub async fn insert(
    transaction: &mut Transaction,
    tenant: TenantId,
    key: &NewKey<'_>,
    most: i64,
) -> Result<Stored, StorageError> {
    let found = transaction
        .query_opt("SELECT FROM tenants WHERE id = $1 FOR UPDATE", &[&tenant.0])
        .await?;
    if found.is_none() {
        return Ok(Stored::NoTenant);
    }
    let inserted = transaction
        .execute(
            "INSERT INTO api_keys (id, tenant_id, name, prefix, secret_sha256, scopes, expires_at)
             SELECT $1, $2, $3, $4, $5, $6, $7 WHERE $8 > (SELECT count(*) FROM api_keys WHERE tenant_id = $2 AND name = $3
                AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))",
            &[
                &key.id.0,
                &tenant.0,
                &key.name,
                &key.prefix,
                &key.sha256.as_slice(),
                &key.scopes,
                &key.expires_at,
                &most,
            ],
        )
        .await?;
    Ok(if inserted == 1 {
        Stored::Stored
    } else {
        Stored::TooMany
    })
}

/// Notes that a key is in use, once a minute at most.
///
/// # Errors
/// What the database says.
pub async fn note_used(
    connection: &mut Connection,
    tenant: TenantId,
    key: ApiKeyId,
) -> Result<(), StorageError> {
    connection
        .execute(
            "UPDATE api_keys SET last_used_at = now() WHERE tenant_id = $1 AND id = $2
                AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
            &[&tenant.0, &key.0],
        )
        .await?;
    Ok(())
}

/// Lists a tenant's keys, the newest first.
///
/// # Errors
/// What the database says.
pub async fn list(connection: &mut Connection, tenant: TenantId) -> Result<Vec<ListedKey>, StorageError> {
    let rows = connection
        .query(
            "SELECT id, name, prefix, scopes, expires_at, revoked_at, created_at, last_used_at FROM api_keys WHERE tenant_id = $1
             ORDER BY id DESC",
            &[&tenant.0],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ListedKey {
                id: ApiKeyId(row.try_get(0)?),
                name: row.try_get(1)?,
                prefix: row.try_get(2)?,
                scopes: row.try_get(3)?,
                expires_at: row.try_get(4)?,
                revoked_at: row.try_get(5)?,
                created_at: row.try_get(6)?,
                last_used_at: row.try_get(7)?,
            })
        })
        .collect()
}

/// Ends a key. Tells whether there is one; ending it twice changes nothing.
///
/// # Errors
/// What the database says.
pub async fn revoke(connection: &mut Connection, tenant: TenantId, key: Uuid) -> Result<bool, StorageError> {
    let touched = connection
        .execute(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE tenant_id = $1 AND id = $2",
            &[&tenant.0, &key],
        )
        .await?;
    Ok(touched > 0)
}
