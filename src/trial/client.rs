//! A small client of the API: JSON in, JSON out, and an error that shows the whole problem.

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

type Http = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;

/// Calls one listener under one key. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    base: String,
    key: Option<String>,
    idempotency_key: Option<String>,
}

/// The server answered, but not with success.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {status}: {body}")]
pub struct Unexpected {
    /// What was called.
    pub method: Method,
    /// Where.
    pub path: String,
    /// The status of the answer.
    pub status: StatusCode,
    /// Its body: a problem of RFC 9457.
    pub body: Value,
}

impl Client {
    /// Makes a client of `http://<address>`.
    pub fn new(address: &str) -> Self {
        Self {
            http: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http(),
            base: format!("http://{address}"),
            key: None,
            idempotency_key: None,
        }
    }

    /// Calls under this key from now on.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Calls with this Idempotency-Key from now on.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: &str) -> Self {
        self.idempotency_key = Some(key.to_owned());
        self
    }

    /// Where it calls.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Reads.
    ///
    /// # Errors
    /// When there is no answer, or one without success.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, "application/json", Bytes::new())
            .await
    }

    /// Reads text.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get_text(&self, path: &str) -> anyhow::Result<String> {
        let (_, body) = self.raw(Method::GET, path, "text/plain", Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// When there is no answer, or one without success.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, "application/json", body.to_string().into())
            .await
    }

    /// Replaces something with JSON.
    ///
    /// # Errors
    /// When there is no answer, or one without success.
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::PUT, path, "application/json", body.to_string().into())
            .await
    }

    /// Deletes.
    ///
    /// # Errors
    /// When there is no answer, or one without success.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, "application/json", Bytes::new())
            .await
    }

    /// Changes part of something with JSON.
    ///
    /// # Errors
    /// When there is no answer, or one without success.
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::PATCH, path, "application/json", body.to_string().into())
            .await
    }

    /// Uploads a body of another type.
    ///
    /// # Errors
    /// When there is no answer, or one without success.
    pub async fn upload(&self, path: &str, content_type: &str, body: Bytes) -> anyhow::Result<Value> {
        self.call(Method::POST, path, content_type, body).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> anyhow::Result<Value> {
        let (status, body) = self.raw(method.clone(), path, content_type, body).await?;
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into())
        };
        if status.is_success() {
            Ok(body)
        } else {
            Err(Unexpected {
                method,
                path: path.to_owned(),
                status,
                body,
            }
            .into())
        }
    }

    /// Makes a call and gives whatever comes back.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let answer = self.answer(method, path, content_type, body).await?;
        Ok((answer.status(), answer.into_body()))
    }

    /// Makes a call and gives whatever comes back, with its headers.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn answer(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> anyhow::Result<Response<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("content-type", content_type);
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(key) = &self.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let response = self.http.request(request.body(Full::new(body))?).await;
        let response = response.with_context(|| format!("{}{path}", self.base))?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}
