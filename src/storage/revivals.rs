//! Campaigns that go on by themselves because what paused them is over: a plan with room again, a new token.

use domain::campaign::PauseReason;
use domain::plan::{Policy, has_room_again};
use tokio_postgres::Row;
use uuid::Uuid;

use super::campaign_events::Actor;
use super::{Database, StorageError, standings};

/// How long after a renewal the old token may still be in use, in seconds: every process remembers numbers for five.
const TOKEN_REMEMBERED: f64 = 6.0;

/// How long a template rests of which Meta told nothing, in hours: Meta's own shortest pause for quality. Then it is tried again.
const TEMPLATE_RESTS_HOURS: f64 = 3.0;

const BLOCKED: &str = "SELECT w.tenant_id, w.campaigns, w.waiting, pl.allowance_units, pl.policy, pl.overage_cap_units,
        coalesce(c.held, 0)::bigint AS held, coalesce(c.captured, 0)::bigint AS captured
    FROM (SELECT c.tenant_id, array_agg(c.id) AS campaigns, coalesce(sum(k.waiting), 0)::bigint AS waiting FROM campaigns c
        JOIN LATERAL (SELECT sum(planned + queued) AS waiting FROM campaign_counts WHERE campaign_id = c.id) k ON true
        WHERE c.state = 'paused' AND c.reason = 'plan_blocked' GROUP BY c.tenant_id) w
    JOIN LATERAL (SELECT plan_id FROM plan_assignments WHERE tenant_id = w.tenant_id AND effective_from <= now()
        ORDER BY effective_from DESC, created_at DESC LIMIT 1) a ON true
    JOIN plans pl ON pl.id = a.plan_id
    LEFT JOIN LATERAL (SELECT number FROM billing_periods WHERE tenant_id = w.tenant_id AND starts_at <= now()
        AND ends_at > now() ORDER BY number DESC LIMIT 1) p ON true
    LEFT JOIN LATERAL (SELECT sum(held) AS held, sum(captured) AS captured FROM pool_counters
        WHERE tenant_id = w.tenant_id AND period = p.number) c ON true";

/// A tenant that its plan blocked.
struct Blocked {
    campaigns: Vec<Uuid>,
    has_room: bool,
    evidence: String,
}

impl Blocked {
    fn read(row: &Row) -> Result<Self, StorageError> {
        let policy = Policy::from_parts(row.try_get("policy")?, row.try_get("overage_cap_units")?)
            .ok_or_else(|| StorageError::nonsense("a plan's policy"))?;
        let limit = policy.limit(row.try_get("allowance_units")?);
        let (held, captured): (i64, i64) = (row.try_get("held")?, row.try_get("captured")?);
        let free = limit.map_or_else(
            || "the plan has no limit".to_owned(),
            |limit| format!("{} of the plan's {limit} units are free", limit - held - captured),
        );
        Ok(Self {
            campaigns: row.try_get("campaigns")?,
            has_room: has_room_again(limit, held, captured, row.try_get("waiting")?),
            evidence: free,
        })
    }
}

/// Lets campaigns go on whose plan has room again: a larger plan, a new period, or units that became free.
///
/// # Errors
/// What the database says.
pub async fn plans_with_room(database: &Database) -> Result<u64, StorageError> {
    let rows = database.get().await?.query(BLOCKED, &[]).await?;
    let mut resumed = 0;
    for row in &rows {
        let blocked = Blocked::read(row)?;
        if !blocked.has_room {
            continue;
        }
        let mut transaction = database.begin().await?;
        resumed += standings::resume(
            &mut transaction,
            &blocked.campaigns,
            PauseReason::PlanBlocked,
            Actor::Planner,
            &blocked.evidence,
        )
        .await?;
        transaction.commit().await?;
    }
    Ok(resumed)
}

/// Lets campaigns go on whose tenant renewed a token after they paused. A pause that comes while the old token may still be in use
/// belongs to that one.
///
/// # Errors
/// What the database says.
pub async fn renewed_tokens(database: &Database) -> Result<u64, StorageError> {
    let mut transaction = database.begin().await?;
    let rows = transaction
        .query(
            "SELECT c.id FROM campaigns c WHERE c.state = 'paused' AND c.reason = 'token_invalid' AND EXISTS (
                 SELECT FROM senders s WHERE s.tenant_id = c.tenant_id
                     AND s.token_changed_at + $1 * interval '1 second' > c.paused_at
                     AND s.token_changed_at + $1 * interval '1 second' <= now())
             ORDER BY c.id FOR UPDATE OF c SKIP LOCKED",
            &[&TOKEN_REMEMBERED],
        )
        .await?;
    let campaigns: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let evidence = "a sender has a new access token";
    let resumed = standings::resume(
        &mut transaction,
        &campaigns,
        PauseReason::TokenInvalid,
        Actor::Planner,
        evidence,
    )
    .await?;
    transaction.commit().await?;
    Ok(resumed)
}

/// Tries templates again of which Meta's webhooks told nothing, after a rest: what Meta refused may be fine again, and the word that
/// says so may have been lost. Where Meta's last word is that it may not be sent, that word's successor is waited for.
///
/// # Errors
/// What the database says.
pub async fn rested_templates(database: &Database) -> Result<u64, StorageError> {
    let mut transaction = database.begin().await?;
    let rows = transaction
        .query(
            "SELECT c.id FROM campaigns c JOIN senders s ON s.id = c.sender_id
             WHERE c.state = 'paused' AND c.reason = 'template_paused' AND c.paused_at < now() - $1 * interval '1 hour'
                 AND NOT EXISTS (SELECT FROM meta_states m WHERE m.tenant_id = c.tenant_id AND m.kind = 'template'
                     AND m.state = 'stopped' AND m.subject = concat_ws(' ', s.waba_id, c.template ->> 'name',
                         coalesce(c.template #>> '{language,code}', c.template ->> 'language')))
             ORDER BY c.id FOR UPDATE OF c SKIP LOCKED",
            &[&TEMPLATE_RESTS_HOURS],
        )
        .await?;
    let campaigns: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let evidence = "the template has rested and is tried again";
    let resumed = standings::resume(
        &mut transaction,
        &campaigns,
        PauseReason::TemplatePaused,
        Actor::Planner,
        evidence,
    )
    .await?;
    transaction.commit().await?;
    Ok(resumed)
}
