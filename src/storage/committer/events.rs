//! Applying stored events: statuses move messages forward and settle the ledger; refusals of calls only settle the ledger.

use std::collections::{BTreeMap, HashMap};

use domain::ids::{AttemptId, CampaignId, EventId, MessageId, PlanId, TenantId};
use domain::ledger::{Fact, LedgerKind, Pricing, Settlement, settle};
use domain::message::{DeliveryStatus, MessageState};
use domain::unknown::SettledBy;
use tokio_postgres::Row;
use uuid::Uuid;

use super::decisions::{Pages, Share};
use super::period::Booking;
use super::portfolio;
use crate::storage::meta_news::STOPPED_MARKETING;
use crate::storage::named::named;
use crate::storage::plans::{self, Plans};
use crate::storage::{Database, StorageError, Transaction};

/// Meta's code for a recipient who stopped marketing messages.
pub(super) const OPTED_OUT: i32 = 131_050;

type Shares<'a> = BTreeMap<TenantId, Share<'a>>;
type AttemptKey = (TenantId, AttemptId);

struct Event {
    tenant: TenantId,
    id: EventId,
    source: Source,
    status: DeliveryStatus,
    attempt: AttemptId,
    wamid: Option<String>,
    pricing: Pricing,
    error_code: Option<i32>,
    error_title: Option<String>,
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A status webhook.
    Webhook,
    /// Meta's message history.
    History,
    /// A refused call, a policy, a hand: the message has been moved already.
    Ours,
}

/// A message as it is, and as it becomes.
struct Target {
    tenant: TenantId,
    message: MessageId,
    campaign: Option<CampaignId>,
    recipient: String,
    before: MessageState,
    after: MessageState,
    wamid: Option<String>,
    error_code: Option<i32>,
    error_title: Option<String>,
    settled_by: Option<SettledBy>,
    heard_of: AttemptId,
}

/// What the ledger says of an attempt.
struct Settled {
    booking: Booking,
    /// The plan that it was reserved under.
    plan: PlanId,
    so_far: Settlement,
}

const EVENTS: &str =
    "SELECT e.tenant_id, e.id, e.source, e.status, e.attempt_id, e.wamid, e.pricing_type, e.pricing_category,
        e.pricing_billable, e.error_code, CASE WHEN e.error_code IS NOT NULL THEN e.raw #>> '{errors,0,title}' END AS error_title
    FROM unnest($1::uuid[], $2::uuid[]) AS w (tenant_id, id)
    JOIN events e ON e.tenant_id = w.tenant_id AND e.id = w.id
    WHERE e.applied_at IS NULL ORDER BY e.tenant_id, e.occurred_at, e.id";
const TARGETS: &str =
    "SELECT m.tenant_id, m.id, m.attempt_id AS heard_of, m.campaign_id, m.recipient, m.state
    FROM unnest($1::uuid[], $2::uuid[]) AS w (tenant_id, attempt_id)
    JOIN messages m ON m.tenant_id = w.tenant_id AND m.attempt_id = w.attempt_id
    ORDER BY m.tenant_id, m.id FOR UPDATE OF m";
const EARLIER_TARGETS: &str =
    "SELECT m.tenant_id, m.id, a.attempt_id AS heard_of, m.campaign_id, m.recipient, m.state
    FROM unnest($1::uuid[], $2::uuid[]) AS w (tenant_id, attempt_id)
    JOIN message_attempts a ON a.tenant_id = w.tenant_id AND a.attempt_id = w.attempt_id
    JOIN messages m ON m.tenant_id = a.tenant_id AND m.id = a.message_id
    ORDER BY m.tenant_id, m.id FOR UPDATE OF m";
/// Key by key, whatever PostgreSQL knows of the tables: `OFFSET 0` keeps it from joining them in another order. While it knew nothing, it
/// compared every row of the ledger with every key.
const SETTLED: &str = "SELECT l.tenant_id, l.attempt_id, l.kind, l.period, l.segment, l.pool, l.category, l.currency,
        (SELECT s.plan_id FROM period_segments s WHERE (s.tenant_id, s.period, s.number) = (l.tenant_id, l.period, l.segment)) AS plan_id
    FROM unnest($1::uuid[], $2::uuid[]) AS w (tenant_id, attempt_id)
    CROSS JOIN LATERAL (SELECT * FROM ledger WHERE tenant_id = w.tenant_id AND attempt_id = w.attempt_id OFFSET 0) l
    ORDER BY l.tenant_id, l.seq";
const MOVE: &str = "UPDATE messages m SET state = w.state, due_at = NULL, queued_at = NULL, deadline = NULL, unknown_since = NULL,
        unknown_wish = NULL,
        wamid = coalesce(m.wamid, w.wamid), error_code = w.error_code, error_reason = w.error_title, updated_at = now()
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::integer[], $6::text[])
        AS w (tenant_id, message_id, state, wamid, error_code, error_title)
    WHERE m.tenant_id = w.tenant_id AND m.id = w.message_id";
const APPLIED: &str = "UPDATE events e SET applied_at = now()
    FROM unnest($1::uuid[], $2::uuid[]) AS w (tenant_id, id) WHERE e.tenant_id = w.tenant_id AND e.id = w.id";
const SUPPRESS: &str = "INSERT INTO suppressions (tenant_id, recipient, reason)
    SELECT tenant_id, recipient, $3 FROM unnest($1::uuid[], $2::text[]) AS w (tenant_id, recipient) ON CONFLICT DO NOTHING";

/// Applies the events that the shares name.
pub(super) async fn apply(
    transaction: &mut Transaction,
    shares: &mut Shares<'_>,
    pages: &mut Pages,
) -> Result<(), StorageError> {
    let events = named_events(transaction, shares).await?;
    if events.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<AttemptKey> = events.iter().map(|event| (event.tenant, event.attempt)).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut targets = targets(transaction, &keys).await?;
    let about_money = events.iter().filter(|event| event.fact().is_some());
    let mut priced: Vec<AttemptKey> = about_money.map(|event| (event.tenant, event.attempt)).collect();
    priced.sort_unstable();
    priced.dedup();
    let (mut ledger, plans) = settled(transaction, &priced).await?;
    for event in &events {
        let key = (event.tenant, event.attempt);
        if let Some(target) = targets.of(key).filter(|_| event.source != Source::Ours) {
            target.hear(event);
        }
        let Some(share) = shares.get_mut(&event.tenant) else {
            continue;
        };
        share.events_applied += 1;
        if let (Some(settled), Some(fact)) = (ledger.get_mut(&key), event.fact())
            && let Some(entry) = settle(settled.so_far, fact)
        {
            let billed = settled.billed(event, fact, &plans)?;
            let from_to = (&settled.booking, &billed);
            share.add_row(pages, from_to, event.attempt, entry, Some(event.id.0));
            settled.so_far = settled.so_far.max(Settlement::of([entry.kind]));
        }
    }
    let moved: Vec<&Target> = targets
        .messages
        .values()
        .filter(|target| target.before != target.after)
        .collect();
    for target in &moved {
        if let (Some(by), Some(share)) = (target.settled_by, shares.get_mut(&target.tenant)) {
            *share.settled.entry(by).or_default() += 1;
        }
        pages
            .counts
            .moved(target.tenant, target.campaign, target.before, target.after);
    }
    write_moves(transaction, &moved).await?;
    mark_applied(transaction, &events).await
}

/// Gives events of a tenant that nobody applied yet, the oldest first.
pub(super) async fn unapplied(
    database: &Database,
    tenant: TenantId,
    most: usize,
) -> Result<Vec<EventId>, StorageError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut connection = database.get().await?;
    let rows = connection
        .query(
            "SELECT id FROM events e WHERE tenant_id = $1 AND applied_at IS NULL AND NOT EXISTS (
                SELECT FROM dead_letters d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.id
                    AND d.resolution IS DISTINCT FROM 'replayed')
             ORDER BY received_at LIMIT $2",
            &[&tenant.0, &most],
        )
        .await?;
    Ok(rows.iter().map(|row| EventId(row.get(0))).collect())
}

impl Event {
    fn fact(&self) -> Option<Fact> {
        Fact::of(self.status, &self.pricing)
    }

    fn read(row: &Row) -> Result<Self, StorageError> {
        let category: Option<&str> = row.try_get("pricing_category")?;
        Ok(Self {
            tenant: TenantId(row.try_get("tenant_id")?),
            id: EventId(row.try_get("id")?),
            source: match row.try_get::<_, &str>("source")? {
                "meta" => Source::Webhook,
                "history" => Source::History,
                _ => Source::Ours,
            },
            status: named(row, "status")?,
            attempt: AttemptId(row.try_get("attempt_id")?),
            wamid: row.try_get("wamid")?,
            pricing: Pricing {
                kind: row.try_get("pricing_type")?,
                category: category.and_then(|name| name.parse().ok()),
                billable: row.try_get("pricing_billable")?,
            },
            error_code: row.try_get("error_code")?,
            error_title: row.try_get("error_title")?,
        })
    }
}

impl Target {
    fn read(row: &Row) -> Result<(AttemptKey, Self), StorageError> {
        let state: MessageState = named(row, "state")?;
        let tenant = TenantId(row.try_get("tenant_id")?);
        let target = Self {
            tenant,
            message: MessageId(row.try_get("id")?),
            campaign: row.try_get::<_, Option<Uuid>>("campaign_id")?.map(CampaignId),
            recipient: row.try_get("recipient")?,
            before: state,
            after: state,
            wamid: None,
            error_code: None,
            error_title: None,
            settled_by: None,
            heard_of: AttemptId(row.try_get("heard_of")?),
        };
        Ok(((tenant, AttemptId(row.try_get("heard_of")?)), target))
    }

    fn hear(&mut self, event: &Event) {
        let Some(next) = self.after.after(event.status) else {
            return;
        };
        if self.after == MessageState::Unknown {
            self.settled_by = match event.source {
                Source::Webhook => Some(SettledBy::Webhook),
                Source::History => Some(SettledBy::History),
                Source::Ours => None,
            };
        }
        self.after = next;
        self.wamid = self.wamid.take().or_else(|| event.wamid.clone());
        let failed = next == MessageState::Failed;
        self.error_code = event.error_code.filter(|_| failed);
        self.error_title = event.error_title.clone().filter(|_| failed);
    }
}

async fn named_events(
    transaction: &mut Transaction,
    shares: &Shares<'_>,
) -> Result<Vec<Event>, StorageError> {
    let (mut tenants, mut ids) = (Vec::new(), Vec::new());
    for (tenant, share) in shares {
        for event in &share.work.events {
            tenants.push(tenant.0);
            ids.push(event.0);
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = transaction.query(EVENTS, &[&tenants, &ids]).await?;
    let mut events = rows.iter().map(Event::read).collect::<Result<Vec<_>, _>>()?;
    events.dedup_by_key(|event| event.id);
    Ok(events)
}

fn columns(keys: &[AttemptKey]) -> (Vec<Uuid>, Vec<Uuid>) {
    keys.iter().map(|(tenant, attempt)| (tenant.0, attempt.0)).unzip()
}

/// The messages that events are about, by the attempts heard of: two attempts may be the same message's.
#[derive(Default)]
struct Targets {
    heard_of: HashMap<AttemptKey, MessageId>,
    messages: BTreeMap<(TenantId, MessageId), Target>,
}

impl Targets {
    fn of(&mut self, key: AttemptKey) -> Option<&mut Target> {
        let message = self.heard_of.get(&key)?;
        self.messages.get_mut(&(key.0, *message))
    }

    fn add(&mut self, rows: &[Row]) -> Result<(), StorageError> {
        for row in rows {
            let (key, target) = Target::read(row)?;
            self.heard_of.insert(key, target.message);
            self.messages.entry((key.0, target.message)).or_insert(target);
        }
        Ok(())
    }
}

async fn targets(transaction: &mut Transaction, keys: &[AttemptKey]) -> Result<Targets, StorageError> {
    let mut targets = Targets::default();
    let (tenants, attempts) = columns(keys);
    targets.add(&transaction.query(TARGETS, &[&tenants, &attempts]).await?)?;
    let missing = |key: &&AttemptKey| !targets.heard_of.contains_key(key);
    let missing: Vec<AttemptKey> = keys.iter().filter(missing).copied().collect();
    if !missing.is_empty() {
        let (tenants, attempts) = columns(&missing);
        targets.add(&transaction.query(EARLIER_TARGETS, &[&tenants, &attempts]).await?)?;
    }
    Ok(targets)
}

async fn settled(
    transaction: &mut Transaction,
    keys: &[AttemptKey],
) -> Result<(HashMap<AttemptKey, Settled>, Plans), StorageError> {
    let (tenants, attempts) = columns(keys);
    let mut found: HashMap<AttemptKey, Settled> = HashMap::new();
    for row in transaction.query(SETTLED, &[&tenants, &attempts]).await? {
        let tenant = TenantId(row.try_get("tenant_id")?);
        let kind: LedgerKind = named(&row, "kind")?;
        let booking = Booking::read(tenant, &row)?;
        let reached = Settlement::of([kind]);
        found
            .entry((tenant, AttemptId(row.try_get("attempt_id")?)))
            .and_modify(|settled| settled.so_far = settled.so_far.max(reached))
            .or_insert(Settled {
                booking,
                plan: PlanId(row.try_get("plan_id")?),
                so_far: reached,
            });
    }
    let plans = plans::by_id(transaction, found.values().map(|settled| settled.plan)).await?;
    Ok((found, plans))
}

impl Settled {
    /// Gives where an event settles it: what Meta bills as another category than was reserved is booked as that.
    fn billed(&self, event: &Event, fact: Fact, plans: &Plans) -> Result<Booking, StorageError> {
        match event.pricing.category {
            Some(category)
                if fact == Fact::DeliveredBillable && category.as_str() != self.booking.category =>
            {
                self.booking.billed_as(category, self.plan, plans)
            }
            _ => Ok(self.booking.clone()),
        }
    }
}

async fn write_moves(transaction: &mut Transaction, moved: &[&Target]) -> Result<(), StorageError> {
    if moved.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = moved.iter().map(|target| target.tenant.0).collect();
    let messages: Vec<Uuid> = moved.iter().map(|target| target.message.0).collect();
    let states: Vec<&str> = moved.iter().map(|target| target.after.as_str()).collect();
    let wamids: Vec<Option<&str>> = moved.iter().map(|target| target.wamid.as_deref()).collect();
    let codes: Vec<Option<i32>> = moved.iter().map(|target| target.error_code).collect();
    let titles: Vec<Option<&str>> = moved.iter().map(|target| target.error_title.as_deref()).collect();
    transaction
        .execute(MOVE, &[&tenants, &messages, &states, &wamids, &codes, &titles])
        .await?;
    let stopped = moved.iter().filter(|target| target.error_code == Some(OPTED_OUT));
    let stopped: Vec<(TenantId, &str)> = stopped
        .map(|target| (target.tenant, target.recipient.as_str()))
        .collect();
    suppress(transaction, &stopped).await?;
    let failed = moved.iter().filter(|target| target.after == MessageState::Failed);
    let failed: Vec<Uuid> = failed.map(|target| target.heard_of.0).collect();
    portfolio::release(transaction, &failed).await
}

/// Puts recipients who stopped marketing messages on their tenants' suppression lists.
pub(super) async fn suppress(
    transaction: &mut Transaction,
    stopped: &[(TenantId, &str)],
) -> Result<(), StorageError> {
    if stopped.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = stopped.iter().map(|(tenant, _)| tenant.0).collect();
    let recipients: Vec<&str> = stopped.iter().map(|(_, recipient)| *recipient).collect();
    transaction
        .execute(SUPPRESS, &[&tenants, &recipients, &STOPPED_MARKETING])
        .await?;
    Ok(())
}

async fn mark_applied(transaction: &mut Transaction, events: &[Event]) -> Result<(), StorageError> {
    let tenants: Vec<Uuid> = events.iter().map(|event| event.tenant.0).collect();
    let ids: Vec<Uuid> = events.iter().map(|event| event.id.0).collect();
    transaction.execute(APPLIED, &[&tenants, &ids]).await?;
    Ok(())
}
