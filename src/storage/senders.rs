//! Tenants' numbers, as the API changes and lists them.

use domain::ids::{SenderId, TenantId};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{StorageError, Transaction};

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
    let row = transaction
        .query_one(
            "INSERT INTO senders (id, tenant_id, phone_number_id, waba_id, display_phone_number, access_token,
                messages_per_second, portfolio_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             RETURNING *, (SELECT messaging_limit FROM portfolios p WHERE p.id = portfolio_id) AS messaging_limit",
            &[
                &new.id.0,
                &tenant.0,
                &new.phone_number_id,
                &new.waba_id,
                &new.display_phone_number,
                &new.access_token,
                &new.messages_per_second,
                &new.portfolio_id,
            ],
        )
        .await?;
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
            "SELECT *, (SELECT messaging_limit FROM portfolios p WHERE p.id = portfolio_id) AS messaging_limit
             FROM senders WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
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
    let row = transaction
        .query_opt(
            "UPDATE senders SET access_token = coalesce($3, access_token),
                messages_per_second = coalesce($4, messages_per_second),
                display_phone_number = coalesce($5, display_phone_number), portfolio_id = coalesce($6, portfolio_id),
                state = CASE WHEN $3 IS NULL THEN state ELSE 'active' END,
                token_changed_at = CASE WHEN $3 IS NULL THEN token_changed_at ELSE now() END, updated_at = now()
             WHERE tenant_id = $1 AND id = $2
             RETURNING *, (SELECT messaging_limit FROM portfolios p WHERE p.id = portfolio_id) AS messaging_limit",
            &[
                &tenant.0,
                &sender.0,
                &change.access_token,
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
) -> Result<Option<(String, String)>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT waba_id, access_token FROM senders WHERE tenant_id = $1 AND ($2::text IS NULL OR waba_id = $2)
             ORDER BY id DESC LIMIT 1",
            &[&tenant.0, &waba_id],
        )
        .await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}
