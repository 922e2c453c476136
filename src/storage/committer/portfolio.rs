//! How many people a portfolio reaches in 24 hours, counted where claims are decided: exact, across nodes and restarts, and before
//! anything is reserved. Only portfolios with a limit cost anything.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use domain::ids::{AttemptId, SenderId, TenantId};
use domain::rate_limit::{PairKey, pair_key};
use domain::recipient::Recipient;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::storage::{Connection, StorageError, Transaction};

/// The window over which Meta counts people.
const WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// How long a number rests at most whose portfolio is exhausted: a raised limit takes effect within this time.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(10);
/// Rows that left the window and are deleted at once.
const SWEPT_AT_ONCE: i64 = 2_000;
/// How long it is remembered whether there are limits at all: a new one takes effect within this time.
const REMEMBERED_FOR: Duration = Duration::from_secs(5);

/// Remembers whether any portfolio has a limit.
#[derive(Default)]
pub(super) struct Limited(Mutex<Option<(Instant, bool)>>);

impl Limited {
    /// Tells whether any portfolio has a limit.
    pub(super) async fn any(&self, connection: &mut Connection) -> Result<bool, StorageError> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, any)) = known
            && at.elapsed() < REMEMBERED_FOR
        {
            return Ok(any);
        }
        let row = connection
            .query_one(
                "SELECT EXISTS (SELECT FROM portfolios WHERE messaging_limit IS NOT NULL)",
                &[],
            )
            .await?;
        let any = row.try_get(0)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), any));
        Ok(any)
    }
}

/// The portfolios of a transaction's claims that have a limit, locked.
#[derive(Default)]
pub(super) struct Portfolios {
    of_sender: HashMap<SenderId, String>,
    all: HashMap<String, Portfolio>,
}

struct Portfolio {
    tenant: TenantId,
    limit: i64,
    reached: i64,
    known: HashSet<PairKey>,
    renewed: Vec<i64>,
    added: Vec<(i64, AttemptId)>,
    free_at: Option<Timestamp>,
}

impl Portfolios {
    /// Reads and locks what the claims of these senders to these recipients need.
    pub(super) async fn lock(
        transaction: &mut Transaction,
        senders: &[Uuid],
        recipients: impl Iterator<Item = (SenderId, PairKey)>,
    ) -> Result<Self, StorageError> {
        let rows = transaction
            .query(
                "SELECT s.id AS sender_id, p.id, p.tenant_id, p.messaging_limit, p.reached FROM senders s
                 JOIN portfolios p ON p.id = s.portfolio_id AND p.tenant_id = s.tenant_id
                 WHERE s.id = ANY($1) AND p.messaging_limit IS NOT NULL ORDER BY p.id FOR UPDATE OF p",
                &[&senders],
            )
            .await?;
        let mut found = Self::default();
        for row in &rows {
            let id: String = row.try_get("id")?;
            let sender = SenderId(row.try_get("sender_id")?);
            found.of_sender.insert(sender, id.clone());
            let portfolio = Portfolio {
                tenant: TenantId(row.try_get("tenant_id")?),
                limit: row.try_get::<_, i32>("messaging_limit")?.into(),
                reached: row.try_get::<_, i32>("reached")?.into(),
                known: HashSet::new(),
                renewed: Vec::new(),
                added: Vec::new(),
                free_at: None,
            };
            found.all.entry(id).or_insert(portfolio);
        }
        let mut wanted: HashMap<String, Vec<i64>> = HashMap::new();
        for (sender, key) in recipients {
            if let Some(id) = found.of_sender.get(&sender) {
                wanted.entry(id.clone()).or_default().push(key.cast_signed());
            }
        }
        for (id, keys) in wanted {
            if let Some(portfolio) = found.all.get_mut(&id) {
                portfolio.read(transaction, &id, &keys).await?;
            }
        }
        Ok(found)
    }

    /// Lets a claim through, and counts its recipient; none stands for a message that counts for no limit.
    ///
    /// # Errors
    /// When another person may be reached, if not now.
    pub(super) fn admit(
        &mut self,
        sender: SenderId,
        key: PairKey,
        attempt: AttemptId,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        let portfolio = self.of_sender.get(&sender).and_then(|id| self.all.get_mut(id));
        let Some(portfolio) = portfolio else { return Ok(()) };
        if portfolio.known.contains(&key) {
            portfolio.renewed.push(key.cast_signed());
            return Ok(());
        }
        if portfolio.reached >= portfolio.limit {
            return Err(portfolio.free_at.unwrap_or(now + WINDOW).min(now + LOOK_AGAIN));
        }
        portfolio.reached += 1;
        portfolio.known.insert(key);
        portfolio.added.push((key.cast_signed(), attempt));
        Ok(())
    }

    /// Writes what was counted.
    pub(super) async fn write(&self, transaction: &mut Transaction) -> Result<(), StorageError> {
        for (id, portfolio) in &self.all {
            let keys: Vec<i64> = portfolio.added.iter().map(|(key, _)| *key).collect();
            let attempts: Vec<Uuid> = portfolio.added.iter().map(|(_, attempt)| attempt.0).collect();
            transaction
                .execute(
                    "INSERT INTO portfolio_recipients (tenant_id, portfolio_id, recipient_key, reached_at, attempt_id)
                     SELECT $1, $2, w.key, now(), w.attempt FROM unnest($3::bigint[], $4::uuid[]) AS w (key, attempt)
                     ON CONFLICT DO NOTHING",
                    &[&portfolio.tenant.0, id, &keys, &attempts],
                )
                .await?;
            transaction
                .execute(
                    "UPDATE portfolio_recipients SET reached_at = now(), is_renewed = true
                     WHERE portfolio_id = $1 AND recipient_key = ANY($2)",
                    &[id, &portfolio.renewed],
                )
                .await?;
            transaction
                .execute(
                    "UPDATE portfolios SET reached = $2, updated_at = now() WHERE id = $1",
                    &[
                        id,
                        &i32::try_from(portfolio.reached).map_err(StorageError::nonsense)?,
                    ],
                )
                .await?;
        }
        Ok(())
    }
}

impl Portfolio {
    async fn read(
        &mut self,
        transaction: &mut Transaction,
        id: &String,
        keys: &[i64],
    ) -> Result<(), StorageError> {
        let swept = transaction
            .execute(
                "DELETE FROM portfolio_recipients WHERE portfolio_id = $1 AND recipient_key IN (
                    SELECT recipient_key FROM portfolio_recipients WHERE portfolio_id = $1
                        AND reached_at < now() - interval '24 hours' ORDER BY reached_at LIMIT $2)",
                &[id, &SWEPT_AT_ONCE],
            )
            .await?;
        self.reached -= i64::try_from(swept).map_err(StorageError::nonsense)?;
        let rows = transaction
            .query(
                "SELECT recipient_key FROM portfolio_recipients WHERE portfolio_id = $1 AND recipient_key = ANY($2)",
                &[id, &keys],
            )
            .await?;
        for row in &rows {
            self.known.insert(row.try_get::<_, i64>(0)?.cast_unsigned());
        }
        if self.reached + i64::try_from(keys.len()).map_err(StorageError::nonsense)? > self.limit {
            let row = transaction
                .query_one(
                    "SELECT min(reached_at) FROM portfolio_recipients WHERE portfolio_id = $1",
                    &[id],
                )
                .await?;
            let oldest: Option<Timestamp> = row.try_get(0)?;
            self.free_at = oldest.map(|oldest| oldest + WINDOW);
        }
        Ok(())
    }
}

/// Gives what a recipient is counted by.
pub(super) fn key_of(recipient: &str) -> Option<PairKey> {
    recipient
        .parse::<Recipient>()
        .ok()
        .map(|recipient| pair_key(&recipient))
}

/// Counts the people no more whom these attempts were to reach and did not, unless another attempt did.
pub(super) async fn release(transaction: &mut Transaction, attempts: &[Uuid]) -> Result<(), StorageError> {
    if attempts.is_empty() {
        return Ok(());
    }
    transaction
        .execute(
            "WITH gone AS (DELETE FROM portfolio_recipients WHERE attempt_id = ANY($1) AND NOT is_renewed RETURNING portfolio_id),
                many AS (SELECT portfolio_id, count(*)::integer AS many FROM gone GROUP BY portfolio_id)
             UPDATE portfolios p SET reached = greatest(p.reached - m.many, 0), updated_at = now()
             FROM many m WHERE p.id = m.portfolio_id",
            &[&attempts],
        )
        .await?;
    Ok(())
}
