//! A client of OpenBao and HashiCorp Vault: one secret of a key-value engine of version 2, which holds every secret of the process by
//! name. Authenticated by a token in a file, or by an AppRole.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde::Deserialize;

use super::Secret;
use crate::causes::causes;

/// How long the store may take for one answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_MOST: usize = 1024 * 1024;

/// Where the store is and how it knows us.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct StoreSettings {
    /// Its address, `https://host:port`.
    pub(super) address: String,
    /// Where its key-value engine is mounted.
    pub(super) mount: String,
    /// The path of our secrets within it.
    pub(super) path: String,
    /// Holds a token.
    pub(super) token_file: String,
    /// The id of an AppRole.
    pub(super) role_id: String,
    /// Holds the AppRole's secret id.
    pub(super) secret_id_file: String,
}

/// Why the store gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer.
    #[error("the secret store {address} did not answer: {reason}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What happened.
        reason: String,
    },
    /// It does not let us in, or has nothing there.
    #[error("the secret store {address} answered {status} to {path}: {said}")]
    Refused {
        /// Where it is.
        address: String,
        /// With which status.
        status: StatusCode,
        /// What was asked for.
        path: String,
        /// Its own words.
        said: String,
    },
    /// Our own credentials for it cannot be read.
    #[error("{0}")]
    Credentials(String),
}

#[derive(Deserialize)]
struct Read {
    data: ReadData,
}

#[derive(Deserialize)]
struct ReadData {
    data: BTreeMap<String, String>,
    #[serde(default)]
    metadata: Version,
}

/// What the store says of the version that it gave.
#[derive(Default, Deserialize)]
struct Version {
    #[serde(default)]
    created_time: String,
}

#[derive(Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
}

#[derive(Deserialize, Default)]
struct Refusal {
    #[serde(default)]
    errors: Vec<String>,
}

/// A store, with what it said last.
pub(super) struct Store {
    settings: StoreSettings,
    token: Mutex<Option<Secret>>,
    values: Mutex<Option<BTreeMap<String, Secret>>>,
    changed: Mutex<Option<SystemTime>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(super) fn new(settings: StoreSettings) -> Self {
        Self {
            settings,
            token: Mutex::default(),
            values: Mutex::default(),
            changed: Mutex::default(),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.settings.address
    }

    /// Gives a value as the store had it when it was asked last. It is asked now if it never was.
    pub(super) fn value(&self, name: &str) -> Result<Option<Secret>, StoreError> {
        let known = |values: &Option<BTreeMap<String, Secret>>| {
            values.as_ref().map(|values| values.get(name).cloned())
        };
        if let Some(value) = known(&held(&self.values)) {
            return Ok(value);
        }
        self.refresh_and_wait()?;
        Ok(known(&held(&self.values)).flatten())
    }

    /// Tells when its present version was written.
    pub(super) fn changed(&self) -> Option<SystemTime> {
        *held(&self.changed)
    }

    /// Asks from a thread of its own, because settings are read before there is a runtime, and inside of one in tests.
    fn refresh_and_wait(&self) -> Result<(), StoreError> {
        let failed = |reason: String| self.unreachable(&reason);
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime
                    .map_err(|error| failed(error.to_string()))?
                    .block_on(self.refresh())
            });
            asked
                .join()
                .unwrap_or_else(|_| Err(failed("the thread that asked ended".to_owned())))
        })
    }

    /// Asks for all values anew. What was known before stays known when this fails.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        let path = format!("/v1/{}/data/{}", self.settings.mount, self.settings.path);
        let answer = match self.read_with(&self.token(false).await?, &path).await {
            // The AppRole's token has ended: one more of them.
            Err(StoreError::Refused { status, .. }) if status == StatusCode::FORBIDDEN && self.has_role() => {
                self.read_with(&self.token(true).await?, &path).await?
            }
            other => other?,
        };
        let read: Read = serde_json::from_slice(&answer).map_err(|_| {
            self.unreachable("its answer is no secret of a key-value engine of version 2 with texts")
        })?;
        let written: Option<Timestamp> = read.data.metadata.created_time.parse().ok();
        *held(&self.changed) = written.map(SystemTime::from);
        let values = read
            .data
            .data
            .into_iter()
            .filter(|(_, value)| !value.trim().is_empty());
        let values = values.map(|(name, value)| (name, Secret::new(value.trim().to_owned())));
        *held(&self.values) = Some(values.collect());
        Ok(())
    }

    const fn has_role(&self) -> bool {
        !self.settings.role_id.is_empty()
    }

    async fn token(&self, anew: bool) -> Result<Secret, StoreError> {
        let read = |file: &str, setting| {
            Secret::read(file, setting).map_err(|error| StoreError::Credentials(error.to_string()))
        };
        if !self.has_role() {
            return read(&self.settings.token_file, "secrets.store_token_file");
        }
        let known = held(&self.token).clone();
        if let (Some(token), false) = (known, anew) {
            return Ok(token);
        }
        let secret_id = read(&self.settings.secret_id_file, "secrets.store_secret_id_file")?;
        let body = serde_json::json!({"role_id": self.settings.role_id, "secret_id": secret_id.expose()});
        let answer = self
            .call(
                Method::POST,
                "/v1/auth/approle/login",
                None,
                body.to_string().into(),
            )
            .await?;
        let login: Login = serde_json::from_slice(&answer)
            .map_err(|_| self.unreachable("its answer to a login is not understood"))?;
        let token = Secret::new(login.auth.client_token);
        *held(&self.token) = Some(token.clone());
        Ok(token)
    }

    async fn read_with(&self, token: &Secret, path: &str) -> Result<Bytes, StoreError> {
        self.call(Method::GET, path, Some(token), Bytes::new()).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Bytes,
    ) -> Result<Bytes, StoreError> {
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .build();
        // A connection of its own each time: one call in seconds, from whatever runtime asks.
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.settings.address.trim_end_matches('/')));
        if let Some(token) = token {
            request = request.header("x-vault-token", token.expose());
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| self.unreachable(&format!("no request can be made of this address: {error}")))?;
        let answered = async {
            let response = client
                .request(request)
                .await
                .map_err(|error| self.unreachable(&causes(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MOST).collect().await;
            let body = body
                .map_err(|error| self.unreachable(&error.to_string()))?
                .to_bytes();
            if head.status.is_success() {
                return Ok(body);
            }
            Err(self.refused(head.status, path, &body))
        };
        match tokio::time::timeout(ANSWERS_WITHIN, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(&format!("not within {ANSWERS_WITHIN:?}"))),
        }
    }

    fn unreachable(&self, reason: &str) -> StoreError {
        StoreError::Unreachable {
            address: self.settings.address.clone(),
            reason: reason.to_owned(),
        }
    }

    fn refused(&self, status: StatusCode, path: &str, body: &[u8]) -> StoreError {
        let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
        StoreError::Refused {
            address: self.settings.address.clone(),
            status,
            path: path.to_owned(),
            said: refusal.errors.join("; "),
        }
    }
}
