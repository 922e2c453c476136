//! Error answers that Meta itself published, where they are present: each is understood and classified.

use std::path::Path;

use actors::ports::SendOutcome;
use domain::meta_error::classify;
use hyper::{HeaderMap, StatusCode};
use serde_json::Value;

use super::answer;

#[test]
fn errors_that_meta_published_are_classified() {
    let beside =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures/meta-api/error-examples.json");
    let Ok(text) = std::fs::read_to_string(beside) else {
        return; // They are no part of the repository.
    };
    let examples: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(examples.len() > 200, "{}", examples.len());
    let mut refused = 0;
    for example in examples {
        let status = example["http_status"].as_u64().unwrap();
        let status = StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap();
        let outcome = answer::read(status, &HeaderMap::new(), example["body"].to_string().as_bytes());
        match (outcome, example["body"]["error"]["code"].as_i64()) {
            (SendOutcome::Refused(refusal), Some(code)) => {
                assert_eq!(i64::from(refusal.code), code, "{example}");
                let _ = classify(refusal.code, refusal.transient);
                refused += 1;
            }
            (SendOutcome::Unknown { .. }, None) => {}
            (outcome, _) => panic!("{outcome:?}: {example}"),
        }
    }
    assert!(refused > 150, "{refused}");
}
