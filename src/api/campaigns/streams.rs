//! The routes of campaigns that stream: recipients in, progress out.

use bytes::Bytes;
use domain::ids::{CampaignId, TenantId};
use futures_util::{Stream, StreamExt as _};
use uuid::Uuid;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::sse::Event;
use warp::{Buf, Filter as _, Reply as _};

use super::commands;
use super::shapes::{ProgressEvent, ProgressView};
use crate::api::authentication::{Scope, tenant};
use crate::api::context::Context;
use crate::api::error::{ApiError, Code};
use crate::api::limits::UPLOAD_PAUSE_LONGEST;
use crate::api::refused::Refused;
use crate::api::reply::{self, Answer, finish};
use crate::api::upload::{FileFormat, UploadReport, add_stream};

/// The routes that stream.
pub(in crate::api) fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let with = context.clone();
    let with = warp::any().map(move || with.clone());
    let recipients = warp::path!("v1" / "campaigns" / Uuid / "recipients")
        .and(warp::post())
        .and(tenant(context, Scope::Campaigns))
        .and(warp::header::optional::<String>("content-type"))
        .and(warp::body::stream())
        .and(with.clone())
        .then(|id, tenant, form: Option<String>, body, context| async move {
            finish(upload(context, tenant, id, form.as_deref(), body).await)
        })
        .boxed();
    let events = warp::path!("v1" / "campaigns" / Uuid / "events")
        .and(warp::get())
        .and(tenant(context, Scope::Campaigns))
        .and(with)
        .then(|id, tenant, context| async move { finish(events(context, tenant, id).await) })
        .boxed();
    recipients.or(events).unify().boxed()
}

/// Adds recipients to a draft, as they arrive: CSV with a header and a column `recipient`, or a JSON object a line. The other
/// columns are values; those that the template asks for are kept. Uploading a file again adds nothing twice.
#[utoipa::path(post, path = "/v1/campaigns/{id}/recipients", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body(content((String = "text/csv"), (String = "application/x-ndjson"))),
    responses((status = 200, body = UploadReport), (status = 404, description = "There is no such campaign"),
        (status = 409, description = "It is not a draft any more"), (status = 415, description = "Neither CSV nor NDJSON"),
        (status = 422, description = "The file cannot be read to its end; good rows before are kept")),
    security(("api_key" = [])))]
pub(in crate::api) async fn upload<B: Buf + Send + 'static>(
    context: Context,
    tenant: TenantId,
    id: Uuid,
    form: Option<&str>,
    body: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
) -> Answer {
    let format = format_of(form)?;
    let campaign = CampaignId(id);
    let rows = commands::row_reader(&context.app_rw, tenant, campaign).await?;
    let body = without_long_pauses(body).map(|part| {
        let mut part = part?;
        Ok::<Bytes, std::io::Error>(part.copy_to_bytes(part.remaining()))
    });
    let report = add_stream(&context.app_rw, tenant, campaign, rows, format, body).await;
    reply::ok(&report.map_err(Refused::from)?)
}

/// Ends an upload with an error when nothing more comes in for too long.
fn without_long_pauses<B>(
    body: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
) -> impl Stream<Item = std::io::Result<B>> + Send + 'static {
    futures_util::stream::try_unfold(Box::pin(body), |mut body| async move {
        let part = tokio::time::timeout(UPLOAD_PAUSE_LONGEST, body.next()).await;
        let part = part.map_err(|_| std::io::Error::other("nothing more came in for a minute"))?;
        let part = part.transpose().map_err(std::io::Error::other)?;
        Ok(part.map(|part| (part, body)))
    })
}

fn format_of(form: Option<&str>) -> Result<FileFormat, ApiError> {
    let named = form
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    match named.to_ascii_lowercase().as_str() {
        "text/csv" => Ok(FileFormat::Csv),
        "application/x-ndjson" | "application/ndjson" => Ok(FileFormat::NdJson),
        _ => Err(ApiError::new(
            Code::UnsupportedMediaType,
            "recipients come as text/csv or application/x-ndjson (Content-Type)",
        )),
    }
}

/// Streams a campaign's progress as server-sent events `progress`: at once, then whenever it changed within a second. Ends
/// when the campaign is over and nothing of it is left to send.
#[utoipa::path(get, path = "/v1/campaigns/{id}/events", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = ProgressEvent, content_type = "text/event-stream",
        description = "Events `progress`; the data of each is JSON with the campaign's id, state, reason and counts"),
        (status = 404, description = "There is no such campaign")), security(("api_key" = [])))]
pub(in crate::api) async fn events(context: Context, tenant: TenantId, id: Uuid) -> Answer {
    let campaign = commands::stored(&context.app_rw, tenant, CampaignId(id)).await?;
    let progress = context.progress.watch(&campaign);
    let progress = progress.ok_or(Refused::Busy(
        "too many campaigns are watched here; come again later",
    ))?;
    let events = progress.map(|progress| {
        Event::default()
            .event("progress")
            .json_data(ProgressView::from(progress))
    });
    Ok(warp::sse::reply(warp::sse::keep_alive().stream(events)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_an_upload_may_carry_parameters() {
        assert_eq!(format_of(Some("text/csv; charset=utf-8")), Ok(FileFormat::Csv));
        assert_eq!(format_of(Some("application/x-ndjson")), Ok(FileFormat::NdJson));
        assert_eq!(
            format_of(None).map_err(|error| error.code),
            Err(Code::UnsupportedMediaType)
        );
    }
}
