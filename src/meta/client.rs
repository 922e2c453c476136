//! Calls to Meta's Graph API over kept connections.
//!
//! A send is made once: this client never repeats a call, because only its caller can tell whether that is safe.

use std::sync::Arc;
use std::time::Duration;

use actors::ports::{Answer, Claimed, Meta, Refusal, SendOutcome};
use bytes::Bytes;
use domain::unknown::UnknownCause;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::templates::Page;
use super::{Charged, FoundTemplate, Lease, analytics, answer, history};
use crate::causes::causes;
use crate::config;
use crate::content;
use crate::storage::sender_directory::{Sender, SenderDirectory};

/// Bytes of an answer that are read.
const ANSWER_MOST: usize = 4 * 1024 * 1024;
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an idle connection is kept: shorter than Meta's own limit, so that a call never meets a closing one.
const KEPT_FOR: Duration = Duration::from_secs(20);
/// Pages of templates that are read at most.
const PAGES_MOST: usize = 100;

/// Meta's code for values that make no valid message: what it would answer to the body that cannot even be written.
const VALUES_REFUSED: i32 = 131_009;

type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Calls Meta on behalf of tenants. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: Http,
    base: Arc<str>,
    timeout: Duration,
    senders: SenderDirectory,
    licence: Licence,
}

/// What permits this node to call at all.
#[derive(Clone)]
pub struct Licence {
    /// Lapses while the node is not heard of.
    pub lease: Lease,
    /// How long before its deadline a message was claimed.
    pub claim_deadline: Duration,
}

impl Licence {
    /// The last look before the first byte: nothing is awaited between it and the call.
    fn may_leave(&self, deadline: Instant, now: Instant) -> Result<(), String> {
        if now >= deadline {
            return Err("the claim's deadline had passed".to_owned());
        }
        let claimed_at = deadline.checked_sub(self.claim_deadline).unwrap_or(now);
        let allowed = self.lease.allows(claimed_at, now);
        allowed.map_err(|lapsed| lapsed.to_string())
    }
}

/// How a call failed.
enum Failed {
    /// There was no connection: it never left.
    Unreachable(String),
    /// It may have left.
    Unknown(UnknownCause, String),
}

impl Failed {
    fn reason(self) -> String {
        match self {
            Self::Unreachable(reason) | Self::Unknown(_, reason) => reason,
        }
    }
}

impl Client {
    /// Makes a client for the address and version that the settings name.
    pub fn new(settings: &config::Meta, senders: SenderDirectory, licence: Licence) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT_FOR)
            .retry_canceled_requests(false)
            .build(connector);
        Self {
            http,
            base: format!("{}/{}", settings.base_url.trim_end_matches('/'), settings.version).into(),
            timeout: settings.timeout(),
            senders,
            licence,
        }
    }

    async fn call(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, HeaderMap, Bytes), Failed> {
        let answered = async {
            let response = self.http.request(request).await.map_err(|error| {
                let reason = causes(&error);
                if error.is_connect() {
                    Failed::Unreachable(reason)
                } else {
                    Failed::Unknown(UnknownCause::ConnectionLost, reason)
                }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MOST).collect().await.map_err(|error| {
                let reason = format!("the answer broke off: {error}");
                Failed::Unknown(UnknownCause::ConnectionLost, reason)
            })?;
            Ok((head.status, head.headers, body.to_bytes()))
        };
        match tokio::time::timeout(self.timeout, answered).await {
            Ok(result) => result,
            Err(_) => {
                let reason = format!("no answer within {:?}", self.timeout);
                Err(Failed::Unknown(UnknownCause::NoAnswer, reason))
            }
        }
    }

    async fn post_message(&self, sender: &Sender, body: String, deadline: Instant) -> SendOutcome {
        let request = Request::post(format!("{}/{}/messages", self.base, sender.phone_number_id))
            .header(AUTHORIZATION, format!("Bearer {}", sender.access_token.expose()))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)));
        let request = match request {
            Ok(request) => request,
            Err(error) => return not_begun(format!("the request cannot be made: {error}")),
        };
        if let Err(reason) = self.licence.may_leave(deadline, Instant::now()) {
            return not_begun(reason);
        }
        match self.call(request).await {
            Ok((status, headers, body)) => answer::read(status, &headers, &body),
            Err(Failed::Unreachable(reason)) => SendOutcome::Unreachable { reason },
            Err(Failed::Unknown(cause, reason)) => SendOutcome::Unknown { cause, reason },
        }
    }

    async fn send_claimed(&self, claimed: &Claimed, deadline: Instant) -> SendOutcome {
        let sender = match self.senders.by_id(claimed.sender).await {
            Ok(Some(sender)) => sender,
            Ok(None) => return not_begun(format!("there is no sender {}", claimed.sender)),
            Err(error) => return not_begun(error.to_string()),
        };
        let content = &claimed.content;
        let rendered = content::render(
            &content.body,
            content.parameters.as_deref(),
            &claimed.recipient,
            claimed.attempt,
        );
        match rendered {
            Ok(body) => self.post_message(&sender, body, deadline).await,
            Err(error) => SendOutcome::Refused(Refusal {
                code: VALUES_REFUSED,
                details: error.to_string(),
                retry_after: None,
                transient: false,
            }),
        }
    }

    /// Reads all templates of an account.
    ///
    /// # Errors
    /// What Meta said, in words for the tenant.
    pub async fn templates(&self, waba_id: &str, access_token: &str) -> Result<Vec<FoundTemplate>, String> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MOST {
            let page = self
                .template_page(waba_id, access_token, after.as_deref())
                .await?;
            let (templates, next) = page.split();
            found.extend(templates);
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Asks what happened to a message that Meta took.
    ///
    /// # Errors
    /// When Meta does not answer, or refuses for another reason than that it does not know the message.
    pub async fn history(&self, sender: &Sender, wamid: &str) -> Result<Vec<history::Past>, String> {
        let id: String = wamid.bytes().map(percent_encoded).collect();
        let number = &sender.phone_number_id;
        let request = Request::get(format!("{}/{number}/message_history?message_id={id}", self.base))
            .header(AUTHORIZATION, format!("Bearer {}", sender.access_token.expose()))
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        let (status, _, body) = self.call(request).await.map_err(Failed::reason)?;
        match status {
            StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => Ok(Vec::new()),
            status if status.is_success() => history::read(&body),
            status => Err(format!("Meta answered {status}")),
        }
    }

    /// Asks what Meta charged the account of a number for each day of a span, in Unix seconds.
    ///
    /// # Errors
    /// When Meta does not answer, or refuses.
    pub async fn charged(&self, sender: &Sender, start: i64, end: i64) -> Result<Vec<Charged>, String> {
        let (account, field) = (&sender.waba_id, analytics::field(start, end));
        let request = Request::get(format!("{}/{account}?fields={field}", self.base))
            .header(AUTHORIZATION, format!("Bearer {}", sender.access_token.expose()))
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        let (status, headers, body) = self.call(request).await.map_err(Failed::reason)?;
        if status.is_success() {
            return analytics::read(&body);
        }
        Err(refused(status, &headers, &body))
    }

    async fn template_page(
        &self,
        waba_id: &str,
        access_token: &str,
        after: Option<&str>,
    ) -> Result<Page, String> {
        let from = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let request = Request::get(format!(
            "{}/{waba_id}/message_templates?limit=100{from}",
            self.base
        ))
        .header(AUTHORIZATION, format!("Bearer {access_token}"))
        .body(Full::default())
        .map_err(|error| error.to_string())?;
        let (status, headers, body) = self.call(request).await.map_err(Failed::reason)?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| format!("Meta's answer is not understood: {error}"));
        }
        Err(refused(status, &headers, &body))
    }
}

/// Says for people why Meta refused a question.
fn refused(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> String {
    match answer::read(status, headers, body) {
        SendOutcome::Refused(refusal) => {
            format!("Meta refused with code {}: {}", refusal.code, refusal.details)
        }
        _ => format!("Meta answered {status}"),
    }
}

impl Meta for Client {
    fn send(&self, claimed: Arc<Claimed>, deadline: Instant) -> Answer<SendOutcome> {
        let this = self.clone();
        Box::pin(async move { this.send_claimed(&claimed, deadline).await })
    }
}

/// Writes a byte so that it may stand in a query (RFC 3986, section 2.3).
fn percent_encoded(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

const fn not_begun(reason: String) -> SendOutcome {
    SendOutcome::NotBegun { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_nobody_has_heard_of_lets_no_call_begin() {
        let licence = Licence {
            lease: Lease::begin(),
            claim_deadline: Duration::from_mins(5),
        };
        let claimed_at = Instant::now();
        let deadline = claimed_at + licence.claim_deadline;
        assert_eq!(licence.may_leave(deadline, claimed_at), Ok(()));
        let thawed_at = claimed_at + Duration::from_mins(1);
        let silent = licence.may_leave(deadline, thawed_at).unwrap_err();
        assert!(silent.contains("not been heard of"), "{silent}");
        licence.lease.renew(thawed_at, thawed_at);
        let void = licence.may_leave(deadline, thawed_at).unwrap_err();
        assert!(void.contains("silent for too long"), "{void}");
        assert_eq!(
            licence.may_leave(thawed_at + licence.claim_deadline, thawed_at),
            Ok(())
        );
    }
}
