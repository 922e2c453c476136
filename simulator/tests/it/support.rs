//! A small client, and a callback that remembers what it was told.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use sha2::Sha256;
use simulator::{Config, Simulator};

pub(crate) const NUMBER: &str = "106540352242922";
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A simulator and a client of it.
pub(crate) struct Bench {
    pub(crate) simulator: Simulator,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn code(&self) -> u64 {
        self.json()["error"]["code"]
            .as_u64()
            .unwrap_or_else(|| panic!("no error: {}", self.text))
    }

    pub(crate) fn message_id(&self) -> String {
        self.json()["messages"][0]["id"]
            .as_str()
            .unwrap_or_else(|| panic!("no id: {}", self.text))
            .to_owned()
    }
}

impl Bench {
    pub(crate) async fn start(config: Config) -> Self {
        let simulator = Simulator::start(config).await.unwrap();
        Self {
            simulator,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// `None` means that the connection closed without an answer.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: String,
    ) -> Option<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.simulator.base_url()));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let answer = self
            .client
            .request(request.body(Full::from(body)).unwrap())
            .await
            .ok()?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.ok()?.to_bytes();
        Some(Answer {
            status,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Some("token"), String::new())
            .await
            .unwrap()
    }

    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call(method, &format!("/_control/{path}"), None, body.to_string())
            .await
            .unwrap()
    }

    pub(crate) async fn post(&self, body: impl ToString) -> Option<Answer> {
        self.call(
            "POST",
            &format!("/v26.0/{NUMBER}/messages"),
            Some("token"),
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn send(&self, to: &str) -> Answer {
        self.post(template(to)).await.expect("an answer")
    }

    pub(crate) async fn idle(&self) {
        assert!(
            self.simulator.wait_until_idle(LONG).await,
            "not idle: {:?}",
            self.simulator.truth()
        );
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waits = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, waits).await.is_ok(), "never: {what}");
}

/// A send request for the built-in template.
pub(crate) fn template(to: &str) -> Value {
    json!({
        "messaging_product": "whatsapp", "to": to, "type": "template", "biz_opaque_callback_data": format!("our-{to}"),
        "template": {"name": "order_update", "language": {"code": "en_US"},
            "components": [{"type": "body", "parameters": [{"type": "text", "text": "77"}]}]},
    })
}

/// One request that came in.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) signature: String,
    pub(crate) body: Bytes,
    pub(crate) answered: u16,
}

/// A callback that fails the first so many requests with 500.
#[derive(Clone)]
pub(crate) struct Callback {
    pub(crate) url: String,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
}

impl Callback {
    pub(crate) async fn start(failures: u32) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks", listener.local_addr().unwrap());
        let (deliveries, left) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicU32::new(failures)),
        );
        let callback = Self {
            url,
            deliveries: Arc::clone(&deliveries),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (deliveries, left) = (Arc::clone(&deliveries), Arc::clone(&left));
                let service =
                    service_fn(move |request| receive(request, Arc::clone(&deliveries), Arc::clone(&left)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        callback
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }

    /// Every status in the requests that were answered with 200, in order of arrival.
    pub(crate) fn statuses(&self) -> Vec<Value> {
        let values = self
            .deliveries()
            .into_iter()
            .filter(|delivery| delivery.answered == 200);
        values.flat_map(|delivery| statuses_of(&delivery.body)).collect()
    }

    /// The names of those statuses.
    pub(crate) fn names(&self) -> Vec<String> {
        self.statuses()
            .iter()
            .map(|status| status["status"].as_str().unwrap().to_owned())
            .collect()
    }
}

pub(crate) fn statuses_of(body: &[u8]) -> Vec<Value> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let entries = body["entry"].as_array().unwrap();
    entries
        .iter()
        .flat_map(|entry| {
            entry["changes"][0]["value"]["statuses"]
                .as_array()
                .unwrap()
                .clone()
        })
        .collect()
}

async fn receive(
    request: Request<Incoming>,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    left: Arc<AtomicU32>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = request.headers().get("X-Hub-Signature-256").expect("a signature");
    let signature = header.to_str().unwrap().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let fails = left
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok();
    let answered = if fails { 500 } else { 200 };
    deliveries.lock().unwrap().push(Delivery {
        signature,
        body,
        answered,
    });
    Ok(Response::builder()
        .status(answered)
        .body(Full::default())
        .unwrap())
}

/// Computes the signature as a receiver does, from the raw bytes.
pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256={hex}")
}
