//! Measures how many messages per second one simulator accepts and tells, over loopback.
//!
//! `cargo run --release -p simulator --example throughput -- 100000 32 100` sends 100,000 messages over
//! 32 connections and lets up to 100 statuses share a webhook.
//! Simulator and callback share one thread, the clients have another.

use std::convert::Infallible;
use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use simulator::{Config, Simulator};
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let argument = |place: usize, default: u32| {
        std::env::args()
            .nth(place)
            .map_or(Ok(default), |text| text.parse())
    };
    let (messages, connections, batch) = (argument(1, 100_000)?, argument(2, 32)?, argument(3, 100)?);
    let serving = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let sending = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let simulator = serving.block_on(serving.spawn(start(batch)))??;
    let (address, started) = (simulator.address(), Instant::now());
    sending.block_on(async {
        let share = messages / connections;
        let clients: Vec<_> = (0..connections)
            .map(|n| tokio::spawn(client(address.to_string(), n * share, share)))
            .collect();
        for client in clients {
            client.await??;
        }
        Ok::<_, Failure>(())
    })?;
    let accepting = started.elapsed();
    let idle = serving.block_on(simulator.wait_until_idle(Duration::from_mins(5)));
    report(&simulator, accepting, started.elapsed(), idle);
    Ok(())
}

fn report(simulator: &Simulator, accepting: Duration, total: Duration, idle: bool) {
    let truth = simulator.truth();
    let per_second = |count: u64, time: Duration| count as f64 / time.as_secs_f64();
    println!(
        "accepted {} in {accepting:.2?}: {:.0} per second",
        truth.accepted,
        per_second(truth.accepted, accepting)
    );
    println!(
        "statuses {} in {total:.2?}: {:.0} per second",
        truth.webhooks_sent,
        per_second(truth.webhooks_sent, total)
    );
    println!("idle {idle}, {truth:?}");
}

async fn start(batch: u32) -> Result<Simulator, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let callback = Some(format!("http://{}/", listener.local_addr()?));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(take)));
        }
    });
    Ok(Simulator::start(Config {
        number_rate: 0,
        callback,
        webhook_batch: batch as usize,
        ..Config::for_tests()
    })
    .await?)
}

async fn take(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await; // What it says does not matter here.
    Ok(Response::new(Full::default()))
}

async fn client(address: String, first: u32, count: u32) -> Result<(), Failure> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    for n in first..first + count {
        let body = format!(
            r#"{{"messaging_product":"whatsapp","to":"55119{n:08}","type":"template","biz_opaque_callback_data":"0190c8f0-7d0c-7000-8000-{n:012}","template":{{"name":"order_update","language":{{"code":"en_US"}},"components":[{{"type":"body","parameters":[{{"type":"text","text":"{n}"}}]}}]}}}}"#
        );
        let request = Request::post("/v26.0/106540352242922/messages")
            .header("Host", &address)
            .header("Authorization", "Bearer token")
            .body(Full::new(Bytes::from(body)))?;
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.into_body().collect().await?;
    }
    Ok(())
}
