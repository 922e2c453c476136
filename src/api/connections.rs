//! Connections of a listener: so many at once, each with time limits, all ended in order.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use warp::http::Request;
use warp::reply::Response;

use super::limits::{CONNECTIONS_MOST, HEADERS_LONGEST, HEADERS_MOST};

/// The wait after the system had no room for a connection.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Takes connections until `stop` and has their requests answered, then waits for the requests under way.
pub(super) async fn accept<Answer, Answering>(listener: TcpListener, stop: CancellationToken, answer: Answer)
where
    Answer: Fn(IpAddr, Request<Incoming>) -> Answering + Clone + Send + 'static,
    Answering: Future<Output = Response> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MOST));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            // Past the limit the system keeps them waiting.
            let place = Arc::clone(&connections).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        let connection = graceful.watch(connection(stream, peer.ip(), answer.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

fn connection<Answer, Answering>(
    stream: TcpStream,
    peer: IpAddr,
    answer: Answer,
) -> impl GracefulConnection<Error = hyper::Error> + Send
where
    Answer: Fn(IpAddr, Request<Incoming>) -> Answering + Send + 'static,
    Answering: Future<Output = Response> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answering = answer(peer, request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_LONGEST)
        .max_headers(HEADERS_MOST)
        .serve_connection(TokioIo::new(stream), service)
}
