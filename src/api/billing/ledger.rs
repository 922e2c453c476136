//! `GET /v1/ledger`.

use domain::ids::TenantId;
use domain::money::Micros;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::pagination::{Listed, Page};
use crate::api::reply::{self, Answer};
use crate::storage::billing_reads::{self, LedgerEntry};

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct LedgerQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200; 50 if absent.
    limit: Option<i64>,
}

/// A row: units, or money, that moved from one account to another, and what proves it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct LedgerView {
    /// Its place, from 1 without gaps.
    seq: i64,
    /// `reserve`, `capture`, `free`, `void`, `expire`, `recapture`; `adjust` for a correction by hand, `close` for the end of a period.
    kind: String,
    /// The attempt that it settles.
    attempt_id: Option<Uuid>,
    /// The number of its period.
    period: i32,
    /// What the message is billed as.
    category: String,
    /// Where units or money come from.
    debit: String,
    /// Where they go.
    credit: String,
    /// How many units.
    units: i64,
    /// How much money, exactly; null where only units move.
    amount: Option<String>,
    /// The currency of the amount: ISO 4217.
    currency: Option<String>,
    /// The stored event that proves it, or the correction.
    evidence_id: Option<Uuid>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The chain's hash up to this row: SHA-256, hexadecimal.
    hash: String,
}

impl From<LedgerEntry> for LedgerView {
    fn from(entry: LedgerEntry) -> Self {
        let has_money = entry.micros != 0;
        Self {
            seq: entry.seq,
            kind: entry.kind,
            attempt_id: entry.attempt,
            period: entry.period,
            category: entry.category,
            debit: entry.debit,
            credit: entry.credit,
            units: entry.units,
            amount: has_money.then(|| Micros(entry.micros).to_string()),
            currency: has_money.then_some(entry.currency),
            evidence_id: entry.evidence,
            at: entry.at,
            hash: entry.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// Lists ledger rows, the newest first.
#[utoipa::path(get, path = "/v1/ledger", tag = "billing", params(LedgerQuery),
    responses((status = 200, body = crate::api::pagination::Listed<LedgerView>, description = "A page")), security(("api_key" = [])))]
pub(in crate::api) async fn list(context: Context, tenant: TenantId, query: LedgerQuery) -> Answer {
    let page = Page::read(None, query.limit)?;
    let before = query
        .cursor
        .map(|text| {
            text.parse::<i64>()
                .map_err(|_| ApiError::invalid("cursor: use next_cursor of the page before"))
        })
        .transpose()?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let mut found = billing_reads::ledger(&mut transaction, tenant, before, page.one_more()).await?;
    transaction.commit().await?;
    let most = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let has_more = found.len() > most;
    found.truncate(most);
    let next_cursor = found.last().filter(|_| has_more).map(|last| last.seq.to_string());
    reply::ok(&Listed {
        items: found.into_iter().map(LedgerView::from).collect(),
        next_cursor,
    })
}
