//! Tenants' numbers, as the API changes and lists them.

use domain::ids::{SenderId, TenantId};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::sealing::{self, Sealed};
use super::token_rotation::token_of;
use super::{StorageError, Transaction};
use crate::config::Secret;

/// The columns of [`StoredSender`], by name: `*` would change under running programs with the table.
macro_rules! shown {
    () => {
        "id, phone_number_id, waba_id, display_phone_number, messages_per_second, portfolio_id, state, held_until, held_because,
         created_at,
         (SELECT messaging_limit FROM portfolios p WHERE p.id = portfolio_id) AS messaging_limit"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO senders (id, tenant_id, phone_number_id, waba_id, display_phone_number, messages_per_second, portfolio_id,
        token_sealed, token_key_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ",
    shown!()
);
const INSERT_BOTH: &str = concat!(
    "INSERT INTO senders (id, tenant_id, phone_number_id, waba_id, display_phone_number, messages_per_second, portfolio_id,
        token_sealed, token_key_id, access_token) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ",
    shown!()
);
const RENEW: &str =
    "UPDATE senders SET token_sealed = $3, token_key_id = $4, state = 'active', token_changed_at = now()
    WHERE tenant_id = $1 AND id = $2";
const RENEW_BOTH: &str =
    "UPDATE senders SET token_sealed = $3, token_key_id = $4, access_token = $5, state = 'active',
    token_changed_at = now() WHERE tenant_id = $1 AND id = $2";

/// A number, without its token.
#[derive(Clone, Debug)]
pub struct StoredSender {
    /// Its id.
    pub id: SenderId,
    /// Meta's id of it.
    pub phone_number_id: String,
    /// Meta's id of its account.
    pub waba_id: String,
    /// The number as people know it.
    pub display_phone_number: String,
    /// Its throughput.
    pub messages_per_second: i32,
    /// Its portfolio at Meta, if it is known.
    pub portfolio_id: Option<String>,
    /// How many people the portfolio may reach in 24 hours, if that is limited.
    pub messaging_limit: Option<i32>,
    /// `active`, `held` or `token_invalid`.
    pub state: String,
    /// While it is held: when it is tried again.
    pub held_until: Option<Timestamp>,
    /// While it is held: what Meta said.
    pub held_because: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A number to store.
#[derive(Clone, Debug)]
pub struct NewSender<'a> {
    /// Its id.
    pub id: SenderId,
    /// Meta's id of it.
    pub phone_number_id: &'a str,
    /// Meta's id of its account.
    pub waba_id: &'a str,
    /// The number as people know it.
    pub display_phone_number: &'a str,
    /// A token that may send from it.
    pub access_token: &'a str,
    /// Its throughput.
    pub messages_per_second: i32,
    /// Its portfolio at Meta.
    pub portfolio_id: Option<&'a str>,
}

/// What changes of a number; the rest stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct SenderChange<'a> {
    /// A renewed token.
    pub access_token: Option<&'a str>,
    /// A new throughput.
    pub messages_per_second: Option<i32>,
    /// The number as people know it.
    pub display_phone_number: Option<&'a str>,
    /// Its portfolio at Meta.
    pub portfolio_id: Option<&'a str>,
}

/// Until the contract of migration 0012, programs of the release before read and write the plain token: both shapes are written.
async fn has_plain_tokens(transaction: &mut Transaction) -> Result<bool, StorageError> {
    let row = transaction
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_attribute
             WHERE attrelid = 'app.senders'::regclass AND attname = 'access_token' AND NOT attisdropped)",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

fn seal(
    transaction: &Transaction,
    tenant: TenantId,
    sender: SenderId,
    token: &str,
) -> Result<Sealed, StorageError> {
    sealing::seal(&sealing::keys(transaction.secrets())?, tenant, sender, token)
}

/// Stores a new token; the number is active again.
async fn renew_token(
    transaction: &mut Transaction,
    tenant: TenantId,
    sender: SenderId,
    token: &str,
) -> Result<(), StorageError> {
    let sealed = seal(transaction, tenant, sender, token)?;
    let values: [&(dyn ToSql + Sync); 5] = [&tenant.0, &sender.0, &sealed.bytes, &sealed.key_id, &token];
    if has_plain_tokens(transaction).await? {
        transaction.execute(RENEW_BOTH, &values).await?;
    } else {
        transaction.execute(RENEW, &values[..4]).await?;
    }
    Ok(())
}

fn read(row: &Row) -> Result<StoredSender, StorageError> {
    Ok(StoredSender {
        id: SenderId(row.try_get("id")?),
        phone_number_id: row.try_get("phone_number_id")?,
        waba_id: row.try_get("waba_id")?,
        display_phone_number: row.try_get("display_phone_number")?,
        messages_per_second: row.try_get("messages_per_second")?,
        portfolio_id: row.try_get("portfolio_id")?,
        messaging_limit: row.try_get("messaging_limit")?,
        held_until: row.try_get("held_until")?,
        held_because: row.try_get("held_because")?,
        state: row.try_get("state")?,
        created_at: row.try_get("created_at")?,
    })
}

/// Stores a number.
///
/// # Errors
/// What the database says; `Duplicate` when somebody has it already.
pub async fn insert(
    transaction: &mut Transaction,
    tenant: TenantId,
    new: &NewSender<'_>,
) -> Result<StoredSender, StorageError> {
    let sealed = seal(transaction, tenant, new.id, new.access_token)?;
    let values: [&(dyn ToSql + Sync); 10] = [
        &new.id.0,
        &tenant.0,
        &new.phone_number_id,
        &new.waba_id,
        &new.display_phone_number,
        &new.messages_per_second,
        &new.portfolio_id,
        &sealed.bytes,
        &sealed.key_id,
        &new.access_token,
    ];
    let row = if has_plain_tokens(transaction).await? {
        transaction.query_one(INSERT_BOTH, &values).await?
    } else {
        transaction.query_one(INSERT, &values[..9]).await?
    };
    read(&row)
}

/// Makes a portfolio known, and sets how many people it may reach in 24 hours if that is given; 0 for no limit. Tells whether it is the
/// tenant's.
///
/// # Errors
/// What the database says.
pub async fn keep_portfolio(
    transaction: &mut Transaction,
    tenant: TenantId,
    portfolio: &str,
    messaging_limit: Option<i32>,
) -> Result<bool, StorageError> {
    transaction
        .execute(
            "INSERT INTO portfolios (id, tenant_id) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
            &[&portfolio, &tenant.0],
        )
        .await?;
    let touched = transaction
        .execute(
            "UPDATE portfolios SET updated_at = now(),
                messaging_limit = CASE WHEN $3::integer = 0 THEN NULL ELSE coalesce($3, messaging_limit) END
             WHERE id = $1 AND tenant_id = $2",
            &[&portfolio, &tenant.0, &messaging_limit],
        )
        .await?;
    Ok(touched > 0)
}

/// Finds the portfolio of a number.
///
/// # Errors
/// What the database says.
pub async fn portfolio_of(
    transaction: &mut Transaction,
    tenant: TenantId,
    sender: SenderId,
) -> Result<Option<String>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT portfolio_id FROM senders WHERE tenant_id = $1 AND id = $2",
            &[&tenant.0, &sender.0],
        )
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
}

/// Lists numbers, newest first, those older than `before`.
///
/// # Errors
/// What the database says.
pub async fn list(
    transaction: &mut Transaction,
    tenant: TenantId,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<StoredSender>, StorageError> {
    let before = before.unwrap_or(Uuid::max());
    let rows = transaction
        .query(
            concat!(
                "SELECT ",
                shown!(),
                " FROM senders WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
            ),
            &[&tenant.0, &before, &most],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Changes a number; a renewed token also makes it active again.
///
/// # Errors
/// What the database says.
pub async fn change(
    transaction: &mut Transaction,
    tenant: TenantId,
    sender: SenderId,
    change: &SenderChange<'_>,
) -> Result<Option<StoredSender>, StorageError> {
    if let Some(token) = change.access_token {
        renew_token(transaction, tenant, sender, token).await?;
    }
    let row = transaction
        .query_opt(
            concat!(
                "UPDATE senders SET messages_per_second = coalesce($3, messages_per_second),
                    display_phone_number = coalesce($4, display_phone_number),
                    portfolio_id = coalesce($5, portfolio_id), updated_at = now()
                 WHERE tenant_id = $1 AND id = $2 RETURNING ",
                shown!()
            ),
            &[
                &tenant.0,
                &sender.0,
                &change.messages_per_second,
                &change.display_phone_number,
                &change.portfolio_id,
            ],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Finds an account of the tenant and a token that may read it: the newest number's.
///
/// # Errors
/// What the database says.
pub async fn account(
    transaction: &mut Transaction,
    tenant: TenantId,
    waba_id: Option<&str>,
) -> Result<Option<(String, Secret)>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT id, tenant_id, waba_id, token_sealed, token_key_id, to_jsonb(s) ->> 'access_token' AS plain FROM senders s
             WHERE tenant_id = $1 AND ($2::text IS NULL OR waba_id = $2) ORDER BY id DESC LIMIT 1",
            &[&tenant.0, &waba_id],
        )
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let keys = sealing::keys(transaction.secrets())?;
    Ok(Some((row.try_get("waba_id")?, token_of(&row, &keys)?)))
}
