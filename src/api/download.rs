//! Files that are written while they are read: a page at a time, so that neither a long one nor a slow reader takes memory.

use std::io;

use bytes::Bytes;
use domain::ids::TenantId;
use futures_util::stream;
use tokio::sync::mpsc;
use warp::Reply as _;
use warp::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

use crate::storage::StorageError;

/// Pages that wait for a slow reader.
const PAGES_WAITING: usize = 2;

/// Where pages go. A page that is refused has no reader any more.
pub(super) type Pages = mpsc::Sender<Result<Bytes, io::Error>>;

/// Answers with a file of this name; `write` gives its pages, and ends when the reader has gone. When it fails, the connection breaks, so
/// that the reader sees that the file is not whole.
pub(super) fn download<W>(
    tenant: TenantId,
    name: String,
    media_type: &'static str,
    write: impl FnOnce(Pages) -> W,
) -> Response
where
    W: Future<Output = Result<(), StorageError>> + Send + 'static,
{
    let (pages, mut receiver) = mpsc::channel(PAGES_WAITING);
    let writing = write(pages.clone());
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    tokio::spawn(async move {
        if let Err(error) = writing.await {
            tracing::warn!(tenant.id = %tenant, file = name, %error, "a download broke off");
            let _ = pages.send(Err(io::Error::other(error))).await;
        }
    });
    let body = stream::poll_fn(move |context| receiver.poll_recv(context));
    let mut response = warp::reply::stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(disposition) = disposition {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}
