//! Signs a body and posts it to the callback.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::Sha256;

/// The client side of the simulator: one pool of kept connections.
#[derive(Debug)]
pub(crate) struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
    app_secret: String,
    timeout: Duration,
}

impl Poster {
    /// A client that signs with the app's secret.
    pub(crate) fn new(app_secret: String, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            app_secret,
            timeout,
        }
    }

    /// Posts one body. True if it was answered with 200 and nothing else, as Meta wants it.
    pub(crate) async fn post(&self, callback: &Uri, body: Vec<u8>) -> bool {
        match tokio::time::timeout(self.timeout, self.exchange(callback, body)).await {
            Ok(Some(status)) => status == StatusCode::OK,
            Ok(None) | Err(_) => false,
        }
    }

    async fn exchange(&self, callback: &Uri, body: Vec<u8>) -> Option<StatusCode> {
        let request = Request::post(callback)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, "facebookexternalua")
            .header("X-Hub-Signature-256", signature(&self.app_secret, &body))
            .body(Full::from(body))
            .ok()?;
        let answer = self.client.request(request).await.ok()?;
        let status = answer.status();
        answer.into_body().collect().await.ok()?; // Read to the end, so that the connection is kept.
        Some(status)
    }
}

/// `sha256=` and the HMAC of the raw bytes in hexadecimal.
fn signature(app_secret: &str, body: &[u8]) -> String {
    let mut text = String::from("sha256=");
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(app_secret.as_bytes()) {
        mac.update(body);
        for byte in mac.finalize().into_bytes() {
            let _ = write!(text, "{byte:02x}"); // Writing to a string cannot fail.
        }
    }
    text
}

/// Reads a callback URL, or says why webhooks cannot go there.
pub(crate) fn check_callback(url: &str) -> Result<Uri, String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("callback {url:?} is not a URL: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(uri),
        (Some("https"), _) => Err(format!("callback {url:?}: the simulator speaks plain http only")),
        _ => Err(format!("callback {url:?} must look like http://host:port/path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_rfc_4231_says() {
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn a_callback_must_be_plain_http() {
        assert!(check_callback("http://127.0.0.1:8080/webhooks").is_ok());
        assert!(check_callback("https://example.com/").is_err() && check_callback("example").is_err());
    }
}
