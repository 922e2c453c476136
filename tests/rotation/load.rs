//! Two hundred requests a second, at fixed times whatever comes back: what tenants, operators, Meta and probes ask.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::signature::sign_meta;
use hyper::{Method, Request, StatusCode};
use malote::trial::{Client, Installation, Tenant};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::servers::Servers;

/// The time between two requests.
const EVERY: Duration = Duration::from_millis(5);
/// A request that takes longer has failed.
const LONGEST: Duration = Duration::from_secs(10);

/// What callers know, as they learn it.
#[derive(Clone)]
struct Credentials {
    admin: Client,
    app_secret: String,
    verify_token: String,
}

#[derive(Default)]
struct Counted {
    asked: u64,
    failed: u64,
    first_failure: Option<String>,
    took: Vec<Duration>,
}

struct Shared {
    tenant: Client,
    public: Client,
    sender: String,
    phone_number_id: String,
    credentials: Mutex<Credentials>,
    counted: Mutex<Counted>,
}

/// A load under way.
pub(crate) struct Load {
    shared: Arc<Shared>,
    began: Instant,
    running: JoinHandle<()>,
}

/// What came of it.
#[derive(Clone)]
pub(crate) struct Figures {
    pub(crate) asked: u64,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    lasted: Duration,
    p50: Duration,
    p99: Duration,
    most: Duration,
}

impl Figures {
    pub(crate) fn per_second(&self) -> f64 {
        self.asked as f64 / self.lasted.as_secs_f64()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} requests in {:.1} s ({:.0} a second), {} failed; p50 {} ms, p99 {} ms, longest {} ms",
            self.asked,
            self.lasted.as_secs_f64(),
            self.per_second(),
            self.failed,
            self.p50.as_millis(),
            self.p99.as_millis(),
            self.most.as_millis()
        )
    }
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    pub(crate) fn start(installation: &Installation, tenant: &Tenant, servers: &Servers) -> Self {
        let read = |name| servers.read(name).expect("a secret");
        let shared = Arc::new(Shared {
            tenant: tenant.api.clone(),
            public: installation.public.clone(),
            sender: tenant.sender.clone(),
            phone_number_id: tenant.phone_number_id.clone(),
            credentials: Mutex::new(Credentials {
                admin: installation.admin.clone(),
                app_secret: read("app_secret"),
                verify_token: read("verify_token"),
            }),
            counted: Mutex::default(),
        });
        let running = tokio::spawn(ask_for_ever(Arc::clone(&shared)));
        Self {
            shared,
            began: Instant::now(),
            running,
        }
    }

    pub(crate) fn use_admin_key(&self, key: &str) {
        let mut known = held(&self.shared.credentials);
        known.admin = known.admin.clone().with_key(key);
    }

    pub(crate) fn use_app_secret(&self, secret: &str) {
        secret.clone_into(&mut held(&self.shared.credentials).app_secret);
    }

    pub(crate) fn use_verify_token(&self, token: &str) {
        token.clone_into(&mut held(&self.shared.credentials).verify_token);
    }

    /// Asks many times at once.
    pub(crate) async fn burst(&self, number: u64) {
        let asked = (0..number).map(|turn| ask(Arc::clone(&self.shared), turn));
        futures_util::future::join_all(asked).await;
    }

    /// Sees that every server lets the process in, by connections made now.
    pub(crate) async fn expect_ready(&self, installation: &Installation) -> anyhow::Result<()> {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let ready: Value = installation.public.get("/readyz").await?;
        let all = ready["dependencies"]
            .as_array()
            .is_some_and(|all| all.iter().all(|one| one["ok"] == true));
        anyhow::ensure!(all, "not everything lets us in: {ready}");
        Ok(())
    }

    pub(crate) fn figures(&self) -> Figures {
        let counted = held(&self.shared.counted);
        let mut took = counted.took.clone();
        took.sort_unstable();
        let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
        Figures {
            asked: counted.asked,
            failed: counted.failed,
            first_failure: counted.first_failure.clone(),
            lasted: self.began.elapsed(),
            p50: at(50),
            p99: at(99),
            most: took.last().copied().unwrap_or_default(),
        }
    }

    pub(crate) async fn stop(&mut self) -> Figures {
        self.running.abort();
        let figures = self.figures();
        // What was asked last may still fail.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let counted = held(&self.shared.counted);
        Figures {
            failed: counted.failed,
            first_failure: counted.first_failure.clone(),
            ..figures
        }
    }
}

async fn ask_for_ever(shared: Arc<Shared>) {
    let mut at = tokio::time::interval(EVERY);
    for turn in 0.. {
        at.tick().await;
        tokio::spawn(ask(Arc::clone(&shared), turn));
    }
}

async fn ask(shared: Arc<Shared>, turn: u64) {
    let known = held(&shared.credentials).clone();
    let began = Instant::now();
    let answered = tokio::time::timeout(LONGEST, one(&shared, &known, turn)).await;
    let failure = match answered {
        Ok(Ok(status)) if status.is_success() => None,
        Ok(Ok(status)) => Some(format!("turn {turn}: {status}")),
        Ok(Err(error)) => Some(format!("turn {turn}: {error:#}")),
        Err(_) => Some(format!("turn {turn}: no answer within {LONGEST:?}")),
    };
    let mut counted = held(&shared.counted);
    counted.asked += 1;
    counted.took.push(began.elapsed());
    if let Some(failure) = failure {
        counted.failed += 1;
        counted.first_failure.get_or_insert(failure);
    }
}

/// One request, of six kinds in turn.
async fn one(shared: &Shared, known: &Credentials, turn: u64) -> anyhow::Result<StatusCode> {
    let nothing = Bytes::new;
    let get = async |client: &Client, path: &str| {
        client.raw(Method::GET, path, "application/json", nothing()).await
    };
    let (status, _) = match turn % 6 {
        0 => get(&shared.tenant, "/v1/senders").await?,
        1 => {
            let body = json!({"sender_id": shared.sender, "to": format!("+55119{turn:08}"), "template": {"name": "order_update", "language": "en_US"}});
            let client = shared
                .tenant
                .clone()
                .with_idempotency_key(&Uuid::now_v7().to_string());
            client
                .raw(
                    Method::POST,
                    "/v1/messages",
                    "application/json",
                    body.to_string().into(),
                )
                .await?
        }
        2 => get(&known.admin, "/admin/v1/tenants").await?,
        3 => {
            get(
                &shared.public,
                &format!(
                    "/webhooks/meta?hub.mode=subscribe&hub.verify_token={}&hub.challenge=1",
                    known.verify_token
                ),
            )
            .await?
        }
        4 => get(&shared.public, "/readyz").await?,
        _ => return deliver(shared, known, turn).await,
    };
    Ok(status)
}

/// A delivery of Meta, signed with the secret that Meta has now.
async fn deliver(shared: &Shared, known: &Credentials, turn: u64) -> anyhow::Result<StatusCode> {
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": format!("9{}", shared.phone_number_id), "changes": [{
        "field": "messages", "value": {"messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "351910000000", "phone_number_id": shared.phone_number_id},
            "messages": [{"id": format!("wamid.{turn}"), "from": "5511900000000", "type": "text",
                "timestamp": jiff::Timestamp::now().as_second().to_string(), "text": {"body": "hello"}}]}}]}]})
    .to_string();
    let signature = sign_meta(known.app_secret.as_bytes(), body.as_bytes());
    let request = Request::post(format!("{}/webhooks/meta", shared.public.base()))
        .header("content-type", "application/json")
        .header("x-hub-signature-256", signature)
        .body(http_body_util::Full::new(Bytes::from(body)))?;
    let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    Ok(http.request(request).await?.status())
}
