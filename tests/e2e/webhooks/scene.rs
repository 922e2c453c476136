//! What every test of the edge needs: an installation behind cables, keys of both doors, and deliveries to send.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use domain::hop::{HopKey, sign_hop};
use domain::signature::sign_meta;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use malote::trial::{Installation, PlanChoice, Tenant};
use serde_json::{Value, json};
use uuid::Uuid;

use super::cable::Cable;
use crate::support::start;

pub(crate) const RELAY_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const PREVIOUS_RELAY_KEY: &str = "the key of the relay before this one";
pub(crate) const PREVIOUS_APP_SECRET: &str = "the app secret before this one";

/// An installation behind cables.
pub(crate) struct Scene {
    pub(crate) installation: Installation,
    pub(crate) tenant: Tenant,
    pub(crate) database: Cable,
    pub(crate) redis: Cable,
    pub(crate) broker: Cable,
    pub(crate) app_secret: String,
    secrets: PathBuf,
    http: Client<HttpConnector, BoxBody<Bytes, std::io::Error>>,
}

/// What the server said: the status, and the problem's code or the outcome.
pub(crate) type Said = (u16, String);

/// Says what is expected.
pub(crate) fn said(status: u16, word: &str) -> Said {
    (status, word.to_owned())
}

impl Scene {
    /// Starts an installation with both doors open. Its simulator tells nobody anything.
    pub(crate) async fn open(name: &'static str) -> Self {
        let config = malote::config::load(None, None).expect("settings");
        let secrets = std::env::temp_dir().join(format!("malote_edge_{}", Uuid::now_v7().simple()));
        std::fs::create_dir_all(&secrets).expect("a directory");
        let file = |name: &str, text: &str| {
            let path = secrets.join(name);
            std::fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let database = Cable::to(format!("{}:{}", config.database.host, config.database.port)).await;
        let redis = Cable::to(config.redis.address.clone()).await;
        let broker = Cable::to(config.broker.address.clone()).await;
        let settings = [
            ("MALOTE_DATABASE__HOST", "127.0.0.1".to_owned()),
            ("MALOTE_DATABASE__PORT", database.address().port().to_string()),
            ("MALOTE_DATABASE__CONNECT_TIMEOUT_MS", "1000".to_owned()),
            ("MALOTE_REDIS__ADDRESS", redis.address().to_string()),
            ("MALOTE_BROKER__ADDRESS", broker.address().to_string()),
            ("MALOTE_PIPELINE__UNAPPLIED_FOR_MOST_MS", "1000".to_owned()),
            ("MALOTE_WEBHOOKS__RELAY_KEY_FILE", file("relay", RELAY_KEY)),
            (
                "MALOTE_WEBHOOKS__PREVIOUS_RELAY_KEY_FILE",
                file("relay_before", PREVIOUS_RELAY_KEY),
            ),
            (
                "MALOTE_META__PREVIOUS_APP_SECRET_FILE",
                file("app_secret_before", PREVIOUS_APP_SECRET),
            ),
        ];
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let installation = start(name, simulator::config::Config::for_tests(), &settings).await;
        let tenant = Tenant::create(&installation, name, PlanChoice::FREE, 500)
            .await
            .expect("a tenant");
        let secret = config.meta.app_secrets().expect("the app secret");
        Self {
            app_secret: secret[0].expose().to_owned(),
            installation,
            tenant,
            database,
            redis,
            broker,
            secrets,
            http: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Throws everything away.
    pub(crate) async fn close(self) {
        std::fs::remove_dir_all(&self.secrets).expect("removed");
        self.installation.stop().await.expect("stopped");
    }

    /// Posts a body with headers to the core.
    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: BoxBody<Bytes, std::io::Error>,
    ) -> Said {
        let url = format!("{}{path}", self.installation.public.base());
        self.post_to(&url, headers, body).await
    }

    /// Posts a body with headers.
    pub(crate) async fn post_to(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: BoxBody<Bytes, std::io::Error>,
    ) -> Said {
        let mut request = Request::post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self
            .http
            .request(request.body(body).expect("a request"))
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        let json: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let word = json["code"].as_str().or_else(|| json["outcome"].as_str());
        (status, word.unwrap_or_default().to_owned())
    }

    /// Delivers as Meta does, under the current app secret.
    pub(crate) async fn meta(&self, body: &[u8]) -> Said {
        let signature = sign_meta(self.app_secret.as_bytes(), body);
        self.post(
            "/webhooks/meta",
            &[("x-hub-signature-256", &signature)],
            whole(body),
        )
        .await
    }

    /// Delivers as a relay does.
    pub(crate) async fn hop(&self, attempt: &Attempt, body: &[u8]) -> Said {
        let signature = attempt.sign(body);
        let at = attempt.at.as_second().to_string();
        let headers = [
            ("webhook-id", attempt.id.as_str()),
            ("webhook-timestamp", &at),
            ("webhook-nonce", &attempt.nonce),
            ("webhook-signature", &signature),
        ];
        self.post("/webhooks/relay", &headers, whole(body)).await
    }

    /// A status of an attempt, told by the tenant's number.
    pub(crate) fn status(&self, attempt: Uuid, status: &str, age: SignedDuration) -> Value {
        let at = (Timestamp::now() - age).as_second().to_string();
        json!({
            "id": format!("wamid.{attempt}"), "status": status, "timestamp": at, "recipient_id": "351910000001",
            "biz_opaque_callback_data": attempt.to_string(),
        })
    }

    /// A delivery with statuses of the tenant's number.
    pub(crate) fn delivery(&self, statuses: &[Value]) -> Vec<u8> {
        let value = json!({
            "messaging_product": "whatsapp", "statuses": statuses,
            "metadata": {"display_phone_number": "351910000000", "phone_number_id": self.tenant.phone_number_id},
        });
        envelope(&self.account(), "messages", &value)
    }

    /// A delivery with one status that is as old as said, of an attempt that nobody heard of.
    pub(crate) fn one(&self, age_seconds: i64) -> Vec<u8> {
        self.delivery(&[self.status(
            Uuid::now_v7(),
            "delivered",
            SignedDuration::from_secs(age_seconds),
        )])
    }

    /// Meta's id of the tenant's account.
    pub(crate) fn account(&self) -> String {
        format!("9{}", self.tenant.phone_number_id)
    }

    /// Reads a counter of the server.
    pub(crate) async fn counter(&self, name: &str) -> u64 {
        let text = self
            .installation
            .admin
            .get_text("/metrics")
            .await
            .expect("metrics");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name}"))
            .parse()
            .expect("a number")
    }

    /// Reads how many statuses are stored.
    pub(crate) async fn statuses(&self) -> i64 {
        self.installation
            .count_rows("events WHERE source = 'meta'")
            .await
            .expect("a count")
    }

    /// Reads how many updates are in quarantine for a reason.
    pub(crate) async fn quarantined(&self, reason: &str) -> i64 {
        let rows = format!("other_events WHERE quarantined_because = '{reason}'");
        self.installation.count_rows(&rows).await.expect("a count")
    }
}

/// An attempt of a relay.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    pub(crate) nonce: String,
    pub(crate) keys: Vec<&'static str>,
}

static NONCES: AtomicU64 = AtomicU64::new(0);

impl Attempt {
    /// A first attempt, made now.
    pub(crate) fn now() -> Self {
        let count = NONCES.fetch_add(1, Ordering::Relaxed);
        Self {
            id: format!("delivery_{}", Uuid::now_v7().simple()),
            at: Timestamp::now(),
            nonce: format!("nonce_{}_{count}", Uuid::now_v7().simple()),
            keys: vec![RELAY_KEY],
        }
    }

    /// The next attempt of the same delivery.
    pub(crate) fn again(&self) -> Self {
        Self {
            id: self.id.clone(),
            ..Self::now()
        }
    }

    fn sign(&self, body: &[u8]) -> String {
        let sign = |key: &&str| {
            sign_hop(
                &HopKey::parse(key).expect("a key"),
                &self.id,
                self.at,
                &self.nonce,
                body,
            )
        };
        self.keys.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// A delivery of Meta about one field.
pub(crate) fn envelope(account: &str, field: &str, value: &Value) -> Vec<u8> {
    let entry = json!([{"id": account, "changes": [{"field": field, "value": value}]}]);
    json!({"object": "whatsapp_business_account", "entry": entry})
        .to_string()
        .into_bytes()
}

/// A body of known length.
pub(crate) fn whole(body: &[u8]) -> BoxBody<Bytes, std::io::Error> {
    Full::new(Bytes::copy_from_slice(body))
        .map_err(|never| match never {})
        .boxed()
}

/// A body that comes in parts of this many bytes each, and never ends: whoever answers did not wait for its end.
pub(crate) fn unended(parts: Vec<usize>) -> BoxBody<Bytes, std::io::Error> {
    let sent = parts
        .into_iter()
        .map(|bytes| Ok(Frame::data(Bytes::from(vec![b' '; bytes]))));
    BodyExt::boxed(StreamBody::new(stream::iter(sent).chain(stream::pending())))
}
