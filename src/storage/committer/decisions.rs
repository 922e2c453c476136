//! One transaction for the decisions of many tenants: fence, facts, claims, ledger, head.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use actors::ports::{BillingHead, Claimed, CommitError, Committed, TenantCommit};
use domain::ids::{AttemptId, CampaignId, SenderId, TenantId};
use domain::ledger::Entry;
use domain::partition::Epoch;
use domain::unknown::SettledBy;
use jiff::Timestamp;
use uuid::Uuid;

use super::chain::{self, Chain};
use super::period::{Booking, OpenPeriod, open_periods};
use super::portfolio::Limited;
use super::rows::NewRows;
use super::templates::Templates;
use super::{claims, events};
use crate::storage::count_changes::{CountChanges, Writer};
use crate::storage::{Database, StorageError, Transaction};

type Answer = Result<Committed, CommitError>;

/// A tenant's part of the transaction.
pub(super) struct Share<'a> {
    pub(super) work: &'a TenantCommit,
    pub(super) period: OpenPeriod,
    pub(super) claimed: Vec<Claimed>,
    pub(super) events_applied: usize,
    /// Numbers whose portfolio is exhausted, until then.
    pub(super) held: BTreeMap<SenderId, Timestamp>,
    /// Messages that were unknown, by what settled them.
    pub(super) settled: BTreeMap<SettledBy, usize>,
    /// Campaigns whose category's pool is used up.
    pub(super) blocked: BTreeSet<CampaignId>,
    chain: Chain,
}

/// What a transaction gathers to write at its end.
pub(super) struct Pages {
    pub(super) now: Timestamp,
    pub(super) counts: CountChanges,
    rows: NewRows,
}

impl Share<'_> {
    /// Adds a ledger row of this tenant, and counts it against the plan if it belongs to the open period.
    pub(super) fn add_row(
        &mut self,
        pages: &mut Pages,
        (from, to): (&Booking, &Booking),
        attempt: AttemptId,
        entry: Entry,
        evidence: Option<Uuid>,
    ) {
        let (leaves, enters) = entry.change.split();
        self.period.count(from, leaves.held, leaves.captured);
        self.period.count(to, enters.held, enters.captured);
        pages
            .rows
            .add(&mut self.chain, (from, to), attempt, entry, evidence, pages.now);
    }
}

/// Commits the work of several tenants, each on its own terms: the failure of one leaves the others' parts whole.
pub(super) async fn commit(
    database: Database,
    templates: Arc<Templates>,
    limited: Arc<Limited>,
    work: Vec<TenantCommit>,
) -> Vec<Answer> {
    match try_commit(&database, &templates, &limited, &work).await {
        Ok(answers) => answers,
        Err(StorageError::Unavailable(reason)) => work
            .iter()
            .map(|_| Err(CommitError::Unavailable(reason.clone())))
            .collect(),
        Err(error) if work.len() == 1 => vec![Err(CommitError::Broken(error.to_string()))],
        Err(_) => one_by_one(&database, &templates, &limited, &work).await,
    }
}

/// Somebody's rows make no sense: find out whose, and let the others go on.
async fn one_by_one(
    database: &Database,
    templates: &Templates,
    limited: &Limited,
    work: &[TenantCommit],
) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(work.len());
    for one in work {
        let alone = try_commit(database, templates, limited, std::slice::from_ref(one)).await;
        answers.push(match alone {
            Ok(mut answer) => answer.swap_remove(0),
            Err(StorageError::Unavailable(reason)) => Err(CommitError::Unavailable(reason)),
            Err(error) => Err(CommitError::Broken(error.to_string())),
        });
    }
    answers
}

async fn try_commit(
    database: &Database,
    templates: &Templates,
    limited: &Limited,
    work: &[TenantCommit],
) -> Result<Vec<Answer>, StorageError> {
    let mut transaction = database.begin().await?;
    let now = to_microseconds(Timestamp::now());
    let tenants: Vec<Uuid> = work.iter().map(|one| one.tenant.0).collect();
    let heads = chain::lock_all(&mut transaction, &tenants).await?;
    let periods = open_periods(
        &mut transaction,
        &heads.keys().map(|tenant| tenant.0).collect::<Vec<_>>(),
        now,
    )
    .await?;
    let mut shares = BTreeMap::new();
    let mut answers: Vec<Option<Answer>> = Vec::with_capacity(work.len());
    for one in work {
        match verdict(one, &heads, &periods) {
            Ok(_) if shares.contains_key(&one.tenant) => {
                let reason = "another commit of this tenant is under way".to_owned();
                answers.push(Some(Err(CommitError::Unavailable(reason))));
            }
            Ok(share) => {
                shares.insert(one.tenant, share);
                answers.push(None);
            }
            Err(refusal) => answers.push(Some(Err(refusal))),
        }
    }
    let mut pages = Pages {
        now,
        counts: CountChanges::default(),
        rows: NewRows::default(),
    };
    events::apply(&mut transaction, &mut shares, &mut pages).await?;
    claims::claim(&mut transaction, (templates, limited), &mut shares, &mut pages).await?;
    pages.rows.write(&mut transaction, now).await?;
    warn(&mut transaction, &shares, now).await?;
    pages.counts.write(&mut transaction, Writer::Committer).await?;
    move_heads(&mut transaction, &shares).await?;
    transaction.commit().await?;
    let mut done = shares
        .into_iter()
        .map(|(tenant, share)| (tenant, committed(share)))
        .collect::<HashMap<_, _>>();
    Ok(answers
        .into_iter()
        .zip(work)
        .map(|(answer, one)| answer.unwrap_or_else(|| done.remove(&one.tenant).map_or_else(lost, Ok)))
        .collect())
}

const WARN: &str = "INSERT INTO usage_warnings (tenant_id, period, segment, pool, measure, percent, at)
    SELECT w.*, $7 FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::text[], $6::smallint[]) AS w
    ON CONFLICT DO NOTHING";

/// Writes the shares of allowances that were reached, each once.
async fn warn(
    transaction: &mut Transaction,
    shares: &BTreeMap<TenantId, Share<'_>>,
    now: Timestamp,
) -> Result<(), StorageError> {
    let mut reached = Vec::new();
    for (tenant, share) in shares {
        let place = (tenant.0, share.period.number, share.period.segment);
        reached.extend(
            share
                .period
                .warnings()?
                .into_iter()
                .map(|warning| (place, warning)),
        );
    }
    if reached.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = reached.iter().map(|(place, _)| place.0).collect();
    let periods: Vec<i32> = reached.iter().map(|(place, _)| place.1).collect();
    let segments: Vec<i32> = reached.iter().map(|(place, _)| place.2).collect();
    let pools: Vec<&str> = reached.iter().map(|(_, warning)| warning.pool).collect();
    let measures: Vec<&str> = reached.iter().map(|(_, warning)| warning.measure).collect();
    let percents: Vec<i16> = reached
        .iter()
        .map(|(_, warning)| i16::from(warning.percent))
        .collect();
    transaction
        .execute(
            WARN,
            &[&tenants, &periods, &segments, &pools, &measures, &percents, &now],
        )
        .await?;
    Ok(())
}

fn lost() -> Answer {
    Err(CommitError::Broken(
        "a share of the commit has no answer".to_owned(),
    ))
}

fn committed(share: Share<'_>) -> Committed {
    Committed {
        head: share.period.head(share.chain.seq),
        claimed: share.claimed,
        events_applied: share.events_applied,
        held: share.held.into_iter().collect(),
        settled: share.settled.into_iter().collect(),
        blocked: share.blocked.into_iter().collect(),
    }
}

fn verdict<'a>(
    work: &'a TenantCommit,
    heads: &HashMap<TenantId, Chain>,
    periods: &HashMap<TenantId, OpenPeriod>,
) -> Result<Share<'a>, CommitError> {
    let (Some(head), Some(period)) = (heads.get(&work.tenant), periods.get(&work.tenant)) else {
        return Err(CommitError::Broken(format!(
            "tenant {} has no ledger",
            work.tenant
        )));
    };
    if head.epoch != work.epoch {
        return Err(CommitError::EpochGone { current: head.epoch });
    }
    if head.seq != work.expected_seq {
        return Err(CommitError::HeadMoved {
            head: period.head(head.seq),
        });
    }
    Ok(Share {
        work,
        period: period.clone(),
        claimed: Vec::new(),
        events_applied: 0,
        held: BTreeMap::new(),
        settled: BTreeMap::new(),
        blocked: BTreeSet::new(),
        chain: head.clone(),
    })
}

async fn move_heads(
    transaction: &mut Transaction,
    shares: &BTreeMap<TenantId, Share<'_>>,
) -> Result<(), StorageError> {
    let moved: Vec<&Chain> = shares
        .values()
        .filter(|share| share.chain.seq != share.work.expected_seq)
        .map(|share| &share.chain)
        .collect();
    chain::store(transaction, &moved).await
}

/// Raises a tenant's epoch and reads its head. Waits for the old owner's open transaction.
pub(super) async fn take_over(
    database: &Database,
    tenant: TenantId,
    epoch: Epoch,
) -> Result<BillingHead, CommitError> {
    let answer = try_take_over(database, tenant, epoch).await;
    answer.unwrap_or_else(|error| {
        Err(match error {
            StorageError::Unavailable(reason) => CommitError::Unavailable(reason),
            broken => CommitError::Broken(broken.to_string()),
        })
    })
}

async fn try_take_over(
    database: &Database,
    tenant: TenantId,
    epoch: Epoch,
) -> Result<Result<BillingHead, CommitError>, StorageError> {
    let mut transaction = database.begin().await?;
    let Some(head) = chain::lock(&mut transaction, tenant).await? else {
        transaction.rollback().await?;
        return Ok(Err(CommitError::Broken(format!("tenant {tenant} has no ledger"))));
    };
    if head.epoch > epoch {
        transaction.rollback().await?;
        return Ok(Err(CommitError::EpochGone { current: head.epoch }));
    }
    let mut periods = open_periods(&mut transaction, &[tenant.0], Timestamp::now()).await?;
    transaction
        .execute(
            "UPDATE billing_head SET epoch = $2 WHERE tenant_id = $1",
            &[&tenant.0, &epoch.0],
        )
        .await?;
    transaction.commit().await?;
    let period = periods
        .remove(&tenant)
        .ok_or_else(|| StorageError::nonsense("a tenant without an open period"))?;
    Ok(Ok(period.head(head.seq)))
}

/// Cuts a time to what PostgreSQL keeps of it, since the ledger's hashes cover it.
pub(super) fn to_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
