//! What every operation's document says beside its handler's words: the scope it needs, every refusal with its codes and an example
//! of each, the headers that a refusal carries.

use serde_json::json;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Schema};
use utoipa::{Modify, openapi};
use warp::http::Method;

use super::code::Code;
use super::limits::{IDEMPOTENCY_KEY_LONGEST, PAGE_MOST};
use super::scope::Scope;

/// Writes the contract into every operation.
pub(super) struct Contract;

impl Modify for Contract {
    fn modify(&self, document: &mut OpenApi) {
        let free = free_bodies(document);
        for (path, item) in &mut document.paths.paths {
            let verbs = [
                (Method::GET, &mut item.get),
                (Method::POST, &mut item.post),
                (Method::PUT, &mut item.put),
                (Method::PATCH, &mut item.patch),
                (Method::DELETE, &mut item.delete),
            ];
            for (method, operation) in verbs {
                if let Some(operation) = operation {
                    let nature = Nature::of(path, operation);
                    bound_parameters(operation);
                    free_body(&free, operation);
                    name_scope(&method, operation);
                    name_refusals(&nature, operation);
                }
            }
        }
    }
}

/// What an operation asks for, and so how it can be refused.
#[derive(Clone, Copy, Debug)]
struct Nature {
    asks_for_api_key: bool,
    asks_for_admin_key: bool,
    takes_body: bool,
    takes_id: bool,
    takes_recipient: bool,
    takes_query: bool,
    takes_idempotency_key: bool,
    is_webhook: bool,
}

impl Nature {
    fn of(path: &str, operation: &Operation) -> Self {
        let asks_for = |name: &str| {
            let security = operation.security.iter().flatten();
            let mut names = security.map(|one| serde_json::to_string(one).unwrap_or_default());
            names.any(|text| text.contains(name))
        };
        let parameters: Vec<&Parameter> = operation
            .parameters
            .iter()
            .flatten()
            .filter_map(|parameter| match parameter {
                RefOr::T(parameter) => Some(parameter),
                RefOr::Ref(_) => None,
            })
            .collect();
        let takes = |place: &ParameterIn| parameters.iter().any(|one| one.parameter_in == *place);
        Self {
            asks_for_api_key: asks_for("api_key"),
            asks_for_admin_key: asks_for("admin_key"),
            takes_body: operation.request_body.is_some(),
            takes_id: takes(&ParameterIn::Path),
            takes_recipient: path.contains("{recipient}"),
            takes_query: takes(&ParameterIn::Query),
            takes_idempotency_key: parameters.iter().any(|one| one.name == "Idempotency-Key"),
            is_webhook: path.starts_with("/webhooks/"),
        }
    }

    /// Whether an operation of this nature can be refused with a code, whatever its handler does.
    const fn is_refused_with(self, code: Code) -> bool {
        let is_guarded = self.asks_for_api_key || self.asks_for_admin_key;
        match code {
            Code::Malformed => is_guarded || self.is_webhook,
            Code::Unauthorized | Code::TooManyWrongKeys | Code::Unavailable => is_guarded,
            Code::KeyExpired
            | Code::Forbidden
            | Code::ScopeMissing
            | Code::RateLimited
            | Code::Overloaded => self.asks_for_api_key,
            Code::TooSlow | Code::TooLarge | Code::UnsupportedMediaType => is_guarded && self.takes_body,
            Code::Invalid => is_guarded && (self.takes_body || self.takes_query || self.takes_recipient),
            Code::IdempotencyInFlight | Code::IdempotencyKeyReused => self.takes_idempotency_key,
            // Bodies of tenants name senders, campaigns, accounts.
            Code::NotFound => is_guarded && (self.takes_id || (self.takes_body && self.asks_for_api_key)),
            _ => false,
        }
    }

    /// Whether a code is among those that an answer of its status may carry here.
    const fn may_carry(self, code: Code) -> bool {
        match code {
            Code::SignatureInvalid | Code::TimestampStale | Code::ReplayDetected => self.is_webhook,
            Code::Conflict | Code::MetaRefused => !self.is_webhook,
            Code::Forbidden => self.asks_for_api_key || self.is_webhook,
            Code::TooSlow | Code::TooLarge | Code::Malformed | Code::Unavailable => true,
            _ => self.is_refused_with(code),
        }
    }
}

/// Bounds every `limit` and every `Idempotency-Key`, as `Page::read` and `idempotency::key` do.
fn bound_parameters(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        if parameter.name == "Idempotency-Key" {
            let key = ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(IDEMPOTENCY_KEY_LONGEST))
                .pattern(Some("^[!-~]([ -~]*[!-~])?$"));
            parameter.schema = Some(key.into());
        }
        if parameter.parameter_in == ParameterIn::Query && parameter.name == "limit" {
            let limit = ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                .minimum(Some(1))
                .maximum(Some(PAGE_MOST));
            parameter.schema = Some(limit.into());
        }
    }
}

/// Finds the bodies of which no field is needed.
fn free_bodies(document: &OpenApi) -> Vec<String> {
    let schemas = document
        .components
        .iter()
        .flat_map(|components| &components.schemas);
    let free = schemas.filter(|(_, schema)| match schema {
        RefOr::T(Schema::Object(object)) => object.required.is_empty(),
        _ => false,
    });
    free.map(|(name, _)| format!("#/components/schemas/{name}"))
        .collect()
}

/// Says that a request may come without its body where no field of it is needed.
fn free_body(free: &[String], operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else {
        return;
    };
    let is_free = body.content.values().any(|content| {
        let RefOr::T(content) = content else { return false };
        matches!(&content.schema, Some(RefOr::Ref(named)) if free.contains(&named.ref_location))
    });
    if is_free {
        body.required = Some(Required::False);
    }
}

/// Names the scope that a tenant's key needs; a test asks the running server whether that is so.
fn name_scope(method: &Method, operation: &mut Operation) {
    let is_tenants = operation
        .security
        .iter()
        .flatten()
        .any(|one| serde_json::to_string(one).is_ok_and(|text| text.contains("api_key")));
    let tag = operation.tags.iter().flatten().next().map(String::as_str);
    let scope = match tag {
        _ if !is_tenants => return,
        Some("senders" | "templates") => Scope::Senders,
        Some("campaigns") => Scope::Campaigns,
        Some("messages" | "dead letters") => Scope::Messages,
        Some("suppressions") => Scope::Suppressions,
        Some("billing") => Scope::Billing,
        _ => return,
    };
    let needed = scope.needed(method);
    operation.security = Some(vec![SecurityRequirement::new("api_key", [needed])]);
    let named = ExtensionsBuilder::new().add("x-required-scope", needed).build();
    match &mut operation.extensions {
        Some(extensions) => extensions.merge(named),
        none => *none = Some(named),
    }
    let description = operation.description.take().unwrap_or_default();
    let told = format!("{description}\n\nNeeds a key with the scope `{needed}`.");
    operation.description = Some(told.trim_start().to_owned());
}

fn name_refusals(nature: &Nature, operation: &mut Operation) {
    for code in Code::ALL {
        if nature.is_refused_with(*code) {
            let status = code.status().as_u16().to_string();
            let named = || RefOr::T(ResponseBuilder::new().description(code.title()).build());
            operation.responses.responses.entry(status).or_insert_with(named);
        }
    }
    for (status, answer) in &mut operation.responses.responses {
        let RefOr::T(answer) = answer else { continue };
        if status.starts_with(['4', '5']) && answer.content.is_empty() {
            fill(answer, status, *nature);
        }
    }
}

/// Gives a refusal its body, an example for each of its codes, and its headers.
fn fill(answer: &mut Response, status: &str, nature: Nature) {
    let codes = Code::ALL.iter().copied();
    let of_status = |code: &Code| code.status().as_str() == status && nature.may_carry(*code);
    let codes: Vec<Code> = codes.filter(of_status).collect();
    let mut content = Content::new(Some(Ref::from_schema_name("Problem")));
    for code in &codes {
        let example = json!({
            "type": "about:blank", "title": code.title(), "status": code.status().as_u16(),
            "code": code.as_str(), "detail": code.example(),
        });
        let example = openapi::example::ExampleBuilder::new()
            .summary(code.title())
            .value(Some(example));
        content
            .examples
            .insert(code.as_str().to_owned(), RefOr::T(example.build()));
    }
    answer
        .content
        .insert("application/problem+json".to_owned(), RefOr::T(content));
    if matches!(status, "429" | "503") {
        let seconds: Schema = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .into();
        let header = HeaderBuilder::new()
            .schema(Some(seconds))
            .description(Some("Seconds after which to try again"));
        answer
            .headers
            .insert("Retry-After".to_owned(), RefOr::T(header.build()));
    }
}
