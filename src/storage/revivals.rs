//! Campaigns that go on by themselves because what paused them is over: a plan with room again, a new token.

use std::collections::{BTreeMap, HashMap};

use domain::campaign::PauseReason;
use domain::category::Category;
use domain::ids::TenantId;
use domain::plan::has_room_again;
use jiff::Timestamp;
use uuid::Uuid;

use super::booked::{self, OpenPeriod};
use super::campaign_events::Actor;
use super::{Database, StorageError, standings};

/// How long after a renewal the old token may still be in use, in seconds: every process remembers numbers for five.
const TOKEN_REMEMBERED: f64 = 6.0;

/// How long a template rests of which Meta told nothing, in hours: Meta's own shortest pause for quality. Then it is tried again.
const TEMPLATE_RESTS_HOURS: f64 = 3.0;

const BLOCKED: &str = "SELECT c.tenant_id, c.id, k.waiting, (SELECT m.category FROM messages m
        WHERE m.tenant_id = c.tenant_id AND m.campaign_id = c.id LIMIT 1) AS category
    FROM campaigns c
    JOIN LATERAL (SELECT coalesce(sum(planned + queued), 0)::bigint AS waiting FROM campaign_counts WHERE campaign_id = c.id) k
        ON true
    WHERE c.state = 'paused' AND c.reason = 'plan_blocked' ORDER BY c.tenant_id, c.id";

/// Campaigns of a tenant that wait for room in one pool.
#[derive(Default)]
struct Blocked {
    campaigns: Vec<Uuid>,
    waiting: i64,
}

/// Lets campaigns go on whose plan has room again: a larger plan, a new period, or units that became free.
///
/// # Errors
/// What the database says.
pub async fn plans_with_room(database: &Database) -> Result<u64, StorageError> {
    let mut connection = database.get().await?;
    let rows = connection.query(BLOCKED, &[]).await?;
    let mut tenants: Vec<Uuid> = rows.iter().map(|row| row.get("tenant_id")).collect();
    tenants.dedup();
    if tenants.is_empty() {
        return Ok(0);
    }
    let now = Timestamp::now();
    let mut open = HashMap::new();
    for (tenant, standing) in booked::standings(&mut connection, &tenants).await? {
        open.insert(tenant, standing.at(now)?);
    }
    drop(connection);
    let mut blocked: BTreeMap<(TenantId, String), Blocked> = BTreeMap::new();
    for row in &rows {
        let tenant = TenantId(row.try_get("tenant_id")?);
        let category: Option<&str> = row.try_get("category")?;
        let (Some(Some(period)), Some(category)) = (open.get(&tenant), category) else {
            continue;
        };
        let category: Category = category.parse().map_err(StorageError::nonsense)?;
        let one = blocked
            .entry((tenant, period.pool_of(category)?.to_owned()))
            .or_default();
        one.campaigns.push(row.try_get("id")?);
        one.waiting += row.try_get::<_, i64>("waiting")?;
    }
    let mut resumed = 0;
    for ((tenant, pool), blocked) in &blocked {
        if let Some(Some(period)) = open.get(tenant) {
            resumed += resume_if_room(database, period, pool, blocked).await?;
        }
    }
    Ok(resumed)
}

async fn resume_if_room(
    database: &Database,
    period: &OpenPeriod,
    pool: &str,
    blocked: &Blocked,
) -> Result<u64, StorageError> {
    let (room, units) = (period.room_of(pool)?, period.units_of(Some(pool)));
    if !has_room_again(room.limit, units.held, units.captured, blocked.waiting) {
        return Ok(0);
    }
    let evidence = room.limit.map_or_else(
        || "the plan has no limit".to_owned(),
        |limit| {
            let free = limit - units.held - units.captured;
            format!("{free} of the plan's {limit} units are free")
        },
    );
    let mut transaction = database.begin().await?;
    let resumed = standings::resume(
        &mut transaction,
        &blocked.campaigns,
        PauseReason::PlanBlocked,
        Actor::Planner,
        &evidence,
    )
    .await?;
    transaction.commit().await?;
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
