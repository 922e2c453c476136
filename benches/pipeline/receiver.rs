//! A bare HTTP server for webhooks: hyper, an HMAC check over the raw bytes, and whatever the caller does with the body.

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use domain::signature::verify_meta;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server that ends when it is dropped; its connections end with their clients.
pub(crate) struct Receiver {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Serves on a free port: checks each delivery against the secret and gives its body to `take`, which says whether to
    /// answer 200.
    pub(crate) async fn start<F, A>(secret: &str, take: F) -> anyhow::Result<Self>
    where
        F: Fn(Bytes) -> A + Send + Sync + 'static,
        A: Future<Output = bool> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (secret, take): (Arc<str>, _) = (secret.into(), Arc::new(take));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&secret), Arc::clone(&take)));
            }
        });
        Ok(Self { address, task })
    }

    /// Where deliveries go.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhooks/meta", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<F, A>(stream: TcpStream, secret: Arc<str>, take: Arc<F>)
where
    F: Fn(Bytes) -> A + Send + Sync + 'static,
    A: Future<Output = bool> + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (secret, take) = (Arc::clone(&secret), Arc::clone(&take));
        async move {
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = answer(request, &secret, &*take).await;
            Ok::<_, Infallible>(response)
        }
    });
    // A client that hangs up is not our failure.
    let _ = stream.set_nodelay(true);
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer<F, A>(request: Request<Incoming>, secret: &str, take: &F) -> StatusCode
where
    F: Fn(Bytes) -> A,
    A: Future<Output = bool>,
{
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return StatusCode::BAD_REQUEST;
    };
    let body = body.to_bytes();
    let signature = head.headers.get("x-hub-signature-256");
    let signature = signature.and_then(|value| value.to_str().ok());
    if verify_meta(&[secret.as_bytes()], signature, &body).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    if take(body).await {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
