//! Running campaigns whose messages Meta refuses as malformed, paused until somebody has looked: once each, so that who resumes one
//! has the last word.

use domain::campaign::PauseReason;
use domain::malformed;
use uuid::Uuid;

use super::campaign_events::Actor;
use super::{Database, StorageError, Transaction, standings};

const REASON: PauseReason = PauseReason::MessagesMalformed;

/// A running campaign with failures.
struct Suspect {
    campaign: Uuid,
    tenant: Uuid,
    failed: i64,
    tried: i64,
}

/// Pauses running campaigns of which too many messages were malformed.
///
/// # Errors
/// What the database says; what was paused until then stays paused.
pub async fn pause_campaigns(database: &Database) -> Result<(), StorageError> {
    for suspect in suspects(database).await? {
        // Counting the causes reads every failure, so the sum of all is asked first.
        if malformed::is_too_much(suspect.failed, suspect.tried) {
            let mut transaction = database.begin().await?;
            pause_one(&mut transaction, &suspect).await?;
            transaction.commit().await?;
        }
    }
    Ok(())
}

async fn suspects(database: &Database) -> Result<Vec<Suspect>, StorageError> {
    let rows = database
        .get()
        .await?
        .query(
            "SELECT c.id, c.tenant_id, sum(k.failed)::bigint AS failed,
                 sum(k.accepted + k.sent + k.delivered + k.read + k.failed + k.unknown + k.dead)::bigint AS tried
             FROM campaigns c JOIN campaign_counts k ON k.campaign_id = c.id
             WHERE c.state = 'running' AND NOT EXISTS (SELECT FROM campaign_events e
                 WHERE e.tenant_id = c.tenant_id AND e.campaign_id = c.id AND e.to_reason = $1)
             GROUP BY c.id HAVING sum(k.failed) >= $2::bigint",
            &[&REASON.as_str(), &malformed::LEAST_REFUSALS],
        )
        .await?;
    let read = |row: &tokio_postgres::Row| {
        Ok(Suspect {
            campaign: row.try_get("id")?,
            tenant: row.try_get("tenant_id")?,
            failed: row.try_get("failed")?,
            tried: row.try_get("tried")?,
        })
    };
    rows.iter().map(read).collect()
}

async fn pause_one(transaction: &mut Transaction, suspect: &Suspect) -> Result<(), StorageError> {
    let rows = transaction
        .query(
            "SELECT error_code, count(*) AS number FROM messages
             WHERE tenant_id = $1 AND campaign_id = $2 AND state = 'failed' AND error_code IS NOT NULL GROUP BY error_code",
            &[&suspect.tenant, &suspect.campaign],
        )
        .await?;
    let mut failures = Vec::new();
    for row in &rows {
        failures.push((row.try_get("error_code")?, row.try_get("number")?));
    }
    let malformed = malformed::count(failures);
    if malformed::is_too_much(malformed, suspect.tried) {
        let evidence = format!(
            "Meta refused {malformed} of {} messages as malformed",
            suspect.tried
        );
        standings::pause(
            transaction,
            &[suspect.campaign],
            REASON,
            Actor::Planner,
            &evidence,
        )
        .await?;
    }
    Ok(())
}
