//! The OpenAPI 3.1 document, generated from the handlers.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::contract::Contract;
use super::error::Problem;
use super::{
    admin, billing, campaigns, dead_letters, health, messages, senders, server, suppressions, templates,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Malote",
        description = "WhatsApp campaigns through Meta's Cloud API: sent once, followed to the end, billed exactly.\n\n\
            Errors are `application/problem+json` with a stable `code`. Lists are pages: `{items, next_cursor}`. Times are RFC 3339 in UTC. \
            Send an `Idempotency-Key` with every POST that creates or sends, and repeat it freely; keys are remembered for 24 hours at least. \
            Answers to a tenant's key carry `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`; 429 and 503 carry `Retry-After`. \
            Every answer carries `X-Request-Id`. Within `/v1` fields and codes are added and never changed or removed."
    ),
    paths(
        campaigns::routes::create, campaigns::routes::list, campaigns::routes::read, campaigns::routes::upload,
        campaigns::routes::preflight, campaigns::routes::launch, campaigns::routes::pause, campaigns::routes::resume,
        campaigns::routes::cancel, campaigns::routes::test, campaigns::routes::events,
        campaigns::routes::failures, campaigns::routes::report,
        messages::routes::send, messages::routes::list, messages::routes::read, messages::unknown::settle,
        dead_letters::routes::list, dead_letters::routes::read, dead_letters::routes::replay, dead_letters::routes::purge,
        suppressions::routes::list, suppressions::routes::put, suppressions::routes::remove,
        senders::add, senders::list, senders::change,
        templates::list, templates::sync,
        billing::usage::read, billing::invoices::list, billing::invoices::read, billing::ledger::list, billing::export::export,
        billing::preview::preview, billing::preview::cancel,
        admin::plans::publish, admin::plans::list,
        admin::tenants::create, admin::tenants::list, admin::tenants::read, admin::tenants::change,
        admin::tenants::suspend, admin::tenants::assign,
        admin::keys::create, admin::keys::list, admin::keys::revoke, admin::quarantine::list,
        admin::quarantine::release, admin::nodes::read, admin::audit_log::list,
        crate::webhooks::routes::handshake, crate::webhooks::routes::deliver, crate::webhooks::relay_door::deliver,
        health::live, health::ready, health::version, server::show_metrics,
    ),
    modifiers(&Keys, &Names, &Contract),
    components(schemas(Problem)),
)]
struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = || SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        if let Some(components) = &mut document.components {
            components.add_security_scheme("api_key", bearer());
            components.add_security_scheme("admin_key", bearer());
        }
    }
}

/// Names each operation by its method and path, so that no two have the same name.
struct Names;

impl Modify for Names {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let verbs = [
                ("get", &mut item.get),
                ("post", &mut item.post),
                ("put", &mut item.put),
                ("patch", &mut item.patch),
                ("delete", &mut item.delete),
            ];
            for (verb, operation) in verbs {
                if let Some(operation) = operation {
                    operation.operation_id = Some(operation_name(verb, path));
                }
            }
        }
    }
}

/// Writes `get /v1/senders/{id}` as `get_v1_senders_id`.
fn operation_name(verb: &str, path: &str) -> String {
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("{verb}_{}", words.join("_"))
}

/// Writes the document as JSON, the same bytes every time.
pub fn document() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::api::code::Code;

    fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
        let paths = document["paths"].as_object().expect("paths");
        paths.iter().flat_map(|(path, verbs)| {
            let verbs = verbs.as_object().expect("verbs");
            verbs
                .iter()
                .map(move |(verb, operation)| (format!("{verb} {path}"), operation))
        })
    }

    #[test]
    fn the_document_is_openapi_3_1_and_every_operation_says_what_it_is() {
        let document: Value = serde_json::from_str(&document()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        for (name, operation) in operations(&document) {
            assert!(operation["summary"].is_string(), "{name} has no summary");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}");
        }
    }

    #[test]
    fn every_refusal_is_a_problem() {
        let document: Value = serde_json::from_str(&document()).unwrap();
        for (name, operation) in operations(&document) {
            let answers = operation["responses"].as_object().expect("answers");
            for (status, answer) in answers.iter().filter(|(status, _)| status.starts_with('4')) {
                assert!(
                    answer["content"]["application/problem+json"].is_object(),
                    "{name} {status}"
                );
            }
        }
    }

    #[test]
    fn every_operation_of_tenants_names_its_scope_and_every_code_is_an_example_somewhere() {
        let text = document();
        let document: Value = serde_json::from_str(&text).unwrap();
        for (name, operation) in operations(&document) {
            let is_tenants = operation["security"][0]["api_key"].is_array();
            assert_eq!(operation["x-required-scope"].is_string(), is_tenants, "{name}");
            assert_eq!(is_tenants, name.contains(" /v1/"), "{name}");
        }
        for code in Code::ALL {
            // The last two are answered where there is no operation, and where there is a fault.
            let anywhere = matches!(code, Code::MethodNotAllowed | Code::Internal);
            let example = format!("\"code\": \"{}\"", code.as_str());
            assert!(
                anywhere || text.contains(&example),
                "{} is nowhere",
                code.as_str()
            );
        }
    }

    #[test]
    fn every_schema_that_is_referred_to_is_there() {
        let text = document();
        let document: Value = serde_json::from_str(&text).unwrap();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }

    #[test]
    fn operations_are_named_by_method_and_path_and_no_two_alike() {
        assert_eq!(operation_name("get", "/v1/senders/{id}"), "get_v1_senders_id");
        let document: Value = serde_json::from_str(&document()).unwrap();
        let mut ids: Vec<&str> = operations(&document)
            .filter_map(|(_, operation)| operation["operationId"].as_str())
            .collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
