//! Storing what webhooks report: the evidence. An event is itself, however often it is delivered.

use std::collections::HashMap;

use domain::ids::{AttemptId, EventId, MessageId, TenantId};
use domain::webhook::Quarantine;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Database, StorageError};

/// A status of one of our attempts.
#[derive(Clone, Debug)]
pub struct NewStatus {
    /// Its id here.
    pub id: EventId,
    /// Whose number reports it.
    pub tenant: TenantId,
    /// Our attempt's id, echoed by Meta.
    pub attempt: AttemptId,
    /// Its status: sent, delivered, read, failed.
    pub status: &'static str,
    /// Meta's id of the message.
    pub wamid: String,
    /// When it happened, by Meta's clock.
    pub occurred_at: Timestamp,
    /// `pricing.type`.
    pub pricing_type: Option<String>,
    /// `pricing.category`.
    pub pricing_category: Option<String>,
    /// `pricing.billable`.
    pub pricing_billable: Option<bool>,
    /// The first error's code.
    pub error_code: Option<i32>,
    /// The status as it came.
    pub raw: String,
}

/// Anything else that Meta reports, or a status that is not ours.
#[derive(Clone, Debug)]
pub struct NewOther {
    /// Its id here.
    pub id: Uuid,
    /// By what a repeat is known.
    pub identity: [u8; 32],
    /// Whose, if that is known.
    pub tenant: Option<TenantId>,
    /// The field that changed, such as `messages` or `message_template_status_update`.
    pub kind: String,
    /// Meta's id of the number.
    pub phone_number_id: Option<String>,
    /// Meta's id of the account.
    pub waba_id: String,
    /// When it happened by Meta's clock, where Meta says so.
    pub happened_at: Option<Timestamp>,
    /// Why it was set aside, if it was.
    pub quarantined_because: Option<Quarantine>,
    /// What was reported, as JSON.
    pub raw: String,
}

/// Somebody spoke for a number or an account that is not a tenant's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecurityEvent {
    /// What was wrong.
    pub kind: Quarantine,
    /// Meta's id of the account that reported it.
    pub waba_id: String,
    /// Meta's id of the number; empty if it was about a whole account.
    pub phone_number_id: String,
    /// Whose number it was about, if it is known.
    pub tenant: Option<TenantId>,
}

const STATUSES: &str = "INSERT INTO events (tenant_id, id, source, status, attempt_id, wamid, occurred_at, pricing_type,
        pricing_category, pricing_billable, error_code, raw)
    SELECT w.tenant_id, w.id, 'meta', w.status, w.attempt_id, w.wamid, w.occurred_at, w.pricing_type, w.pricing_category,
        w.pricing_billable, w.error_code, w.raw::json
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
        $9::boolean[], $10::integer[], $11::text[])
        AS w (tenant_id, id, status, attempt_id, wamid, occurred_at, pricing_type, pricing_category, pricing_billable,
            error_code, raw)
    ORDER BY w.tenant_id, w.attempt_id, w.status
    ON CONFLICT DO NOTHING RETURNING tenant_id, id";
const OTHERS: &str = "INSERT INTO other_events (id, tenant_id, kind, identity, phone_number_id, waba_id, happened_at,
        quarantined_because, raw)
    SELECT w.id, w.tenant_id, w.kind, w.identity, w.phone_number_id, w.waba_id, w.happened_at, w.quarantined_because,
        w.raw::json
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::timestamptz[], $8::text[],
        $9::text[])
        AS w (id, tenant_id, kind, identity, phone_number_id, waba_id, happened_at, quarantined_because, raw)
    ORDER BY w.identity ON CONFLICT DO NOTHING RETURNING id";
/// Sorted, so that two that count at once wait for each other and never deadlock.
const SECURITY_EVENTS: &str = "INSERT INTO security_events AS s (id, tenant_id, kind, waba_id, phone_number_id, hour, seen)
    SELECT (array_agg(w.id))[1], (array_agg(w.tenant_id))[1], w.kind, w.waba_id, w.phone_number_id, date_trunc('hour', now()), count(*)
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[]) AS w (id, tenant_id, kind, waba_id, phone_number_id)
    GROUP BY w.kind, w.waba_id, w.phone_number_id ORDER BY w.kind, w.waba_id, w.phone_number_id
    ON CONFLICT (hour, kind, waba_id, phone_number_id)
    DO UPDATE SET seen = s.seen + excluded.seen, last_seen_at = now()";

/// Stores statuses and gives those that were new.
///
/// # Errors
/// What the database says; then nothing was stored.
pub async fn store_statuses(
    database: &Database,
    statuses: &[&NewStatus],
) -> Result<Vec<(TenantId, EventId)>, StorageError> {
    fn column<'a, T>(statuses: &[&'a NewStatus], of: impl Fn(&'a NewStatus) -> T) -> Vec<T> {
        statuses.iter().map(|status| of(status)).collect()
    }
    if statuses.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            STATUSES,
            &[
                &column(statuses, |status| status.tenant.0),
                &column(statuses, |status| status.id.0),
                &column(statuses, |status| status.status),
                &column(statuses, |status| status.attempt.0),
                &column(statuses, |status| status.wamid.as_str()),
                &column(statuses, |status| status.occurred_at),
                &column(statuses, |status| status.pricing_type.as_deref()),
                &column(statuses, |status| status.pricing_category.as_deref()),
                &column(statuses, |status| status.pricing_billable),
                &column(statuses, |status| status.error_code),
                &column(statuses, |status| status.raw.as_str()),
            ],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| (TenantId(row.get(0)), EventId(row.get(1))))
        .collect())
}

/// Tells whose the attempts are, of those that are their message's present one.
///
/// # Errors
/// What the database says.
pub async fn messages_of(
    database: &Database,
    attempts: &[(TenantId, AttemptId)],
) -> Result<HashMap<AttemptId, MessageId>, StorageError> {
    if attempts.is_empty() {
        return Ok(HashMap::new());
    }
    let tenants: Vec<Uuid> = attempts.iter().map(|(tenant, _)| tenant.0).collect();
    let ids: Vec<Uuid> = attempts.iter().map(|(_, attempt)| attempt.0).collect();
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "SELECT m.attempt_id, m.id FROM unnest($1::uuid[], $2::uuid[]) AS w (tenant_id, attempt_id)
             JOIN messages m ON m.tenant_id = w.tenant_id AND m.attempt_id = w.attempt_id",
            &[&tenants, &ids],
        )
        .await?;
    let pairs = rows
        .iter()
        .map(|row| (AttemptId(row.get(0)), MessageId(row.get(1))));
    Ok(pairs.collect())
}

/// Stores everything else, once per identity, and gives the ids of what was new.
///
/// # Errors
/// What the database says; then nothing was stored.
pub async fn store_others(database: &Database, others: &[&NewOther]) -> Result<Vec<Uuid>, StorageError> {
    fn column<'a, T>(others: &[&'a NewOther], of: impl Fn(&'a NewOther) -> T) -> Vec<T> {
        others.iter().map(|other| of(other)).collect()
    }
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            OTHERS,
            &[
                &column(others, |other| other.id),
                &column(others, |other| other.tenant.map(|tenant| tenant.0)),
                &column(others, |other| other.kind.as_str()),
                &column(others, |other| other.identity.as_slice()),
                &column(others, |other| other.phone_number_id.as_deref()),
                &column(others, |other| other.waba_id.as_str()),
                &column(others, |other| other.happened_at),
                &column(others, |other| other.quarantined_because.map(Quarantine::as_str)),
                &column(others, |other| other.raw.as_str()),
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Counts security events: one row per kind, account, number and hour, however many there are.
///
/// # Errors
/// What the database says; then nothing was counted.
pub async fn count_security_events(
    database: &Database,
    events: &[&SecurityEvent],
) -> Result<(), StorageError> {
    fn column<'a, T>(events: &[&'a SecurityEvent], of: impl Fn(&'a SecurityEvent) -> T) -> Vec<T> {
        events.iter().map(|event| of(event)).collect()
    }
    if events.is_empty() {
        return Ok(());
    }
    let mut connection = database.get().await?;
    let ids: Vec<Uuid> = events.iter().map(|_| Uuid::now_v7()).collect();
    connection
        .execute(
            SECURITY_EVENTS,
            &[
                &ids,
                &column(events, |event| event.tenant.map(|tenant| tenant.0)),
                &column(events, |event| event.kind.as_str()),
                &column(events, |event| event.waba_id.as_str()),
                &column(events, |event| event.phone_number_id.as_str()),
            ],
        )
        .await?;
    Ok(())
}
