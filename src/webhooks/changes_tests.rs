//! Every form of a delivery that we know of, our own fixtures and, where they are present, others': none panics, each is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::ids::TenantId;
use domain::webhook::{Field, Quarantine};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::changes::{Part, Rows, parts};

/// What fixtures call "now".
const NOW: i64 = 1_764_000_000;
const OWNER: TenantId = TenantId(Uuid::from_u128(7));

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// Reads a delivery as the doors do, with every number and account belonging to one tenant.
fn read(body: &[u8]) -> (Vec<Field>, Rows) {
    let (mut fields, mut rows) = (Vec::new(), Rows::default());
    for part in parts(body) {
        match part {
            Part::Change(sorted) => {
                fields.push(sorted.field);
                rows.extend(sorted.rows(Ok(OWNER), now()));
            }
            Part::NotUnderstood(kept) => rows.extend(kept),
        }
    }
    (fields, rows)
}

fn read_json(body: &Value) -> (Vec<Field>, Rows) {
    read(body.to_string().as_bytes())
}

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/webhooks")
}

fn fixtures(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(files) = std::fs::read_dir(directory) else {
        return BTreeMap::new();
    };
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| {
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect()
}

/// What became of a fixture: statuses, other rows, and why they are in quarantine.
fn summary(body: &[u8]) -> String {
    let (_, rows) = read(body);
    let mut words = vec![format!("{}+{}", rows.statuses.len(), rows.others.len())];
    let reasons = rows.others.iter().filter_map(|other| other.quarantined_because);
    words.extend(reasons.map(|reason| reason.as_str().to_owned()));
    words.join(" ")
}

#[test]
fn each_fixture_of_ours_is_kept_as_it_should_be() {
    let fixtures = fixtures(&own());
    assert!(fixtures.len() > 60, "{}", fixtures.len());
    for (name, body) in &fixtures {
        let expected = match name.as_str() {
            "status_deleted" => "0+1 unknown_status",
            "status_with_strange_pricing" => "0+1 not_understood",
            "status_not_an_object" => "0+3 not_understood not_understood not_understood",
            "several_accounts" => "0+6 not_understood not_understood not_understood not_understood",
            "an_empty_object" | "no_entries" | "another_object" => "0+1 not_understood",
            "entries_are_no_list" | "a_list" | "a_number" | "nothing" => "0+1 not_understood",
            status if status.starts_with("status_") => "1+0",
            _ => "0+1",
        };
        assert_eq!(summary(body), expected, "{name}");
        let (_, rows) = read(body);
        for other in &rows.others {
            assert!(
                serde_json::from_str::<Value>(&other.raw).is_ok(),
                "{name}: {}",
                other.raw
            );
        }
    }
}

#[test]
fn every_known_field_is_among_the_fixtures_and_new_ones_are_counted_as_unknown() {
    let mut seen: Vec<Field> = fixtures(&own()).values().flat_map(|body| read(body).0).collect();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 20, "{seen:?}");
    assert!(seen.contains(&Field::Unknown));
    let body = fixtures(&own()).remove("a_field_of_next_year").unwrap();
    let (fields, rows) = read(&body);
    assert_eq!(fields, [Field::Unknown]);
    assert_eq!(rows.others[0].kind, "hologram_update");
}

#[test]
fn deliveries_that_others_published_are_kept_too() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures/meta-webhooks");
    for (name, body) in fixtures(&beside) {
        let (fields, rows) = read(&body);
        assert!(!fields.is_empty(), "{name}");
        assert!(
            !rows.statuses.is_empty() || !rows.others.is_empty(),
            "{name}: nothing was kept"
        );
        let unclear = rows
            .others
            .iter()
            .filter(|other| other.quarantined_because == Some(Quarantine::NotUnderstood));
        assert_eq!(unclear.count(), 0, "{name}");
    }
}

fn message(id: &str) -> Value {
    json!({"from": "351910000001", "id": id, "timestamp": NOW.to_string(), "type": "text", "text": {"body": id}})
}

fn delivery_of(value: Value) -> Value {
    json!({"object": "whatsapp_business_account", "entry": [{"id": "9", "changes": [{"field": "messages", "value": value}]}]})
}

fn with_messages(messages: &[Value]) -> Value {
    delivery_of(json!({
        "metadata": {"phone_number_id": "1"}, "messages": messages,
        "contacts": [{"wa_id": "351910000009"}, {"wa_id": "351910000001", "profile": {"name": "Ana"}}],
    }))
}

#[test]
fn a_message_is_itself_in_whatever_batch_it_comes() {
    let (_, together) = read_json(&with_messages(&[message("a"), message("b")]));
    let (_, again) = read_json(&with_messages(&[message("b"), message("a")]));
    let identities = |rows: &Rows| {
        let mut found: Vec<_> = rows.others.iter().map(|other| other.identity).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(together.others.len(), 2);
    assert_eq!(identities(&together), identities(&again));
    let kept: Value = serde_json::from_str(&together.others[0].raw).unwrap();
    assert_eq!(kept["messages"].as_array().unwrap().len(), 1);
    assert_eq!(kept["contacts"][0]["profile"]["name"], "Ana");
    assert_eq!(kept["metadata"]["phone_number_id"], "1");
}

#[test]
fn a_change_is_itself_whatever_its_spaces_and_another_one_at_another_time() {
    let of = |time: i64, value: &str| {
        format!(r#"{{"entry":[{{"id":"9","time":{time},"changes":[{{"field":"flows","value":{value}}}]}}]}}"#)
    };
    let identity = |body: String| read(body.as_bytes()).1.others[0].identity;
    let first = identity(of(NOW, r#"{"a":1,"b":2}"#));
    assert_eq!(first, identity(of(NOW, r#"{ "b": 2, "a": 1 }"#)));
    assert_ne!(first, identity(of(NOW + 1, r#"{"a":1,"b":2}"#)));
    assert_ne!(first, identity(of(NOW, r#"{"a":1,"b":3}"#)));
}

fn status(change: impl FnOnce(&mut Value)) -> Rows {
    let mut status = json!({
        "id": "wamid.1", "status": "delivered", "timestamp": NOW.to_string(), "recipient_id": "351910000001",
        "biz_opaque_callback_data": Uuid::from_u128(5).to_string(),
    });
    change(&mut status);
    read_json(&delivery_of(
        json!({"metadata": {"phone_number_id": "1"}, "statuses": [status]}),
    ))
    .1
}

#[test]
fn a_status_out_of_its_time_is_kept_and_not_acted_on() {
    let day = 24 * 3_600;
    for (age, late, because) in [
        (0, 0, None),
        (301, 1, None),
        (6 * day, 1, None),
        (8 * day + 1, 0, Some(Quarantine::TooOld)),
        (-301, 0, Some(Quarantine::TooFarAhead)),
    ] {
        let rows = status(|status| status["timestamp"] = (NOW - age).to_string().into());
        assert_eq!(rows.late, late, "{age}");
        assert_eq!(rows.statuses.len(), usize::from(because.is_none()), "{age}");
        assert_eq!(
            rows.others.first().and_then(|other| other.quarantined_because),
            because,
            "{age}"
        );
    }
}

#[test]
fn a_status_that_cannot_be_ours_is_kept_and_not_acted_on() {
    for (field, value, because) in [
        (
            "biz_opaque_callback_data",
            json!("somebody else's"),
            Quarantine::NotOurs,
        ),
        ("biz_opaque_callback_data", json!(null), Quarantine::NotOurs),
        ("status", json!("warped"), Quarantine::UnknownStatus),
        ("id", json!("wamid.\0"), Quarantine::NotUnderstood),
        ("pricing", json!({"type": "regu\0lar"}), Quarantine::NotUnderstood),
        ("errors", json!([5]), Quarantine::NotUnderstood),
    ] {
        let rows = status(|status| status[field] = value);
        assert_eq!(rows.others[0].quarantined_because, Some(because), "{field}");
        assert_eq!(rows.others[0].tenant, Some(OWNER));
        assert!(rows.statuses.is_empty());
    }
    let failed = status(|status| status["errors"] = json!([{"code": 131_026}, {"code": 1}]));
    assert_eq!(failed.statuses[0].error_code, Some(131_026));
    let huge = status(|status| status["errors"] = json!([{"code": i64::MAX}]));
    assert_eq!(huge.statuses[0].error_code, None);
}

#[test]
fn what_is_nobodys_is_kept_without_a_tenant() {
    let body = with_messages(&[message("a")]).to_string();
    let Some(Part::Change(sorted)) = parts(body.as_bytes()).pop() else {
        panic!("it is a change");
    };
    assert_eq!(
        (sorted.account.as_str(), sorted.number.as_deref()),
        ("9", Some("1"))
    );
    let rows = sorted.rows(Err(Quarantine::ForeignAccount), now());
    assert_eq!(rows.others[0].tenant, None);
    assert_eq!(
        rows.others[0].quarantined_because,
        Some(Quarantine::ForeignAccount)
    );
}

#[test]
fn names_are_labels_and_never_longer_than_that() {
    let long = "x".repeat(100_000) + "\0";
    let body = json!({"entry": [{"id": long, "changes": [{"field": long, "value": {"metadata": {"phone_number_id": "a\0b"}}}]}]});
    let (fields, rows) = read_json(&body);
    assert_eq!(fields, [Field::Unknown]);
    let other = &rows.others[0];
    assert_eq!((other.kind.len(), other.waba_id.len()), (128, 128));
    assert_eq!(other.phone_number_id.as_deref(), Some("a\u{fffd}b"));
}

#[test]
fn nothing_that_is_nested_deeply_makes_us_fall() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for value in [
        deep.clone(),
        format!(r#"{{"metadata":{deep},"statuses":[{deep}],"messages":[{deep}]}}"#),
    ] {
        let body =
            format!(r#"{{"entry":[{{"id":{deep},"changes":[{{"field":"messages","value":{value}}}]}}]}}"#);
        let (_, rows) = read(body.as_bytes());
        assert!(!rows.others.is_empty());
    }
}
