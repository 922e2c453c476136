//! `GET /v1/campaigns/{id}/report` and `/failures`: what became of each recipient, and why messages ended badly.

use bytes::Bytes;
use domain::causes::cause;
use domain::ids::{CampaignId, TenantId};
use domain::message::MessageState;
use domain::money::Micros;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::commands::{found, stored};
use crate::api::authentication::{Scope, tenant};
use crate::api::context::Context;
use crate::api::download::{Pages, download};
use crate::api::refused::{Refused, end};
use crate::api::reply::{self, Answer, finish};
use crate::spreadsheet::harmless;
use crate::storage::reports::{self, FailureGroup, PeriodPrice, ReportRow};
use crate::storage::{Database, StorageError};

const HEADER: [&str; 16] = [
    "recipient",
    "message_id",
    "state",
    "cause_code",
    "cause_class",
    "cause_reason",
    "advice",
    "attempts",
    "wamid",
    "sent_at",
    "delivered_at",
    "read_at",
    "billing",
    "units",
    "cost",
    "currency",
];

/// Messages that ended badly for the same cause.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct FailureView {
    /// `failed`, `dead` or `unknown`.
    state: &'static str,
    /// Meta's error code, if Meta answered.
    code: Option<i32>,
    /// The error's class.
    class: &'static str,
    /// What was said about one of them.
    reason: Option<String>,
    /// How many.
    count: i64,
    /// Their part of all recipients, in percent.
    share_percent: f64,
    /// What to do.
    advice: &'static str,
    /// Whether `POST /v1/dead-letters/replay` repeats them.
    replayable: bool,
    /// Some of the messages.
    example_message_ids: Vec<Uuid>,
}

/// What ended badly in a campaign, by cause.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct FailuresView {
    /// How many messages are `failed`, `dead` or `unknown`.
    total: i64,
    /// How many of them a replay would repeat.
    replayable: i64,
    /// What to post to `/v1/dead-letters/replay` to repeat those, and only those; none if there are none.
    #[schema(value_type = Option<Object>)]
    replay: Option<serde_json::Value>,
    /// The causes, the most frequent first.
    causes: Vec<FailureView>,
}

/// The routes.
pub(super) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let failures = warp::path!("v1" / "campaigns" / Uuid / "failures")
        .and(warp::get())
        .and(tenant(context, Scope::Campaigns))
        .and(with.clone())
        .then(|id, tenant, context| async move { finish(failures(context, tenant, id).await) })
        .boxed();
    let report = warp::path!("v1" / "campaigns" / Uuid / "report")
        .and(warp::get())
        .and(tenant(context, Scope::Campaigns))
        .and(with)
        .then(|id, tenant, context| async move { finish(report(context, tenant, id).await) })
        .boxed();
    failures.or(report).unify().boxed()
}

/// Groups what ended badly by cause, with what to do about each and which of them a replay repeats.
#[utoipa::path(get, path = "/v1/campaigns/{id}/failures", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = FailuresView), (status = 404, description = "There is no such campaign")),
    security(("api_key" = [])))]
pub(in crate::api) async fn failures(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    reply::ok(&read_failures(&context.app_rw, tenant, CampaignId(id)).await?)
}

async fn read_failures(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
) -> Result<FailuresView, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let read = async {
        let campaign = found(&mut transaction, tenant, campaign).await?;
        let groups = reports::failures(&mut transaction, tenant, campaign.id).await?;
        Ok::<_, Refused>((campaign, groups))
    }
    .await;
    let (campaign, mut groups) = end(transaction, read).await?;
    for state in [MessageState::Failed, MessageState::Dead, MessageState::Unknown] {
        groups.extend(without_words(state, campaign.counts[state], &groups));
    }
    Ok(view(campaign.id, campaign.counts.total(), &groups))
}

/// Those of a state about whom Meta said nothing at all.
fn without_words(state: MessageState, count: i64, groups: &[FailureGroup]) -> Option<FailureGroup> {
    let explained: i64 = groups
        .iter()
        .filter(|group| group.state == state)
        .map(|group| group.count)
        .sum();
    (count > explained).then(|| FailureGroup {
        state,
        code: None,
        reason: None,
        count: count - explained,
        examples: Vec::new(),
    })
}

fn view(campaign: CampaignId, recipients: i64, groups: &[FailureGroup]) -> FailuresView {
    let causes: Vec<FailureView> = groups
        .iter()
        .map(|group| {
            let cause = cause(group.state, group.code);
            FailureView {
                state: group.state.as_str(),
                code: group.code,
                class: cause.class,
                reason: group.reason.clone(),
                count: group.count,
                share_percent: (group.count as f64 * 10_000.0 / recipients.max(1) as f64).round() / 100.0,
                advice: cause.advice,
                replayable: cause.is_replayable,
                example_message_ids: group.examples.iter().map(|message| message.0).collect(),
            }
        })
        .collect();
    let replayable = causes
        .iter()
        .filter(|cause| cause.replayable)
        .map(|cause| cause.count)
        .sum();
    FailuresView {
        total: causes.iter().map(|cause| cause.count).sum(),
        replayable,
        replay: (replayable > 0).then(|| serde_json::json!({"campaign_id": campaign.0})),
        causes,
    }
}

/// Streams a row of CSV per recipient: state, cause, advice, attempts, Meta's times, and what it cost. The units of all attempts count;
/// a unit costs nothing while the plan's allowance covers it, and the plan's price for each unit that was used after the allowance,
/// in the order of the ledger.
#[utoipa::path(get, path = "/v1/campaigns/{id}/report", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = String, content_type = "text/csv"),
        (status = 404, description = "There is no such campaign")), security(("api_key" = [])))]
pub(in crate::api) async fn report(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    let campaign = stored(&context.app_rw, tenant, CampaignId(id)).await?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let prices = reports::prices(&mut transaction, tenant, campaign.created_at).await?;
    transaction.commit().await?;
    let (database, name) = (context.app_rw, format!("campaign-{}.csv", campaign.id));
    let write = |pages| async move { write_pages(&database, tenant, campaign.id, &prices, &pages).await };
    Ok(download(tenant, name, "text/csv; charset=utf-8", write))
}

/// Reads and writes a page at a time, each in a transaction of its own; ends when the reader has gone.
async fn write_pages(
    database: &Database,
    tenant: TenantId,
    campaign: CampaignId,
    prices: &[PeriodPrice],
    pages: &Pages,
) -> Result<(), StorageError> {
    let currency = prices.last().map_or("", |price| price.currency.as_str());
    let mut page = csv_of(&[], currency, true)?;
    let mut after = String::new();
    loop {
        if pages.send(Ok(page)).await.is_err() {
            return Ok(());
        }
        let mut transaction = database.begin_for(tenant).await?;
        let rows = reports::page(&mut transaction, tenant, campaign, &after, prices).await?;
        transaction.commit().await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after.clone_from(&last.recipient);
        page = csv_of(&rows, currency, false)?;
    }
}

fn csv_of(rows: &[ReportRow], currency: &str, with_header: bool) -> Result<Bytes, StorageError> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    if with_header {
        writer.write_record(HEADER).map_err(StorageError::nonsense)?;
    }
    for row in rows {
        writer
            .write_record(fields(row, currency))
            .map_err(StorageError::nonsense)?;
    }
    writer
        .into_inner()
        .map(Bytes::from)
        .map_err(StorageError::nonsense)
}

fn fields(row: &ReportRow, currency: &str) -> [String; 16] {
    let ended = matches!(
        row.state,
        MessageState::Failed | MessageState::Dead | MessageState::Unknown
    );
    let cause = ended.then(|| cause(row.state, row.code));
    let time = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    [
        harmless(&row.recipient),
        row.message.0.to_string(),
        row.state.as_str().to_owned(),
        row.code.map(|code| code.to_string()).unwrap_or_default(),
        cause.map(|cause| cause.class.to_owned()).unwrap_or_default(),
        harmless(row.reason.as_deref().unwrap_or_default()),
        cause.map(|cause| cause.advice.to_owned()).unwrap_or_default(),
        row.attempts.to_string(),
        harmless(row.wamid.as_deref().unwrap_or_default()),
        time(row.sent_at),
        time(row.delivered_at),
        time(row.read_at),
        row.settlement.clone().unwrap_or_default(),
        row.units.to_string(),
        decimal(row.cost),
        currency.to_owned(),
    ]
}

/// Writes an amount exactly, with all six digits of a micro.
fn decimal(amount: Micros) -> String {
    let sign = if amount.0 < 0 { "-" } else { "" };
    let micros = amount.0.unsigned_abs();
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use domain::ids::MessageId;

    use super::*;

    fn row(recipient: &str, reason: &str) -> ReportRow {
        ReportRow {
            recipient: recipient.to_owned(),
            message: MessageId(Uuid::nil()),
            state: MessageState::Failed,
            code: Some(131_026),
            reason: Some(reason.to_owned()),
            attempts: 1,
            wamid: None,
            sent_at: None,
            delivered_at: None,
            read_at: None,
            settlement: Some("voided".to_owned()),
            units: 0,
            cost: Micros(50_000),
        }
    }

    #[test]
    fn a_report_is_quoted_and_no_spreadsheet_runs_it() {
        let rows = [row("+351910000000", "=HYPERLINK(\"evil\"), \"quoted\"\nline")];
        let text = csv_of(&rows, "EUR", true).expect("written");
        let mut reader = csv::Reader::from_reader(&text[..]);
        assert_eq!(reader.headers().expect("a header").len(), HEADER.len());
        let read = reader.records().next().expect("a row").expect("well formed");
        assert_eq!(&read[0], "+351910000000");
        assert_eq!(&read[5], "'=HYPERLINK(\"evil\"), \"quoted\"\nline");
        assert_eq!(
            (&read[4], &read[14], &read[15]),
            ("recipient_terminal", "0.050000", "EUR")
        );
        assert_eq!(harmless("-1+1"), "'-1+1");
        assert_eq!(harmless("+1+cmd"), "'+1+cmd");
    }

    #[test]
    fn failures_add_up_and_only_the_safe_are_offered() {
        let group = |state, code, count| FailureGroup {
            state,
            code,
            reason: Some("why".to_owned()),
            count,
            examples: vec![MessageId(Uuid::nil())],
        };
        let mut groups = vec![
            group(MessageState::Dead, Some(131_000), 7),
            group(MessageState::Failed, Some(131_026), 2),
        ];
        groups.extend(without_words(MessageState::Failed, 3, &groups));
        let view = view(CampaignId(Uuid::nil()), 100, &groups);
        assert_eq!((view.total, view.replayable), (10, 7));
        assert!(view.replay.is_some());
        assert_eq!(
            view.causes.iter().map(|cause| cause.count).collect::<Vec<_>>(),
            [7, 2, 1]
        );
        assert!((view.causes[0].share_percent - 7.0).abs() < 1e-9);
    }
}
