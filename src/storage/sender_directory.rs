//! Numbers by id and by Meta's id, remembered for a moment: every call and every webhook needs one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::ids::{SenderId, TenantId};
use tokio_postgres::Row;

use super::token_rotation::token_of;
use super::{Database, StorageError, sealing};
use crate::config::Secret;

/// How long a number is remembered: a renewed token takes effect within this time.
const REMEMBERED_FOR: Duration = Duration::from_secs(5);
/// Numbers remembered at most; beyond it all are read again.
const REMEMBERED_MOST: usize = 50_000;

/// A number of a tenant at Meta.
#[derive(Debug)]
pub struct Sender {
    /// Our id.
    pub id: SenderId,
    /// Whose.
    pub tenant: TenantId,
    /// Meta's id.
    pub phone_number_id: String,
    /// Its account at Meta.
    pub waba_id: String,
    /// With which Meta lets us send.
    pub access_token: Secret,
    /// Its throughput.
    pub messages_per_second: u32,
    /// The app at Meta through which it sends.
    pub meta_app: String,
}

type Cache<K, V = Option<Arc<Sender>>> = Mutex<HashMap<K, (Instant, V)>>;

/// Looks numbers up. Clones share what is remembered.
#[derive(Clone)]
pub struct SenderDirectory {
    database: Database,
    by_id: Arc<Cache<SenderId>>,
    by_number: Arc<Cache<String>>,
    by_account: Arc<Cache<String, Arc<[TenantId]>>>,
}

impl SenderDirectory {
    /// Makes a directory over a database that sees all tenants.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            by_id: Arc::default(),
            by_number: Arc::default(),
            by_account: Arc::default(),
        }
    }

    /// Finds a number by our id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn by_id(&self, id: SenderId) -> Result<Option<Arc<Sender>>, StorageError> {
        if let Some(known) = recall(&self.by_id, &id) {
            return Ok(known);
        }
        let mut connection = self.database.get().await?;
        let row = connection
            .query_opt(
                "SELECT id, tenant_id, phone_number_id, waba_id, token_sealed, token_key_id,
                    to_jsonb(s) ->> 'access_token' AS plain, messages_per_second, meta_app FROM senders s WHERE id = $1",
                &[&id.0],
            )
            .await?;
        let found = row.map(|row| read(&row, &self.database)).transpose()?;
        Ok(remember(&self.by_id, id, found))
    }

    /// Finds a number by Meta's id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn by_phone_number_id(&self, number: &str) -> Result<Option<Arc<Sender>>, StorageError> {
        let number = number.to_owned();
        if let Some(known) = recall(&self.by_number, &number) {
            return Ok(known);
        }
        let mut connection = self.database.get().await?;
        let row = connection
            .query_opt(
                "SELECT id, tenant_id, phone_number_id, waba_id, token_sealed, token_key_id,
                    to_jsonb(s) ->> 'access_token' AS plain, messages_per_second, meta_app FROM senders s
                 WHERE phone_number_id = $1",
                &[&number],
            )
            .await?;
        let found = row.map(|row| read(&row, &self.database)).transpose()?;
        Ok(remember(&self.by_number, number, found))
    }

    /// Finds the tenants that have numbers of an account.
    ///
    /// # Errors
    /// What the database says.
    pub async fn tenants_of_account(&self, waba_id: &str) -> Result<Arc<[TenantId]>, StorageError> {
        let account = waba_id.to_owned();
        if let Some(known) = recall(&self.by_account, &account) {
            return Ok(known);
        }
        let mut connection = self.database.get().await?;
        let rows = connection
            .query(
                "SELECT DISTINCT tenant_id FROM senders WHERE waba_id = $1 LIMIT 2",
                &[&account],
            )
            .await?;
        let found = rows.iter().map(|row| TenantId(row.get(0))).collect();
        Ok(remember(&self.by_account, account, found))
    }
}

fn read(row: &Row, database: &Database) -> Result<Arc<Sender>, StorageError> {
    let keys = sealing::keys(database.secrets())?;
    let rate: i32 = row.try_get("messages_per_second")?;
    Ok(Arc::new(Sender {
        id: SenderId(row.try_get("id")?),
        tenant: TenantId(row.try_get("tenant_id")?),
        phone_number_id: row.try_get("phone_number_id")?,
        waba_id: row.try_get("waba_id")?,
        access_token: token_of(row, &keys)?,
        messages_per_second: u32::try_from(rate).map_err(StorageError::nonsense)?,
        meta_app: row.try_get("meta_app")?,
    }))
}

fn recall<K: Hash + Eq, V: Clone>(cache: &Cache<K, V>, key: &K) -> Option<V> {
    let cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    let (read_at, found) = cache.get(key)?;
    (read_at.elapsed() < REMEMBERED_FOR).then(|| found.clone())
}

fn remember<K: Hash + Eq, V: Clone>(cache: &Cache<K, V>, key: K, found: V) -> V {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= REMEMBERED_MOST {
        cache.clear();
    }
    cache.insert(key, (Instant::now(), found.clone()));
    found
}
