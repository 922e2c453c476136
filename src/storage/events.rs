//! Storing what webhooks report: the evidence. A status is itself, however often it is delivered.

use domain::ids::{AttemptId, EventId, TenantId};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
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
    /// Whose, if the number is known.
    pub tenant: Option<TenantId>,
    /// The field that changed, such as `messages` or `message_template_status_update`.
    pub kind: String,
    /// Meta's id of the number.
    pub phone_number_id: Option<String>,
    /// Meta's id of the account.
    pub waba_id: String,
    /// When it happened, where Meta says so.
    pub happened_at: Option<Timestamp>,
    /// Why it was set aside, if it was.
    pub quarantined_because: Option<&'static str>,
    /// The change as it came.
    pub raw: String,
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
    ORDER BY w.identity ON CONFLICT DO NOTHING";

/// Stores statuses and gives those that were new.
///
/// # Errors
/// What the database says; then nothing was stored.
pub async fn store_statuses(
    database: &Database,
    statuses: &[NewStatus],
) -> Result<Vec<(TenantId, EventId)>, StorageError> {
    fn column<'a, T>(statuses: &'a [NewStatus], of: impl Fn(&'a NewStatus) -> T) -> Vec<T> {
        statuses.iter().map(of).collect()
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

/// Stores everything else, once per content.
///
/// # Errors
/// What the database says; then nothing was stored.
pub async fn store_others(database: &Database, others: &[NewOther]) -> Result<(), StorageError> {
    if others.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = others.iter().map(|_| Uuid::now_v7()).collect();
    let tenants: Vec<Option<Uuid>> = others
        .iter()
        .map(|other| other.tenant.map(|tenant| tenant.0))
        .collect();
    let kinds: Vec<&str> = others.iter().map(|other| other.kind.as_str()).collect();
    let identities: Vec<Vec<u8>> = others.iter().map(identity_of).collect();
    let times: Vec<Option<Timestamp>> = others.iter().map(|other| other.happened_at).collect();
    let numbers: Vec<Option<&str>> = others
        .iter()
        .map(|other| other.phone_number_id.as_deref())
        .collect();
    let accounts: Vec<&str> = others.iter().map(|other| other.waba_id.as_str()).collect();
    let reasons: Vec<Option<&str>> = others.iter().map(|other| other.quarantined_because).collect();
    let raws: Vec<&str> = others.iter().map(|other| other.raw.as_str()).collect();
    let mut connection = database.get().await?;
    connection
        .execute(
            OTHERS,
            &[
                &ids,
                &tenants,
                &kinds,
                &identities,
                &numbers,
                &accounts,
                &times,
                &reasons,
                &raws,
            ],
        )
        .await?;
    Ok(())
}

/// What makes an event itself: its content and, where Meta says when it happened, that time. A template that is paused twice is two
/// events, though both say the same.
fn identity_of(other: &NewOther) -> Vec<u8> {
    let mut hash = Sha256::new();
    if let Some(at) = other.happened_at {
        hash.update(format!("{} {} {at} ", other.waba_id, other.kind));
    }
    hash.update(&other.raw);
    hash.finalize().to_vec()
}
