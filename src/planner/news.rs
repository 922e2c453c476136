//! Applying what Meta's webhooks say about templates, numbers, accounts and people.

use domain::meta_news::{Effect, of_account, of_number, of_template};
use domain::recipient::Recipient;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::storage::meta_news::{self, News, TemplateKey, Unapplied};
use crate::storage::{Database, StorageError, Transaction};

/// Events of one transaction.
const TAKEN_MOST: i64 = 100;

/// Applies stored events, in the order in which they came. Tells how many.
pub(super) async fn apply(database: &Database) -> Result<usize, StorageError> {
    let (mut transaction, events) = meta_news::take(database, TAKEN_MOST).await?;
    for event in &events {
        let outcome = apply_one(&mut transaction, event).await?;
        tracing::info!(event.id = %event.id, kind = event.kind, outcome, "applied news of Meta");
        meta_news::applied(&mut transaction, event.id, &outcome).await?;
    }
    transaction.commit().await?;
    Ok(events.len())
}

async fn apply_one(transaction: &mut Transaction, event: &Unapplied) -> Result<String, StorageError> {
    let applied = match event.kind.as_str() {
        "message_template_status_update" => match serde_json::from_str(&event.raw) {
            Ok(update) => template(transaction, event, update).await?,
            Err(error) => not_understood(&error),
        },
        "phone_number_quality_update" => match serde_json::from_str(&event.raw) {
            Ok(update) => number(transaction, event, update).await?,
            Err(error) => not_understood(&error),
        },
        "account_update" => match serde_json::from_str(&event.raw) {
            Ok(update) => account(transaction, event, update).await?,
            Err(error) => not_understood(&error),
        },
        _ => preferences(transaction, event).await?,
    };
    Ok(applied)
}

fn not_understood(error: &serde_json::Error) -> String {
    format!("not understood: {error}")
}

#[derive(Deserialize)]
struct TemplateUpdate {
    event: String,
    message_template_name: String,
    message_template_language: String,
    #[serde(default)]
    reason: Option<String>,
}

async fn template(
    transaction: &mut Transaction,
    event: &Unapplied,
    update: TemplateUpdate,
) -> Result<String, StorageError> {
    let reason = update
        .reason
        .filter(|reason| !reason.is_empty() && reason != "NONE");
    let words = match reason {
        Some(reason) => format!("Meta: template {} ({reason})", update.event),
        None => format!("Meta: template {}", update.event),
    };
    let news = News {
        effect: of_template(&update.event),
        at: event.happened_at,
        words: &words,
    };
    let key = TemplateKey {
        waba_id: &event.waba_id,
        name: &update.message_template_name,
        language: &update.message_template_language,
    };
    // The status as a synchronisation would spell it.
    let status = match news.effect {
        Effect::Sendable => "APPROVED",
        _ => &update.event,
    };
    let moved = meta_news::template(transaction, event.tenant, key, status, news).await?;
    Ok(format!("{}: {moved} campaigns", news.effect.as_str()))
}

#[derive(Deserialize)]
struct NumberUpdate {
    event: String,
    display_phone_number: String,
    #[serde(default)]
    current_limit: Option<String>,
}

async fn number(
    transaction: &mut Transaction,
    event: &Unapplied,
    update: NumberUpdate,
) -> Result<String, StorageError> {
    let words = match update.current_limit {
        Some(limit) => format!("Meta: number {} (limit {limit})", update.event),
        None => format!("Meta: number {}", update.event),
    };
    let news = News {
        effect: of_number(&update.event),
        at: event.happened_at,
        words: &words,
    };
    let digits: String = update
        .display_phone_number
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    let applied = meta_news::numbers(
        transaction,
        event.tenant,
        &event.waba_id,
        Some(&digits),
        None,
        news,
    )
    .await?;
    Ok(format!("{}: {applied} numbers", news.effect.as_str()))
}

#[derive(Deserialize)]
struct AccountUpdate {
    event: String,
    #[serde(default)]
    ban_info: Option<BanInfo>,
    #[serde(default)]
    restriction_info: Vec<Restriction>,
}

#[derive(Deserialize)]
struct BanInfo {
    #[serde(default)]
    waba_ban_state: Option<Value>,
}

#[derive(Deserialize)]
struct Restriction {
    restriction_type: String,
    #[serde(default)]
    expiration: Option<i64>,
}

async fn account(
    transaction: &mut Transaction,
    event: &Unapplied,
    update: AccountUpdate,
) -> Result<String, StorageError> {
    // A name, or a list with one name: Meta's pages show both.
    let ban = update.ban_info.and_then(|info| info.waba_ban_state);
    let ban = ban
        .as_ref()
        .and_then(|ban| ban.as_str().or_else(|| ban.get(0).and_then(Value::as_str)));
    let restrictions: Vec<&str> = update
        .restriction_info
        .iter()
        .map(|restriction| restriction.restriction_type.as_str())
        .collect();
    let words = format!(
        "Meta: account {} {}{}",
        update.event,
        ban.unwrap_or_default(),
        restrictions.join(", ")
    );
    let news = News {
        effect: of_account(&update.event, ban, &restrictions),
        at: event.happened_at,
        words: words.trim_end(),
    };
    let expirations = update
        .restriction_info
        .iter()
        .filter_map(|restriction| restriction.expiration);
    let until = expirations
        .max()
        .and_then(|second| Timestamp::from_second(second).ok());
    let applied = meta_news::numbers(transaction, event.tenant, &event.waba_id, None, until, news).await?;
    Ok(format!("{}: {applied} numbers", news.effect.as_str()))
}

#[derive(Deserialize)]
struct Preferences<'a> {
    #[serde(borrow, default)]
    user_preferences: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Preference {
    #[serde(default)]
    wa_id: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    value: String,
    #[serde(default)]
    timestamp: Option<Value>,
}

impl Preference {
    fn recipient(&self) -> Option<Recipient> {
        let named = self.wa_id.as_deref().or(self.user_id.as_deref())?;
        named.parse().ok()
    }

    fn at(&self) -> Option<Timestamp> {
        let timestamp = self.timestamp.as_ref()?;
        let second = timestamp.as_i64().or_else(|| timestamp.as_str()?.parse().ok())?;
        Timestamp::from_second(second).ok()
    }
}

/// One or several preferences: Meta's pages show a list, and a list within an object.
async fn preferences(transaction: &mut Transaction, event: &Unapplied) -> Result<String, StorageError> {
    let list: Vec<&RawValue> = match serde_json::from_str::<Preferences<'_>>(&event.raw) {
        Ok(object) if !object.user_preferences.is_empty() => object.user_preferences,
        _ => serde_json::from_str(&event.raw).unwrap_or_default(),
    };
    let (mut applied, mut strange) = (0, 0);
    for raw in list {
        let read = serde_json::from_str::<Preference>(raw.get()).ok();
        let known = read.as_ref().and_then(|preference| {
            let stopped = match preference.value.as_str() {
                "stop" => true,
                "resume" | "signup" => false,
                _ => return None,
            };
            Some((
                preference.recipient()?,
                stopped,
                preference.at().unwrap_or(event.happened_at),
            ))
        });
        match known {
            Some((recipient, stopped, at)) => {
                let recipient = recipient.canonical();
                let news = meta_news::preference(transaction, event.tenant, &recipient, stopped, at).await?;
                applied += usize::from(news);
            }
            None => strange += 1,
        }
    }
    Ok(format!("{applied} preferences, {strange} not understood"))
}
