//! What Meta's webhooks say about templates, numbers, accounts and people: stored first, applied from the rows, once, in Meta's own
//! order. A process that dies between the two leaves the event to the next planner.

use domain::campaign::PauseReason;
use domain::ids::TenantId;
use domain::meta_news::Effect;
use domain::number_hold::REST_AFTER_NEWS;
use jiff::Timestamp;
use uuid::Uuid;

use super::campaign_events::Actor;
use super::number_holds::{self, after};
use super::{Database, StorageError, Transaction, standings};

/// Why a recipient is on the suppression list whom Meta put there. Only such an entry is taken off again by Meta.
pub(in crate::storage) const STOPPED_MARKETING: &str = "meta: recipient stopped marketing messages";

/// An event that nobody applied yet.
#[derive(Clone, Debug)]
pub struct Unapplied {
    /// Its id here.
    pub id: Uuid,
    /// Whose account it is about.
    pub tenant: TenantId,
    /// The field that changed.
    pub kind: String,
    /// Meta's id of the account.
    pub waba_id: String,
    /// When it happened by Meta's clock, or else when it came.
    pub happened_at: Timestamp,
    /// The change as it came.
    pub raw: String,
}

/// A template at Meta.
#[derive(Clone, Copy, Debug)]
pub struct TemplateKey<'a> {
    /// Its account.
    pub waba_id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its language.
    pub language: &'a str,
}

impl TemplateKey<'_> {
    fn subject(&self) -> String {
        format!("{} {} {}", self.waba_id, self.name, self.language)
    }
}

/// News with the time of Meta's that orders it, and its words for the history.
#[derive(Clone, Copy, Debug)]
pub struct News<'a> {
    /// What it does.
    pub effect: Effect,
    /// When Meta said so.
    pub at: Timestamp,
    /// What Meta said.
    pub words: &'a str,
}

/// Begins to apply events, the oldest first: they are this transaction's until it ends.
///
/// # Errors
/// What the database says.
pub async fn take(database: &Database, most: i64) -> Result<(Transaction, Vec<Unapplied>), StorageError> {
    let mut transaction = database.begin().await?;
    let rows = transaction
        .query(
            "SELECT id, tenant_id, kind, waba_id, coalesce(happened_at, received_at) AS happened_at, raw::text FROM other_events
             WHERE tenant_id IS NOT NULL AND applied_at IS NULL AND quarantined_because IS NULL AND kind IN
                 ('message_template_status_update', 'phone_number_quality_update', 'account_update', 'user_preferences')
             ORDER BY received_at LIMIT $1 FOR UPDATE SKIP LOCKED",
            &[&most],
        )
        .await?;
    let events = rows
        .iter()
        .map(|row| {
            Ok(Unapplied {
                id: row.try_get("id")?,
                tenant: TenantId(row.try_get("tenant_id")?),
                kind: row.try_get("kind")?,
                waba_id: row.try_get::<_, Option<String>>("waba_id")?.unwrap_or_default(),
                happened_at: row.try_get("happened_at")?,
                raw: row.try_get("raw")?,
            })
        })
        .collect::<Result<_, StorageError>>()?;
    Ok((transaction, events))
}

/// Notes that an event is applied, and what it did.
///
/// # Errors
/// What the database says.
pub async fn applied(transaction: &mut Transaction, event: Uuid, outcome: &str) -> Result<(), StorageError> {
    transaction
        .execute(
            "UPDATE other_events SET applied_at = now(), outcome = $2 WHERE id = $1",
            &[&event, &outcome],
        )
        .await?;
    Ok(())
}

/// Notes the last word about a subject, and tells whether it is: what is known already may be newer.
async fn is_news(
    transaction: &mut Transaction,
    tenant: TenantId,
    kind: &str,
    subject: &str,
    state: &str,
    at: Timestamp,
) -> Result<bool, StorageError> {
    let noted = transaction
        .execute(
            "INSERT INTO meta_states AS known (tenant_id, kind, subject, state, heard_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant_id, kind, subject) DO UPDATE SET state = excluded.state, heard_at = excluded.heard_at
                 WHERE known.heard_at <= excluded.heard_at",
            &[&tenant.0, &kind, &subject, &state, &at],
        )
        .await?;
    Ok(noted == 1)
}

/// Applies news of a template: its status, and the campaigns that send it. Answers with how many campaigns moved.
///
/// # Errors
/// What the database says.
pub async fn template(
    transaction: &mut Transaction,
    tenant: TenantId,
    key: TemplateKey<'_>,
    status: &str,
    news: News<'_>,
) -> Result<u64, StorageError> {
    if news.effect == Effect::Nothing {
        return Ok(0);
    }
    let state = news.effect.as_str();
    if !is_news(transaction, tenant, "template", &key.subject(), state, news.at).await? {
        return Ok(0);
    }
    transaction
        .execute(
            "UPDATE templates SET status = $5, synced_at = now()
             WHERE tenant_id = $1 AND waba_id = $2 AND name = $3 AND language = $4 AND status <> $5",
            &[&tenant.0, &key.waba_id, &key.name, &key.language, &status],
        )
        .await?;
    let moves = if news.effect == Effect::Sendable {
        "paused"
    } else {
        "running"
    };
    let rows = transaction
        .query(
            "SELECT c.id FROM campaigns c JOIN senders s ON s.id = c.sender_id
             WHERE c.tenant_id = $1 AND c.state = $5 AND s.waba_id = $2 AND c.template ->> 'name' = $3
                 AND coalesce(c.template #>> '{language,code}', c.template ->> 'language') = $4
             ORDER BY c.id FOR UPDATE OF c",
            &[&tenant.0, &key.waba_id, &key.name, &key.language, &moves],
        )
        .await?;
    let campaigns: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let reason = PauseReason::TemplatePaused;
    match news.effect {
        Effect::Sendable => standings::resume(transaction, &campaigns, reason, Actor::Meta, news.words).await,
        _ => standings::pause(transaction, &campaigns, reason, Actor::Meta, news.words).await,
    }
}

/// Applies news of one number of an account, named as people know it, or of all of them. Without a time of its own a hold ends after a
/// day. Answers with how many numbers it was about.
///
/// # Errors
/// What the database says.
pub async fn numbers(
    transaction: &mut Transaction,
    tenant: TenantId,
    waba_id: &str,
    digits: Option<&str>,
    held_until: Option<Timestamp>,
    news: News<'_>,
) -> Result<usize, StorageError> {
    if news.effect == Effect::Nothing {
        return Ok(0);
    }
    let rows = transaction
        .query(
            "SELECT id FROM senders WHERE tenant_id = $1 AND waba_id = $2
                 AND ($3::text IS NULL OR regexp_replace(display_phone_number, '[^0-9]', '', 'g') = $3)
             ORDER BY id FOR UPDATE",
            &[&tenant.0, &waba_id, &digits],
        )
        .await?;
    let kind = if digits.is_some() { "number" } else { "account" };
    let state = news.effect.as_str();
    let mut applied = 0;
    for row in &rows {
        let sender: Uuid = row.try_get(0)?;
        if !is_news(transaction, tenant, kind, &sender.to_string(), state, news.at).await? {
            continue;
        }
        applied += 1;
        if news.effect == Effect::Sendable {
            number_holds::release(transaction, sender, news.words).await?;
        } else {
            let until = held_until.unwrap_or_else(|| after(REST_AFTER_NEWS));
            number_holds::hold(transaction, sender, until, news.words).await?;
        }
    }
    Ok(applied)
}

/// Applies what a person prefers: whoever stopped marketing messages is suppressed, whoever resumed them is not any more, unless
/// somebody else put them on the list. Answers whether it was news.
///
/// # Errors
/// What the database says.
pub async fn preference(
    transaction: &mut Transaction,
    tenant: TenantId,
    recipient: &str,
    stopped: bool,
    at: Timestamp,
) -> Result<bool, StorageError> {
    let state = if stopped { "stop" } else { "resume" };
    if !is_news(transaction, tenant, "preference", recipient, state, at).await? {
        return Ok(false);
    }
    let statement = if stopped {
        "INSERT INTO suppressions (tenant_id, recipient, reason) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM suppressions WHERE tenant_id = $1 AND recipient = $2 AND reason = $3"
    };
    transaction
        .execute(statement, &[&tenant.0, &recipient, &STOPPED_MARKETING])
        .await?;
    Ok(true)
}

/// Applies what a synchronisation found of a template now.
///
/// # Errors
/// What the database says.
pub async fn template_found(
    transaction: &mut Transaction,
    tenant: TenantId,
    key: TemplateKey<'_>,
    status: &str,
) -> Result<u64, StorageError> {
    let words = format!("a synchronisation found the template {status}");
    let news = News {
        effect: domain::meta_news::of_template(status),
        at: Timestamp::now(),
        words: &words,
    };
    template(transaction, tenant, key, status, news).await
}
