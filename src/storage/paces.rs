//! How fast campaigns go: samples of their counts every few seconds, and all that explains a pace.

use bb8_redis::redis;
use domain::ids::{CampaignId, SenderId, TenantId};
use jiff::Timestamp;

use super::{Database, Redis, StorageError, Transaction};

/// Seconds between two samples.
const SAMPLE_SECONDS: f64 = 5.0;
/// How long samples are kept, in slots.
const KEPT_SLOTS: i64 = 120;
/// The shortest stretch, in seconds, from which a pace is measured.
const MEASURED_LEAST: f64 = 10.0;
/// Recipients from whom the zones of all that are left are estimated.
const SAMPLED_RECIPIENTS: i64 = 5_000;
/// A limiter's arrival is a time in microseconds; its other numbers are far smaller.
const LOOKS_LIKE_A_TIME: i64 = 100_000_000_000_000;

/// Notes how far every running campaign is; once per slot, however many planners do so.
///
/// # Errors
/// What the database says.
pub async fn sample(database: &Database) -> Result<(), StorageError> {
    let mut connection = database.get().await?;
    connection
        .execute(
            "INSERT INTO campaign_samples (campaign_id, tenant_id, slot, gone)
             SELECT c.id, c.tenant_id, floor(extract(epoch FROM now())::float8 / $1)::bigint, coalesce(k.gone, 0)::bigint
             FROM campaigns c LEFT JOIN LATERAL (
                 SELECT sum(accepted + sent + delivered + read + failed + unknown + dead) AS gone
                 FROM campaign_counts WHERE campaign_id = c.id) k ON true
             WHERE c.state = 'running' ON CONFLICT DO NOTHING",
            &[&SAMPLE_SECONDS],
        )
        .await?;
    connection
        .execute(
            "DELETE FROM campaign_samples WHERE slot < floor(extract(epoch FROM now())::float8 / $1)::bigint - $2",
            &[&SAMPLE_SECONDS, &KEPT_SLOTS],
        )
        .await?;
    Ok(())
}

/// What explains a campaign's pace, as far as the rows tell.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Its number.
    pub sender: SenderId,
    /// The number's rate at Meta.
    pub number_rate: f64,
    /// The plan's own rate.
    pub plan_rate: Option<f64>,
    /// Running campaigns that leave from its number.
    pub sharing: i64,
    /// Whether the number's portfolio has written to as many people as it may in a day.
    pub is_portfolio_full: bool,
    /// When the first of its planned messages is due.
    pub first_due: Option<Timestamp>,
    /// When the last of them is due.
    pub last_due: Option<Timestamp>,
    /// What left in the last minute, messages a second; none while that is not known.
    pub measured: Option<f64>,
}

/// Reads what explains a campaign's pace.
///
/// # Errors
/// What the database says.
pub async fn pace(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Option<Pace>, StorageError> {
    let row = transaction
        .query_opt(
            "SELECT c.sender_id, s.messages_per_second::float8 AS number_rate, p.messages_per_second::float8 AS plan_rate,
                 (SELECT count(*) FROM campaigns o WHERE o.tenant_id = $1 AND o.sender_id = c.sender_id AND o.state = 'running')
                     AS sharing,
                 EXISTS (SELECT FROM portfolios f WHERE f.id = s.portfolio_id AND f.reached >= f.messaging_limit) AS is_full,
                 (SELECT min(due_at) FROM messages WHERE campaign_id = c.id AND due_at IS NOT NULL) AS first_due,
                 (SELECT max(due_at) FROM messages WHERE campaign_id = c.id AND due_at IS NOT NULL) AS last_due, m.measured
             FROM campaigns c JOIN senders s ON s.id = c.sender_id
             LEFT JOIN LATERAL (SELECT plan_id FROM plan_assignments WHERE tenant_id = $1 AND effective_from <= now()
                 ORDER BY effective_from DESC, created_at DESC LIMIT 1) a ON true
             LEFT JOIN plans p ON p.id = a.plan_id
             LEFT JOIN LATERAL (
                 SELECT CASE WHEN max(taken_at) - min(taken_at) >= $3 * interval '1 second' THEN
                     ((max(gone) - min(gone)) / extract(epoch FROM max(taken_at) - min(taken_at)))::float8 END AS measured
                 FROM campaign_samples WHERE campaign_id = c.id AND taken_at > greatest(now() - interval '1 minute',
                     (SELECT max(at) FROM campaign_events WHERE tenant_id = $1 AND campaign_id = c.id))) m ON true
             WHERE c.id = $2 AND c.tenant_id = $1",
            &[&tenant.0, &campaign.0, &MEASURED_LEAST],
        )
        .await?;
    row.map(|row| {
        Ok(Pace {
            sender: SenderId(row.try_get("sender_id")?),
            number_rate: row.try_get("number_rate")?,
            plan_rate: row.try_get("plan_rate")?,
            sharing: row.try_get("sharing")?,
            is_portfolio_full: row.try_get("is_full")?,
            first_due: row.try_get("first_due")?,
            last_due: row.try_get("last_due")?,
            measured: row.try_get("measured")?,
        })
    })
    .transpose()
}

/// Gives recipients who are left, some thousands of them at most: a sample of where they are.
///
/// # Errors
/// What the database says.
pub async fn recipients_left(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<Vec<String>, StorageError> {
    let rows = transaction
        .query(
            "SELECT recipient FROM messages WHERE tenant_id = $1 AND campaign_id = $2 AND due_at IS NOT NULL
             ORDER BY due_at DESC LIMIT $3",
            &[&tenant.0, &campaign.0, &SAMPLED_RECIPIENTS],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Gives the rate that a number's limiter last stored; none while Redis does not answer or knows nothing.
pub async fn limiter_rate(redis: &Redis, sender: SenderId) -> Option<f64> {
    let mut command = redis::cmd("GET");
    command.arg(redis.key(&format!("limiter:{sender}")));
    let text: Option<String> = redis.run(&command).await.ok()?;
    rate_in(&text?)
}

/// The rate follows the arrival.
fn rate_in(text: &str) -> Option<f64> {
    let mut words = text.split(' ');
    words.find(|word| word.parse::<i64>().is_ok_and(|number| number > LOOKS_LIKE_A_TIME))?;
    words.next()?.parse().ok().filter(|rate: &f64| *rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_stands_behind_the_arrival_with_or_without_an_epoch() {
        assert_eq!(rate_in("1764021600000000 40.5"), Some(40.5));
        assert_eq!(rate_in("7 1764021600000000 40.5 pairs"), Some(40.5));
        assert_eq!(rate_in("nonsense"), None);
        assert_eq!(rate_in("1764021600000000"), None);
    }
}
