//! `GET /v1/ledger/export`: all rows of a period with what proves each, streamed.

use domain::ids::TenantId;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::context::Context;
use crate::api::download::{Pages, download};
use crate::api::error::ApiError;
use crate::api::reply::Answer;
use crate::statements::{LedgerForm, LedgerPages};
use crate::storage::{Database, StorageError, ledger_lines};

/// Which period, and in which form.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ExportQuery {
    /// The number of the period, as invoices name it.
    period: i32,
    /// `csv` or `ndjson`; `csv` if absent.
    format: Option<String>,
}

/// Streams the ledger's rows of a period in their order, each with its message and with the status by which Meta bills it or does not:
/// the captured units of a segment and a pool are the quantities of the invoice's lines.
#[utoipa::path(get, path = "/v1/ledger/export", tag = "billing", params(ExportQuery),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))),
        (status = 404, description = "There is no such period")), security(("api_key" = [])))]
pub(in crate::api) async fn export(context: Context, tenant: TenantId, query: ExportQuery) -> Answer {
    let form = query.format.as_deref().unwrap_or("csv").parse::<LedgerForm>();
    let form = form.map_err(|error| ApiError::invalid(error.to_string()))?;
    let mut transaction = context.app_rw.begin_for(tenant).await?;
    let is_there = ledger_lines::has_period(&mut transaction, tenant, query.period).await?;
    transaction.commit().await?;
    if !is_there {
        return Err(ApiError::not_found("period"));
    }
    let (database, rows) = (context.app_rw, LedgerPages::new(tenant, query.period, form));
    let name = format!("ledger-{}.{}", query.period, form.ending());
    let write = |pages| async move { write_pages(&database, tenant, rows, &pages).await };
    Ok(download(tenant, name, form.media_type(), write))
}

/// Writes a page at a time, each read in a transaction of its own: rows never change. Ends when the reader has gone.
async fn write_pages(
    database: &Database,
    tenant: TenantId,
    mut rows: LedgerPages,
    pages: &Pages,
) -> Result<(), StorageError> {
    loop {
        let mut transaction = database.begin_for(tenant).await?;
        let page = rows.next(&mut transaction).await?;
        transaction.commit().await?;
        let Some(page) = page else { return Ok(()) };
        if pages.send(Ok(page)).await.is_err() {
            return Ok(());
        }
    }
}
