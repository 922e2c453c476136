//! What an answer of Meta means. `error.code` decides, not the HTTP status; an answer without one proves nothing.

use std::collections::HashMap;
use std::time::Duration;

use actors::ports::{Refusal, SendOutcome};
use domain::meta_error::{ErrorClass, classify};
use domain::unknown::UnknownCause;
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;

/// Characters of Meta's explanation that are kept.
const DETAILS_MOST: usize = 500;

#[derive(Deserialize)]
struct Accepted {
    messages: Vec<AcceptedMessage>,
}

#[derive(Deserialize)]
struct AcceptedMessage {
    id: String,
}

#[derive(Deserialize)]
struct Refused {
    error: MetaError,
}

#[derive(Deserialize)]
struct MetaError {
    code: i32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    is_transient: bool,
    #[serde(default)]
    error_data: Option<ErrorData>,
}

#[derive(Deserialize)]
struct ErrorData {
    #[serde(default)]
    details: String,
}

/// Reads the answer to a send.
pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> SendOutcome {
    if status.is_success() {
        let wamid = serde_json::from_slice::<Accepted>(body)
            .ok()
            .and_then(|accepted| accepted.messages.into_iter().next());
        return match wamid {
            Some(message) => SendOutcome::Accepted { wamid: message.id },
            None => unknown(status, "an answer without a message id"),
        };
    }
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => {
            let transient = refused.error.is_transient || status.is_server_error();
            SendOutcome::Refused(Refusal {
                code: refused.error.code,
                details: explain(&refused.error),
                retry_after: wait_asked(headers, refused.error.code, transient),
                transient,
            })
        }
        Err(_) => unknown(status, "an answer without Meta's error code"),
    }
}

fn unknown(status: StatusCode, what: &str) -> SendOutcome {
    SendOutcome::Unknown {
        cause: UnknownCause::Unreadable,
        reason: format!("HTTP {status}: {what}"),
    }
}

fn explain(error: &MetaError) -> String {
    let details = error.error_data.as_ref().map_or("", |data| data.details.as_str());
    let mut text = if details.is_empty() {
        error.message.clone()
    } else {
        format!("{}: {details}", error.message)
    };
    if let Some((end, _)) = text.char_indices().nth(DETAILS_MOST) {
        text.truncate(end);
    }
    text
}

/// Gives the wait that Meta asks for, by whichever header says more. The usage of the account is told with every answer; it is a wait
/// only when the answer is a throttle.
fn wait_asked(headers: &HeaderMap, code: i32, transient: bool) -> Option<Duration> {
    let class = classify(code, transient);
    let is_throttle = matches!(
        class,
        ErrorClass::ThrottleNumber | ErrorClass::ThrottleApp | ErrorClass::ThrottleAccount
    );
    let regained = is_throttle.then(|| regained_after(headers)).flatten();
    retry_after(headers).max(regained)
}

/// An account's usage, as `X-Business-Use-Case-Usage` tells it.
#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    estimated_time_to_regain_access: u64,
}

/// Reads when the account may call again: minutes, the longest of all that are named.
fn regained_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("x-business-use-case-usage")?.to_str().ok()?;
    let usages: HashMap<String, Vec<Usage>> = serde_json::from_str(text).ok()?;
    let minutes = usages
        .into_values()
        .flatten()
        .map(|usage| usage.estimated_time_to_regain_access)
        .max()?;
    (minutes > 0).then(|| Duration::from_secs(minutes.saturating_mul(60)))
}

/// Reads `Retry-After` in seconds (RFC 9110, section 10.2.3); dates are not used by Meta.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> SendOutcome {
        read(
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::new(),
            body.as_bytes(),
        )
    }

    #[test]
    fn an_id_is_needed_to_believe_an_acceptance() {
        let accepted = answer(
            200,
            r#"{"messaging_product":"whatsapp","messages":[{"id":"wamid.1"}]}"#,
        );
        assert_eq!(
            accepted,
            SendOutcome::Accepted {
                wamid: "wamid.1".to_owned()
            }
        );
        assert!(matches!(answer(200, "{}"), SendOutcome::Unknown { .. }));
    }

    #[test]
    fn the_longer_of_the_waits_counts_and_usage_only_when_throttled() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "30".parse().unwrap());
        let usage = r#"{"1":[{"type":"whatsapp","call_count":100,"estimated_time_to_regain_access":2}],"2":[{"type":"x"}]}"#;
        headers.insert("x-business-use-case-usage", usage.parse().unwrap());
        let asked = |code: i32| {
            let body = format!(r#"{{"error":{{"message":"m","code":{code}}}}}"#);
            match read(StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes()) {
                SendOutcome::Refused(refusal) => refusal.retry_after,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(asked(80_007), Some(Duration::from_secs(120)));
        assert_eq!(asked(131_000), Some(Duration::from_secs(30)));
        headers.insert("x-business-use-case-usage", "what".parse().unwrap());
        let body = br#"{"error":{"message":"m","code":4}}"#;
        assert!(matches!(
            read(StatusCode::TOO_MANY_REQUESTS, &headers, body),
            SendOutcome::Refused(Refusal { retry_after: Some(wait), .. }) if wait == Duration::from_secs(30)
        ));
    }

    #[test]
    fn only_metas_own_error_code_proves_that_nothing_was_sent() {
        let body = r#"{"error":{"message":"(#131026) Message undeliverable","code":131026,"error_data":{"details":"why"}}}"#;
        let SendOutcome::Refused(refusal) = answer(400, body) else {
            panic!("not refused")
        };
        assert_eq!((refusal.code, refusal.transient), (131_026, false));
        assert!(refusal.details.ends_with("why"));
        assert!(matches!(
            answer(502, "<html>Bad gateway</html>"),
            SendOutcome::Unknown { .. }
        ));
        assert!(matches!(
            answer(500, r#"{"error":{"message":"no code"}}"#),
            SendOutcome::Unknown { .. }
        ));
    }
}
